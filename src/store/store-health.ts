import { DeployError } from '../core/errors.ts';

/** A store that can check itself. Each check throws a DeployError that names the problem. */
export interface CheckedStore {
  /** Makes a real write that changes nothing, and throws if the write fails. */
  assertWritable(): void;
  /** Reads the whole store from the disk, and throws if it is damaged. */
  assertWhole(): void;
}

const WRITE_PAUSE_MS = 5000;
const READ_PAUSE_MS = 60_000;
/** The check that reads the whole store may take at most this part of one processor's time. */
const READ_PART = 0.001;

/** Tests whether the store works. Its checks cost little, however often somebody asks. */
export class StoreHealth {
  readonly #store: CheckedStore;
  #complaint: string | null = null;
  #damage: string | null = null;
  #nextWriteAt = 0;
  #nextReadAt = 0;

  constructor(store: CheckedStore) {
    this.#store = store;
  }

  /** Returns the message of the error that a check has thrown. Null if the store works. */
  complaint(): string | null {
    const startedAt = performance.now();
    if (startedAt >= this.#nextReadAt) {
      const before = process.threadCpuUsage();
      this.#damage = complaintOf(() => this.#store.assertWhole());
      // Measure processor time, not the time by the clock. Otherwise, a check that is slow only because the machine is
      // busy would postpone the next check for minutes.
      const { user, system } = process.threadCpuUsage(before);
      const tookMs = (user + system) / 1000;
      this.#nextReadAt = startedAt + Math.max(READ_PAUSE_MS, tookMs / READ_PART);
    }
    if (startedAt >= this.#nextWriteAt) {
      this.#complaint = complaintOf(() => this.#store.assertWritable());
      this.#nextWriteAt = startedAt + WRITE_PAUSE_MS;
    }
    return this.#damage ?? this.#complaint;
  }
}

function complaintOf(check: () => void): string | null {
  try {
    check();
    return null;
  } catch (error) {
    if (!(error instanceof DeployError)) throw error;
    return error.message;
  }
}
