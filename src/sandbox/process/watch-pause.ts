const [SHORTEST_MS, LONGEST_MS] = [2000, 10_000];

/**
 * How long to wait between two measurements of running processes, in milliseconds: as long as the youngest process has
 * run, but at least 2 s and at most 10 s. A process that has just started may soon exceed a limit, and measuring takes
 * processor time.
 *
 * @param startedAt - When each process started (`performance.now()`).
 */
export function watchPauseMs(startedAt: readonly number[]): number {
  const youngestMs = performance.now() - Math.max(...startedAt);
  return Math.min(LONGEST_MS, Math.max(SHORTEST_MS, youngestMs));
}
