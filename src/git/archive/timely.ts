import { setTimeout as delay } from 'node:timers/promises';
import { DeployError } from '../../core/errors.ts';

/** How long a client may send nothing while its archive is incomplete. */
const SILENCE_MS = 60_000;
/** How long a client may take to send the whole archive. */
const WHOLE_MS = 60 * 60_000;
const SEND_IT = 'Send it on standard input: tar cz . | ssh … deploy TOOL. Nothing was deployed.';

/**
 * Yields what a client sends. Limits the time of each pause, and the time until everything has arrived.
 *
 * @param hint - The hint of the error: what the person can do. By default, how to use the command `deploy`.
 * @throws DeployError `ARCHIVE_STALLED` if the client takes too long; the signal's reason.
 */
export async function* timely(
  sent: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
  { silenceMs = SILENCE_MS, wholeMs = WHOLE_MS, hint = SEND_IT } = {},
): AsyncGenerator<Uint8Array> {
  const iterator = sent[Symbol.asyncIterator]();
  const end = performance.now() + wholeMs;
  try {
    for (;;) {
      const left = Math.min(silenceMs, end - performance.now());
      const next = await before(iterator.next(), left, signal);
      if (next === null) throw stalled(left < silenceMs ? wholeMs : silenceMs, left < silenceMs, hint);
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    // Do not await this call: it may wait for the last `next`, whose bytes the client may never send.
    iterator.return?.().catch(() => undefined);
  }
}

/** Waits for `work`, at most `ms`. @returns null if the work took longer. @throws the signal's reason when it fires. */
async function before<T>(work: Promise<T>, ms: number, signal: AbortSignal): Promise<T | null> {
  const over = new AbortController();
  const late = delay(Math.max(0, ms), null, { signal: AbortSignal.any([signal, over.signal]), ref: false });
  try {
    return await Promise.race([work, late]);
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    over.abort();
    late.catch(() => undefined);
    work.catch(() => undefined);
  }
}

function stalled(ms: number, isWhole: boolean, hint: string): DeployError {
  const limit = ms >= 60_000 ? `${ms / 60_000} min` : `${ms / 1000} s`;
  return new DeployError(
    'ARCHIVE_STALLED',
    isWhole
      ? `the archive had not arrived completely after ${limit}`
      : `no part of the archive arrived for ${limit}`,
    hint,
  );
}
