/**
 * Waits until all parts of the work have ended, even if one fails. Use this before you delete files that the parts use.
 *
 * @throws the reason of the first part in the list that failed.
 */
export async function allEnded(work: readonly Promise<unknown>[]): Promise<void> {
  for (const one of await Promise.allSettled(work)) if (one.status === 'rejected') throw one.reason;
}
