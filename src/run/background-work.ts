/** Keeps track of the work of a runtime, which must end before a shutdown is complete. */
export class BackgroundWork {
  readonly #closing = new AbortController();
  readonly #works = new Set<Promise<void>>();

  /** Waits until a piece of work ends. If `close` is called before, it waits for this work too. @throws the work’s error. */
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

  /** Returns a signal that fires when `signal` fires, and when the runtime is being closed. */
  with(signal: AbortSignal): AbortSignal {
    return AbortSignal.any([signal, this.#closing.signal]);
  }

  /** Fires `closing`, and resolves when all registered work has ended, even by an error. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#works);
  }
}
