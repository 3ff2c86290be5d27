/**
 * Waits until all parts of the work have ended, even if one fails. Use this if the caller then deletes what they work on.
 *
 * @throws the reason of the first part in the list that failed.
 */
export async function allEnded(work: readonly Promise<unknown>[]): Promise<void> {
  for (const one of await Promise.allSettled(work)) if (one.status === 'rejected') throw one.reason;
}
