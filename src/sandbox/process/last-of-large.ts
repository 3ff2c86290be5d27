/**
 * Chooses the process to end if several processes of a tool together exceed a limit: of the processes that use at least
 * half as much as the largest, the process that started last. So a new release ends before the live release, and a
 * small process does not end because of the others. Null if `all` is empty.
 */
export function lastOfLarge<One extends { readonly startedAt: number }>(
  all: readonly One[],
  useOf: (one: One) => number,
): One | null {
  const most = Math.max(...all.map(useOf));
  const large = all.filter((one) => useOf(one) >= most / 2);
  return large.sort((a, b) => b.startedAt - a.startedAt)[0] ?? null;
}
