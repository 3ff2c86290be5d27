import { setTimeout as wait } from 'node:timers/promises';
import type { Log } from '../../core/log.ts';
import { du } from '../../sandbox/disk-use.ts';

export interface DiskWatchOptions {
  /** For each folder; 0: no limit. */
  readonly limitBytes: number;
  /** The least time between two looks; 2000 where not set. */
  readonly pauseMs?: number;
  readonly log: Log;
}

/**
 * Weighs the folders of what runs now and then, all with one `du`. It is for what grows by mistake: what somebody hides
 * (a file without a name, a folder that nobody may read) ends with its process all the same.
 */
export class DiskWatch {
  readonly #options: DiskWatchOptions;
  /** By folder, what to do where it is too large. */
  readonly #watched = new Map<string, () => void>();
  #isLooking = false;

  constructor(options: DiskWatchOptions) {
    this.#options = options;
  }

  /** Calls `onOver` once where a folder passes the limit, until what is returned is disposed of. */
  watch(folder: string, onOver: () => void): Disposable {
    if (this.#options.limitBytes > 0) {
      this.#watched.set(folder, onOver);
      if (!this.#isLooking) void this.#look();
    }
    return { [Symbol.dispose]: () => void this.#watched.delete(folder) };
  }

  async #look(): Promise<void> {
    const { limitBytes, pauseMs = 2000, log } = this.#options;
    this.#isLooking = true;
    let tookMs = 0;
    while (this.#watched.size > 0) {
      // A walk over many files costs: at most a twentieth of the time goes into it.
      await wait(Math.max(pauseMs, 19 * tookMs), null, { ref: false });
      const startedAt = performance.now();
      try {
        const folders = [...this.#watched.keys()];
        const sizes = folders.length === 0 ? [] : await du(['-s', '-k', '-x', ...folders], NEVER);
        for (const { path, bytes } of sizes) {
          const onOver = this.#watched.get(path);
          if (bytes <= limitBytes || onOver === undefined) continue;
          this.#watched.delete(path);
          onOver();
        }
      } catch (error) {
        log.error({ err: error }, 'disk use of processes not known');
      }
      tookMs = performance.now() - startedAt;
    }
    this.#isLooking = false;
  }
}

const NEVER = new AbortController().signal;
