/**
 * Does `work` for all items at the same time, and waits until the work for all of them has ended. The first error
 * aborts the work for the other items.
 *
 * @throws the first error, or the reason of the signal.
 */
export async function allOrFirstError<Item>(
  items: readonly Item[],
  signal: AbortSignal,
  work: (item: Item, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const failed = new AbortController();
  const whole = AbortSignal.any([signal, failed.signal]);
  await Promise.all(items.map((item) => work(item, whole).catch((error: unknown) => failed.abort(error))));
  whole.throwIfAborted();
}
