/** Lets a backup or an export hold back the work that deletes or merges files, because it is reading these files. */
export class CleanUpHold {
  readonly #running = new Set<Promise<unknown>>();
  #holders = 0;

  /** Runs `work`, or skips it while somebody holds it back. The next clean-up does what was skipped. */
  async unlessHeld(work: () => Promise<void>): Promise<void> {
    if (this.#holders > 0) return;
    const running = work();
    this.#running.add(running);
    try {
      await running;
    } finally {
      this.#running.delete(running);
    }
  }

  /** Holds work back from now on, and waits until the work that runs has ended. @returns a function that ends the hold. */
  async hold(): Promise<() => void> {
    this.#holders += 1;
    await Promise.allSettled(this.#running);
    return () => {
      this.#holders -= 1;
    };
  }
}
