import { setTimeout as wait } from 'node:timers/promises';

/**
 * Returns the result of a program, or null if it takes longer than `longestMs`. Kills the program then, but does not
 * wait for its end: a program that waits in the kernel for a lock of a tool ends only when the lock is free.
 *
 * @throws what `running` throws.
 */
export async function orGiveUp<Result>(
  running: Promise<Result> & { kill(signal: 'SIGKILL'): unknown },
  longestMs: number,
): Promise<Result | null> {
  const ended = new AbortController();
  const end = () => ended.abort();
  running.then(end, end);
  const late = wait(longestMs, null, { signal: ended.signal, ref: false }).catch(() => null);
  const result = await Promise.race([running, late]);
  if (result === null) running.kill('SIGKILL');
  return result;
}
