import { setTimeout as delay } from 'node:timers/promises';
import type { DiskRoom } from '../core/disk/disk-space.ts';
import type { Log } from '../core/log/log.ts';
import type { ToolName } from '../core/names.ts';
import { mebibytes } from '../core/text/mebibytes.ts';
import type { Repositories } from './repositories.ts';
import { measureRepository, type RepositorySize } from './repository-size.ts';

/** How many bytes of packs may arrive, over all pushes, until the free space of the disk is checked again. */
const LOOK_BYTES = 16 * 1024 ** 2;

/** How many packs a repository may have. At this number, pushes are refused until git has merged the packs. */
const MAX_PACKS = 1000;

/**
 * After a repository was measured, it is not measured again during a pause: `REST_MS` multiplied by the number of its
 * tags and of the files in git's folder `objects`, at most `MAX_REST_MS`. If this number is at most `USUAL`, there is
 * no pause. With 10,000 tags, a measurement blocks the server for 15 ms, and the pause is 300 ms.
 */
const USUAL = 2000;
const REST_MS = 0.03;
const MAX_REST_MS = 1000;

export interface RepositoryRoomOptions {
  readonly repositories: Repositories;
  readonly maxPackBytes: number;
  readonly maxRepositoryBytes: (tool: ToolName) => number;
  /** The free space of the disk that holds the repositories. */
  readonly room: DiskRoom;
  readonly log: Log;
}

/**
 * How many bytes the running pushes to a tool have brought. The first push makes this object, and the end of the last
 * push deletes it.
 */
interface Arriving {
  /** The size of the repository when the first of these pushes began, in bytes. */
  readonly before: number;
  readonly limit: number;
  bytes: number;
}

interface Weighing {
  readonly size: Promise<RepositorySize>;
  readonly hasBegun: () => boolean;
}

/** Knows how large each repository is, and whether the repository and the disk have room for more. */
export class RepositoryRoom {
  readonly #options: RepositoryRoomOptions;
  readonly #sizes = new Map<ToolName, RepositorySize>();
  /**
   * For each tool, the measurement of its repository that waits or runs. If a push ends after the measurement has
   * begun, the measurement is outdated.
   */
  readonly #weighing = new Map<ToolName, Weighing>();
  /** For each repository that was measured a moment ago: resolves when it may be measured again. */
  readonly #resting = new Map<ToolName, Promise<void>>();
  readonly #arriving = new Map<ToolName, Arriving>();
  /** Why the disk had no room when it was last checked. Null if it had room. */
  #fullDisk: string | null = null;
  #bytesSinceLook = 0;

  constructor(options: RepositoryRoomOptions) {
    this.#options = options;
  }

  /** Returns the size of a repository. Measures the repository if that was not done since the last push ended. */
  async sizeOf(tool: ToolName): Promise<RepositorySize> {
    return this.#sizes.get(tool) ?? (await this.#weigh(tool));
  }

  /** Forgets the size of a repository. Call this only while no push to the tool is running. */
  forget(tool: ToolName): void {
    this.#outdate(tool);
  }

  /** Measures the size of a repository after work that has changed it. */
  async weighAgain(tool: ToolName): Promise<void> {
    this.#outdate(tool);
    await this.#weigh(tool);
  }

  /** Measures the size of a repository. If another call is already measuring it, waits for the result of that call. */
  async #weigh(tool: ToolName): Promise<RepositorySize> {
    const others = this.#weighing.get(tool);
    if (others !== undefined) return await others.size;
    let hasBegun = false;
    const begin = () => {
      hasBegun = true;
    };
    const weighing = { size: this.#measure(tool, begin), hasBegun: () => hasBegun };
    this.#weighing.set(tool, weighing);
    try {
      const size = await weighing.size;
      if (this.#weighing.get(tool) === weighing) this.#sizes.set(tool, size);
      return size;
    } finally {
      if (this.#weighing.get(tool) === weighing) this.#weighing.delete(tool);
    }
  }

  async #measure(tool: ToolName, begin: () => void): Promise<RepositorySize> {
    for (let rest = this.#resting.get(tool); rest !== undefined; rest = this.#resting.get(tool)) await rest;
    begin();
    const rested = Promise.withResolvers<void>();
    this.#resting.set(tool, rested.promise);
    let counted = 0;
    try {
      const size = await measureRepository(this.#options.repositories, tool);
      counted = size.counted;
      return size;
    } finally {
      const restMs = counted <= USUAL ? 0 : Math.min(counted * REST_MS, MAX_REST_MS);
      void delay(restMs, undefined, { ref: false }).then(() => {
        this.#resting.delete(tool);
        rested.resolve();
      });
    }
  }

  #outdate(tool: ToolName): void {
    this.#sizes.delete(tool);
    if (this.#weighing.get(tool)?.hasBegun() === true) this.#weighing.delete(tool);
  }

  /**
   * Prepares to count the bytes of a push to a repository of this size.
   *
   * @returns why the repository accepts no push, in one line. Null if it accepts the push.
   */
  async open(tool: ToolName, { bytes, packs }: RepositorySize): Promise<string | null> {
    this.#fullDisk = await this.#options.room.complaint();
    const limit = this.#options.maxRepositoryBytes(tool);
    if (!this.#arriving.has(tool)) this.#arriving.set(tool, { before: bytes, bytes: 0, limit });
    if (this.#fullDisk !== null) return fullDiskWords(this.#fullDisk);
    if (packs >= MAX_PACKS)
      return `the repository has ${packs} packs, which are merged when no push is running; push again in a minute`;
    if (bytes <= limit) return null;
    return `the repository has ${mebibytes(bytes)}, more than its limit of ${mebibytes(limit)} (repository_size); ask the operators to clear it or to raise the limit`;
  }

  /**
   * Counts bytes of a pack. Returns why git must get no more of the pack, in one line, or null if git may get more. The
   * pushes that run at the same time may together exceed the limit of the repository by at most `maxPackBytes`.
   */
  arrived(tool: ToolName, bytes: number): string | null {
    this.#bytesSinceLook += bytes;
    if (this.#bytesSinceLook > LOOK_BYTES) this.#look(tool);
    const arriving = this.#arriving.get(tool);
    if (arriving === undefined) return null;
    arriving.bytes += bytes;
    const { before, limit } = arriving;
    if (before + arriving.bytes > limit + this.#options.maxPackBytes)
      return `the pushes to ${tool} that are under way together exceed the limit of the repository, ${mebibytes(limit)} (repository_size); push again when the others have ended`;
    return this.#fullDisk === null ? null : fullDiskWords(this.#fullDisk);
  }

  /** Records that a push to the tool has ended. `isLast`: no other push to the tool is running. */
  ended(tool: ToolName, isLast: boolean): void {
    // Forget the size, because every push changes it: even a push of tags, or a push that is refused late, leaves
    // objects.
    this.#outdate(tool);
    if (isLast) this.#arriving.delete(tool);
  }

  #look(tool: ToolName): void {
    this.#bytesSinceLook = 0;
    this.#options.room
      .complaint()
      .then((complaint) => {
        this.#fullDisk = complaint;
      })
      .catch((err: unknown) =>
        this.#options.log.warn({ err, tool }, 'cannot see the free space of the disk'),
      );
  }
}

function fullDiskWords(complaint: string): string {
  return `${complaint}; tell the operators, and push again later`;
}
