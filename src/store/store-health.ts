import { setTimeout as wait } from 'node:timers/promises';
import { DeployError } from '../core/errors.ts';

/** A store that can check itself. Each check throws a DeployError that names the problem. */
export interface CheckedStore {
  /** Makes a real write that changes nothing, and throws if the write fails. */
  assertWritable(): void;
  /**
   * Reads the whole store from the disk, and throws if it is damaged. Returns the processor time that this took, in
   * milliseconds.
   */
  assertWhole(): Promise<number>;
}

const WRITE_PAUSE_MS = 5000;
const READ_PAUSE_MS = 60_000;
/** The check that reads the whole store may take at most this part of one processor's time. */
const READ_PART = 0.001;
/**
 * How long `complaint` waits for the check that reads the whole store. After this time, it uses the result of the last
 * check that has ended.
 */
const WAIT_MS = 500;

/** Tests whether the store works. Its checks cost little, however often somebody asks. */
export class StoreHealth {
  readonly #store: CheckedStore;
  #complaint: string | null = null;
  #damage: string | null = null;
  #nextWriteAt = 0;
  #nextReadAt = 0;
  #reading: Promise<void> = Promise.resolve();

  constructor(store: CheckedStore) {
    this.#store = store;
  }

  /** Returns the message of the error that a check has thrown. Null if the store works. */
  async complaint(): Promise<string | null> {
    const startedAt = performance.now();
    if (startedAt >= this.#nextReadAt) {
      // Start no second check of the whole store while one runs.
      this.#nextReadAt = Number.POSITIVE_INFINITY;
      this.#reading = this.#read(startedAt);
    }
    if (startedAt >= this.#nextWriteAt) {
      this.#nextWriteAt = startedAt + WRITE_PAUSE_MS;
      this.#complaint = await complaintOf(() => this.#store.assertWritable());
    }
    await Promise.race([this.#reading, wait(WAIT_MS, null, { ref: false })]);
    return this.#damage ?? this.#complaint;
  }

  async #read(startedAt: number): Promise<void> {
    // The processor time counts, not the time by the clock. Otherwise, a check that is slow only because the machine is
    // busy would postpone the next check for minutes.
    let tookMs = 0;
    try {
      this.#damage = await complaintOf(async () => {
        tookMs = await this.#store.assertWhole();
      });
    } finally {
      this.#nextReadAt = startedAt + Math.max(READ_PAUSE_MS, tookMs / READ_PART);
    }
  }
}

async function complaintOf(check: () => void | Promise<void>): Promise<string | null> {
  try {
    await check();
    return null;
  } catch (error) {
    if (!(error instanceof DeployError)) throw error;
    return error.message;
  }
}
