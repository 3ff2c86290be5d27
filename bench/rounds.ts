/** Measures something once. @returns the result, mostly milliseconds. */
export type Measure = (round: number) => Promise<number>;

export interface Samples {
  readonly ours: number[];
  readonly peer: number[];
}

/**
 * Measures our server and its peer in turn, in the order A B B A, so that other work of the machine slows down both equally,
 * even if it grows. One round of each is run first and does not count.
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

/** Measures our server without a peer. One round is run first and does not count. */
export async function repeated(rounds: number, ours: Measure): Promise<number[]> {
  await ours(0);
  const samples: number[] = [];
  for (let round = 1; round <= rounds; round += 1) samples.push(await ours(round));
  return samples;
}

/** How many milliseconds `work` takes. */
export async function milliseconds(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}
