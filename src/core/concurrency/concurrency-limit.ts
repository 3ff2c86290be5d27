export interface Waiting {
  /** If this many pieces of work wait, the next one is refused. */
  readonly most: number;
  /** Makes the error for work that is refused. */
  readonly refusal: () => Error;
}

/** Limits how many pieces of work run at the same time. Further work waits, in order. */
export class ConcurrencyLimit {
  readonly #atOnce: number;
  readonly #limit: Waiting | null;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  /** @param limit - How many pieces of work may wait at most. Null if any number may. */
  constructor(atOnce: number, limit: Waiting | null = null) {
    this.#atOnce = atOnce;
    this.#limit = limit;
  }

  /**
   * Waits until few enough other pieces of work are running, then does `work`.
   *
   * @throws the error of `Waiting.refusal` if too many pieces of work wait; the signal's reason if the signal fires
   * before the work has begun.
   */
  async run<Result>(
    work: () => Promise<Result>,
    signal: AbortSignal = new AbortController().signal,
  ): Promise<Result> {
    await this.#enter(signal);
    try {
      signal.throwIfAborted();
      return await work();
    } finally {
      this.#leave();
    }
  }

  async #enter(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#running < this.#atOnce) {
      this.#running += 1;
      return;
    }
    if (this.#limit !== null && this.#waiting.length >= this.#limit.most) throw this.#limit.refusal();
    await new Promise<void>((resolve, reject) => {
      const turn = () => {
        signal.removeEventListener('abort', abort);
        resolve();
      };
      const abort = () => {
        this.#waiting.splice(this.#waiting.indexOf(turn), 1);
        reject(signal.reason);
      };
      this.#waiting.push(turn);
      signal.addEventListener('abort', abort, { once: true });
    });
  }

  /**
   * Call this when a piece of work has ended. Begins the work that has waited longest, or frees the place if none
   * waits.
   */
  #leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#running -= 1;
    else next();
  }
}

/** Limits how many pieces of work of each key run at the same time. Further work of the key waits, in order. */
export class KeyedConcurrencyLimit {
  readonly #atOnce: number;
  readonly #limit: Waiting | null;
  readonly #byKey = new Map<string, { readonly few: ConcurrencyLimit; users: number }>();

  /** @param limit - How many pieces of work of each key may wait at most. Null if any number may. */
  constructor(atOnce: number, limit: Waiting | null = null) {
    this.#atOnce = atOnce;
    this.#limit = limit;
  }

  /**
   * Waits until few enough other pieces of work with this key are running, then does `work`.
   *
   * @throws the error of `Waiting.refusal` if too much work of the key waits; the signal's reason if the signal fires
   * before the work has begun.
   */
  async run<Result>(key: string, work: () => Promise<Result>, signal: AbortSignal): Promise<Result> {
    const own = this.#byKey.get(key) ?? { few: new ConcurrencyLimit(this.#atOnce, this.#limit), users: 0 };
    this.#byKey.set(key, own);
    own.users += 1;
    try {
      return await own.few.run(work, signal);
    } finally {
      own.users -= 1;
      if (own.users === 0) this.#byKey.delete(key);
    }
  }
}

/**
 * Does the work for every item, for at most `atOnce` items at the same time.
 *
 * @returns the results in the order of the items.
 */
export async function mapWithLimit<Item, Result>(
  items: readonly Item[],
  atOnce: number,
  work: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const few = new ConcurrencyLimit(atOnce);
  return await Promise.all(items.map((item) => few.run(() => work(item))));
}
