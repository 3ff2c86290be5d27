import { setImmediate as nextTurn } from 'node:timers/promises';

const MAX_TEXTS = 100;
/** A batch is small, because it stays in memory while the client reads nothing, and no limit counts this memory. */
const MAX_CHARACTERS = 16 * 1024;
const OVER = Symbol('the turn is over');

/**
 * Joins texts that are available at the same time into batches, because each write to a client costs much more than a
 * line. Other work of the server can run between two batches.
 */
export async function* inBatches(texts: AsyncIterable<string>): AsyncGenerator<string> {
  const iterator = texts[Symbol.asyncIterator]();
  const ask = () => {
    const asked = iterator.next();
    // Ignore an error here, because the promise is awaited later. Without this handler, an early error would count as
    // unhandled.
    asked.catch(() => {});
    return asked;
  };
  let next = ask();
  try {
    for (let result = await next; result.done !== true; result = await next) {
      let batch = result.value;
      const over = nextTurn(OVER);
      next = ask();
      for (let count = 1; count < MAX_TEXTS && batch.length < MAX_CHARACTERS; count += 1) {
        // If the source fails, the batch goes out first. Then `await next` throws the error.
        const more = await Promise.race([next, over]).catch((): typeof OVER => OVER);
        if (more === OVER || more.done === true) break;
        batch += more.value;
        next = ask();
      }
      await over;
      yield batch;
    }
  } finally {
    // `return` is not awaited, because a requested text may never come.
    iterator.return?.().catch(() => {});
  }
}
