/**
 * Lets a backup or an export hold back work that deletes, merges or renames files, because the backup or export reads
 * these files.
 */
export class CleanUpHold {
  readonly #running = new Set<Promise<unknown>>();
  #holders = 0;

  /** Runs `work`, but not while a backup or an export holds it back. Work that was skipped is not run later. */
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

  /**
   * Holds back all work that would begin from now on, and waits until the work under way has ended. @returns a function
   * that ends the hold.
   */
  async hold(): Promise<() => void> {
    this.#holders += 1;
    await Promise.allSettled(this.#running);
    return () => {
      this.#holders -= 1;
    };
  }
}
