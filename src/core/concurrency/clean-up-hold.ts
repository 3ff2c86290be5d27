/**
 * Lets a backup or an export prevent work that deletes, merges or renames files, because the backup or export reads
 * these files. Work that would begin meanwhile is skipped.
 */
export class CleanUpHold {
  readonly #running = new Set<Promise<unknown>>();
  #holders = 0;

  /** Runs `work`, unless a backup or an export is running. Work that was skipped is not run later. */
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
   * From now on, `unlessHeld` skips its work, which deletes, merges or renames files. Resolves when all such work that
   * has already begun has ended. @returns a function that ends this hold, so that work may begin again.
   */
  async hold(): Promise<() => void> {
    this.#holders += 1;
    await Promise.allSettled(this.#running);
    return () => {
      this.#holders -= 1;
    };
  }
}
