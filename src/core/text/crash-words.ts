import type { Crashes } from '../types.ts';

/** A process that has crashed this often counts as one that crashes again and again. */
export const MANY_CRASHES = 3;

/**
 * Says how often a process crashed: `web.1 of v12 has crashed 5 times, the last time at 2026-11-29 18:40 UTC: exited
 * with code 1`.
 */
export function crashWords({ version, process, count, lastAt, words }: Crashes): string {
  const times = count === 1 ? 'once,' : `${count} times, the last time`;
  return `${process} of v${version} has crashed ${times} at ${minute(lastAt)} UTC: ${words}`;
}

/** A time in UTC, to the minute: `2026-11-29 18:40`. */
function minute(at: number): string {
  return new Date(at).toISOString().slice(0, 16).replace('T', ' ');
}
