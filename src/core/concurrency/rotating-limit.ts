/** For whom a piece of work runs. */
export interface Beneficiary {
  /**
   * The names for which the work runs, such as a tool and a login. The work waits while other work with one of these
   * names runs.
   */
  readonly oneEach: readonly string[];
  /**
   * Names that take turns, such as a person and then a tool: the next turn goes to another person, and among the work
   * of one person to another tool.
   */
  readonly rotation: readonly string[];
  /** True if the first name of `rotation` is one person. False if any number of people share the name. */
  readonly isOnePerson: boolean;
}

interface Piece extends Beneficiary {
  readonly begin: () => void;
}

/**
 * Limits how many pieces of work run at the same time. Further work waits. The next turn goes to the work whose first
 * name in `rotation`, such as a person, has the least work running. If several names have equally little, the turn goes
 * to the name whose last work ended longest ago. Among the work of this name, the next name of `rotation` decides in
 * the same way. Work that waits for a name of `oneEach` holds no place meanwhile. The last free place is kept for a
 * person who has no work running, so that one person never holds all places.
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

  /**
   * @param atOnce - How many pieces of work may run at the same time, at least 2. The last free place is kept for a
   * person who has no work running.
   */
  constructor(atOnce: number) {
    this.#atOnce = atOnce;
  }

  /**
   * Waits until it is the turn of `work`, then does it. @throws the signal's reason, if the signal fires before that.
   */
  async run<Result>(
    beneficiary: Beneficiary,
    work: () => Promise<Result>,
    signal: AbortSignal,
  ): Promise<Result> {
    signal.throwIfAborted();
    const turn = Promise.withResolvers<void>();
    const piece = { ...beneficiary, begin: turn.resolve };
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
      const [first, ...others] = [...this.#waiting].filter((one) => this.#mayBegin(one));
      if (first === undefined) break;
      const best = others.reduce((one, other) => (this.#isBefore(other, one) ? other : one), first);
      this.#waiting.delete(best);
      this.#running.add(best);
      best.begin();
    }
    if (this.#waiting.size === 0) this.#endedAt.clear();
  }

  #mayBegin(one: Piece): boolean {
    const running = [...this.#running];
    if (running.some(({ oneEach }) => oneEach.some((name) => one.oneEach.includes(name)))) return false;
    return this.#atOnce - running.length > 1 || (one.isOnePerson && this.#placesOf(one) === 0);
  }

  #isBefore(one: Piece, other: Piece): boolean {
    const [ranks, others] = [this.#ranks(one), this.#ranks(other)];
    const index = ranks.findIndex((rank, at) => rank !== others[at]);
    return index >= 0 && (ranks[index] ?? 0) < (others[index] ?? 0);
  }

  #ranks(piece: Piece): readonly number[] {
    return [this.#placesOf(piece), ...piece.rotation.map((name) => this.#endedAt.get(name) ?? 0)];
  }

  /** How many pieces of work run now whose rotation begins with the same name, such as a person, as that of `piece`. */
  #placesOf({ rotation: [first] }: Piece): number {
    return [...this.#running].filter(({ rotation }) => rotation[0] === first).length;
  }
}
