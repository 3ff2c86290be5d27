/** For whom a piece of work runs. */
export interface Beneficiary {
  /**
   * The names for which the work runs, such as a tool and a login. The work waits while other work with one of them
   * runs.
   */
  readonly oneEach: readonly string[];
  /**
   * Names that take turns, such as a person and then a tool: the next turn goes to another person, and among the work
   * of one person to another tool.
   */
  readonly rotation: readonly string[];
}

interface Piece extends Beneficiary {
  readonly begin: () => void;
}

/**
 * Limits how many pieces of work run at the same time. Further work waits. The next turn goes to the work whose first
 * name in `rotation`, such as a person, has the least work running. If several names have equally little, it goes to
 * the work whose names had their last turn longest ago. Work that waits for a name of `oneEach` holds no place
 * meanwhile.
 */
export class RotatingLimit {
  readonly #atOnce: number;
  readonly #running = new Set<Piece>();
  readonly #waiting = new Set<Piece>();
  /**
   * For each name of a rotation: the value of the counter `#endings` when work with this name last ended. Cleared when
   * no work waits.
   */
  readonly #endedAt = new Map<string, number>();
  #endings = 0;

  constructor(atOnce: number) {
    this.#atOnce = atOnce;
  }

  /**
   * Waits until it is the turn of `work`, then does it. @throws the signal's reason, if the signal fires before that.
   */
  async run<Result>(
    { oneEach, rotation }: Beneficiary,
    work: () => Promise<Result>,
    signal: AbortSignal,
  ): Promise<Result> {
    signal.throwIfAborted();
    const turn = Promise.withResolvers<void>();
    const piece = { oneEach, rotation, begin: turn.resolve };
    const abort = () => {
      if (this.#waiting.delete(piece)) turn.reject(signal.reason);
    };
    signal.addEventListener('abort', abort, { once: true });
    this.#waiting.add(piece);
    this.#next();
    try {
      await turn.promise;
      signal.throwIfAborted();
      return await work();
    } finally {
      signal.removeEventListener('abort', abort);
      if (this.#running.delete(piece)) this.#ended(piece);
    }
  }

  #ended({ rotation }: Piece): void {
    this.#endings += 1;
    for (const name of rotation) this.#endedAt.set(name, this.#endings);
    this.#next();
  }

  #next(): void {
    while (this.#running.size < this.#atOnce) {
      const taken = new Set([...this.#running].flatMap(({ oneEach }) => oneEach));
      const [first, ...others] = [...this.#waiting].filter(
        (one) => !one.oneEach.some((name) => taken.has(name)),
      );
      if (first === undefined) break;
      const best = others.reduce((one, other) => (this.#isBefore(other, one) ? other : one), first);
      this.#waiting.delete(best);
      this.#running.add(best);
      best.begin();
    }
    if (this.#waiting.size === 0) this.#endedAt.clear();
  }

  #isBefore(one: Piece, other: Piece): boolean {
    const [ranks, others] = [this.#ranks(one), this.#ranks(other)];
    const index = ranks.findIndex((rank, at) => rank !== others[at]);
    return index >= 0 && (ranks[index] ?? 0) < (others[index] ?? 0);
  }

  #ranks({ rotation }: Piece): readonly number[] {
    const places = [...this.#running].filter((other) => other.rotation[0] === rotation[0]).length;
    return [places, ...rotation.map((name) => this.#endedAt.get(name) ?? 0)];
  }
}
