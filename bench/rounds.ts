/** Does something once. @returns its number, mostly milliseconds. */
export type Measure = (round: number) => Promise<number>;

export interface Samples {
  readonly ours: number[];
  readonly peer: number[];
}

/**
 * Measures both in turn, in the order A B B A, so that what else the machine does, and what it does
 * more and more of, meets both alike. One round of each goes before and is not counted.
 */
export async function interleaved(rounds: number, ours: Measure, peer: Measure): Promise<Samples> {
  await ours(0);
  await peer(0);
  const samples: Samples = { ours: [], peer: [] };
  const measureOurs = async (round: number) => samples.ours.push(await ours(round));
  const measurePeer = async (round: number) => samples.peer.push(await peer(round));
  for (let round = 1; round <= rounds; round += 1) {
    const order = round % 2 === 1 ? [measureOurs, measurePeer] : [measurePeer, measureOurs];
    for (const measure of order) await measure(round);
  }
  return samples;
}

/** The same without a peer. */
export async function repeated(rounds: number, ours: Measure): Promise<number[]> {
  await ours(0);
  const samples: number[] = [];
  for (let round = 1; round <= rounds; round += 1) samples.push(await ours(round));
  return samples;
}

/** How many milliseconds this takes. */
export async function milliseconds(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}
