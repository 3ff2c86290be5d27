import { addAbortListener } from 'node:events';

/**
 * Waits for a promise that others may share. The signal ends only the wait, not the work.
 *
 * @throws the signal's reason, or the error of the work.
 */
export async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  // Ignore a failure of the work here: if the signal has fired already, nothing else handles the failure, and an
  // unhandled failure ends the server.
  work.catch(() => undefined);
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  using _ending = addAbortListener(signal, () => aborted.reject(signal.reason));
  return await Promise.race([work, aborted.promise]);
}
