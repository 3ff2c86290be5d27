/** Keeps track of running work that must end before a shutdown is complete. */
export class BackgroundWork {
  readonly #works = new Set<Promise<void>>();

  /** Registers a piece of work and waits until it ends. @throws the error of the work. */
  async own(work: Promise<void>): Promise<void> {
    const settled = work.catch(() => {});
    this.#works.add(settled);
    await settled;
    this.#works.delete(settled);
    await work;
  }

  /** Resolves when all registered work has ended, even by an error. */
  async ended(): Promise<void> {
    await Promise.all(this.#works);
  }
}
