import { DeployError } from '../core/errors.ts';
import { isUnanswered } from './directory-timeout.ts';

/**
 * How often rights are checked again. If the directory answers each time, and from no cache, somebody who loses a right
 * can use it for at most 30 s more. Keys come from the cache, so a removed key can be used for up to `ldap_cache_time`
 * longer.
 */
const AGAIN_MS = 20_000;
const LIMIT_MS = 10_000;

/** The watch over the right to do some long work. Dispose of it when the work has ended. */
export interface RightWatch extends Disposable {
  /** Fires with a DeployError if the right is gone. */
  readonly lost: AbortSignal;
}

/**
 * Checks again and again whether somebody still has the right to do their long work, until the watch is disposed of. If
 * the directory does not answer, the right counts as kept.
 *
 * @param ask - Asks the directory. Throws a DeployError if the right is gone.
 * @param againMs - The time between two checks, by default 20 s.
 */
export function watchRight(ask: (signal: AbortSignal) => Promise<void>, againMs = AGAIN_MS): RightWatch {
  const [lost, over] = [new AbortController(), new AbortController()];
  const check = async (): Promise<void> => {
    try {
      await ask(AbortSignal.any([over.signal, AbortSignal.timeout(LIMIT_MS)]));
    } catch (error) {
      if (error instanceof DeployError && !isUnanswered(error)) lost.abort(error);
    }
  };
  const asking = setInterval(() => void check(), againMs).unref();
  return {
    lost: lost.signal,
    [Symbol.dispose]: () => {
      clearInterval(asking);
      over.abort();
    },
  };
}
