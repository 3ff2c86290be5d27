import { setTimeout as wait } from 'node:timers/promises';
import { ApiException } from '@kubernetes/client-node';
import { DeployError, systemCode } from '../core/errors.ts';
import { refusalOf, statusOf } from './faults/api-refusals.ts';

export interface Retrying {
  readonly signal: AbortSignal;
  /** The time limit for all attempts together, in milliseconds; by default 60 s. */
  readonly timeoutMs?: number;
}

const FIRST_PAUSE_MS = 100;
const MAX_PAUSE_MS = 3000;
const PATIENCE_MS = 60_000;
const REMOVAL_MS = 30_000;

/**
 * Calls the cluster's API until it answers. Retries after a conflict, a lost connection, or while the API is overloaded
 * or restarts. The action must be safe to repeat.
 *
 * @throws DeployError for people if the API refuses (api-refusals.ts); `CLUSTER_UNREACHABLE` when the time is over; the
 * reason of the signal when it fires; other errors unchanged.
 */
export async function retrying<Result>(
  action: () => Promise<Result>,
  { signal, timeoutMs = PATIENCE_MS }: Retrying,
): Promise<Result> {
  const end = performance.now() + timeoutMs;
  let wasLost = false;
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, MAX_PAUSE_MS)) {
    signal.throwIfAborted();
    try {
      return await action();
    } catch (error) {
      wasLost ||= isLost(error);
      if (!isTransient(error, wasLost)) throw refusalOf(error) ?? error;
      if (performance.now() + pauseMs > end) throw unreachable(error);
      await wait(Math.max(pauseMs, retryAfterMs(error)), null, { signal }).catch(() => {});
    }
  }
}

/**
 * Retries a removal for at most 30 s, and then throws `CLUSTER_UNREACHABLE`. Takes no signal, because objects are often
 * removed after a signal has fired: that signal would end the removal too.
 */
export async function retryRemoval(action: () => Promise<unknown>): Promise<void> {
  await retrying(action, { signal: new AbortController().signal, timeoutMs: REMOVAL_MS });
}

/**
 * True if the same call may succeed later.
 *
 * @param wasLost - Whether the API was unreachable shortly before. Then it may be starting, so a 401 or 403 is
 * temporary, too.
 */
export function isTransient(error: unknown, wasLost = false): boolean {
  if (!(error instanceof ApiException)) return isLost(error);
  const { code } = error;
  if (code === 409) return statusOf(error).reason !== 'AlreadyExists';
  // Try again after a refusal: an API server that has just started answers before it has read its roles, so it may
  // refuse valid credentials and rights.
  if (wasLost && (code === 401 || code === 403)) return true;
  return code === 408 || code === 429 || code >= 500;
}

/** True if the connection failed, or if no answer came in time. */
function isLost(error: unknown): boolean {
  if (!(error instanceof Error) || error instanceof ApiException || error instanceof DeployError)
    return false;
  if (error.name === 'TimeoutError') return true;
  const code = systemCode(error) ?? systemCode(error.cause) ?? '';
  return (
    /^(ECONN|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|UND_ERR)/.test(code) ||
    /fetch failed|terminated|went silent|socket hang up|aborted$/.test(error.message)
  );
}

function retryAfterMs(error: unknown): number {
  const seconds = error instanceof ApiException ? Number(error.headers?.['retry-after'] ?? 0) : 0;
  return Number.isFinite(seconds) ? Math.min(seconds * 1000, MAX_PAUSE_MS) : 0;
}

/** Returns the error that tells people that all attempts to call the cluster's API have failed. */
export function unreachable(cause: unknown): DeployError {
  const why = cause instanceof ApiException ? `it answered ${cause.code}` : 'it cannot be reached';
  return new DeployError(
    'CLUSTER_UNREACHABLE',
    `the cluster's API does not work: ${why}`,
    'Try again in some minutes; if it fails again, tell the operator.',
    { cause },
  );
}
