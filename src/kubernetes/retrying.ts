import { setTimeout as wait } from 'node:timers/promises';
import { ApiException } from '@kubernetes/client-node';
import { DeployError, systemCode } from '../core/errors.ts';
import { refusalOf, statusOf } from './refusals.ts';

export interface Retrying {
  readonly signal: AbortSignal;
  /** Over all attempts; 60 s unless told. */
  readonly timeoutMs?: number;
}

const FIRST_PAUSE_MS = 100;
const MOST_PAUSE_MS = 3000;
const PATIENCE_MS = 60_000;

/**
 * Calls the API until it answers: again after a conflict, a lost connection, or where it has too much to do, as while
 * it restarts. The action must be one that can be done twice.
 *
 * @throws DeployError in people's words where the API refuses (refusals.ts); `CLUSTER_UNREACHABLE` when the time is
 * over; the reason of the signal when it fires; what is none of these as it is.
 */
export async function retrying<Result>(
  action: () => Promise<Result>,
  { signal, timeoutMs = PATIENCE_MS }: Retrying,
): Promise<Result> {
  const end = performance.now() + timeoutMs;
  let wasLost = false;
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, MOST_PAUSE_MS)) {
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

/** Whether the same call may well succeed later. */
export function isTransient(error: unknown, wasLost = false): boolean {
  if (!(error instanceof ApiException)) return isLost(error);
  const { code } = error;
  if (code === 409) return statusOf(error).reason !== 'AlreadyExists';
  // An API server that starts answers before it has read its roles.
  if (wasLost && (code === 401 || code === 403)) return true;
  return code === 408 || code === 429 || code >= 500;
}

/** Whether the connection failed, or took too long, before there was an answer. */
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
  return Number.isFinite(seconds) ? Math.min(seconds * 1000, MOST_PAUSE_MS) : 0;
}

/** What is told where the API does not answer, after all attempts. */
export function unreachable(cause: unknown): DeployError {
  const why = cause instanceof ApiException ? `it answered ${cause.code}` : 'it cannot be reached';
  return new DeployError(
    'CLUSTER_UNREACHABLE',
    `The cluster's API does not do what it is asked: ${why}.`,
    'Push again in a while; if it stays so, tell the operator.',
    { cause },
  );
}
