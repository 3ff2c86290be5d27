/**
 * Chooses what to end if several processes of a tool together exceed a limit: of those that use at least half as much as
 * the largest, the one that started last. So a new release ends before the live one, and a small process does not end for
 * the others. Null if there are none.
 */
export function lastOfLarge<One extends { readonly startedAt: number }>(
  all: readonly One[],
  useOf: (one: One) => number,
): One | null {
  const most = Math.max(...all.map(useOf));
  const large = all.filter((one) => useOf(one) >= most / 2);
  return large.sort((a, b) => b.startedAt - a.startedAt)[0] ?? null;
}
