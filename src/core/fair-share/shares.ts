/** The result of asking for a place. A refusal names the holder whose share is used up, or null if no place is free. */
export type Taken =
  | { readonly kind: 'taken'; readonly giveBack: () => void }
  | { readonly kind: 'refused'; readonly holder: string | null };

/**
 * A number of places that holders share, such as requests in progress. A holder gets another place only while it has
 * fewer places than its weight times the number of free ones. With weight 1, one holder alone gets half of all places,
 * two get a third each, and some places stay free for the next holder. With weight 0.25, one holder alone gets a fifth.
 *
 * @see https://doi.org/10.1109/90.664262 Choudhury and Hahne, dynamic queue length thresholds
 */
export class Shares {
  readonly #places: number;
  readonly #held = new Map<string, number>();
  #taken = 0;

  constructor(places: number) {
    this.#places = places;
  }

  /**
   * Takes one place if all holders in `weights` may have another place. It counts as a place of each of them. Only the
   * first call of `giveBack` gives it back.
   */
  take(weights: Readonly<Record<string, number>>): Taken {
    const holders = Object.keys(weights);
    const free = this.#places - this.#taken;
    if (free <= 0) return { kind: 'refused', holder: null };
    const holder = holders.find((each) => (this.#held.get(each) ?? 0) >= free * (weights[each] ?? 1));
    if (holder !== undefined) return { kind: 'refused', holder };
    this.#count(holders, 1);
    let isHeld = true;
    const giveBack = () => {
      if (isHeld) this.#count(holders, -1);
      isHeld = false;
    };
    return { kind: 'taken', giveBack };
  }

  #count(holders: readonly string[], change: 1 | -1): void {
    this.#taken += change;
    for (const holder of holders) {
      const held = (this.#held.get(holder) ?? 0) + change;
      if (held === 0) this.#held.delete(holder);
      else this.#held.set(holder, held);
    }
  }
}
