/** Work that must have ended before a shutdown is done. */
export class UnderWay {
  readonly #works = new Set<Promise<void>>();

  /** @throws whatever the work throws. */
  async own(work: Promise<void>): Promise<void> {
    const settled = work.catch(() => {});
    this.#works.add(settled);
    await settled;
    this.#works.delete(settled);
    await work;
  }

  /** Resolves when all of it has ended, by whatever. */
  async ended(): Promise<void> {
    await Promise.all(this.#works);
  }
}
