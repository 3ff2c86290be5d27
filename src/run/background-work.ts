/** Keeps track of a runtime's work, so that a shutdown can wait for the end of this work. */
export class BackgroundWork {
  readonly #closing = new AbortController();
  readonly #works = new Set<Promise<void>>();

  /**
   * Waits for a piece of work, and returns its result. A call of `close` waits for this work too.
   *
   * @throws the work’s error.
   */
  async own<Result>(work: Promise<Result>): Promise<Result> {
    const settled = work.then(
      () => {},
      () => {},
    );
    this.#works.add(settled);
    await settled;
    this.#works.delete(settled);
    return await work;
  }

  /** Fires when the runtime is being closed. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** Returns a signal that fires when `signal` fires, or when the runtime is being closed. */
  with(signal: AbortSignal): AbortSignal {
    return AbortSignal.any([signal, this.#closing.signal]);
  }

  /** Fires `closing`, and resolves when all work that `own` waits for now has ended, also if it failed. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#works);
  }
}
