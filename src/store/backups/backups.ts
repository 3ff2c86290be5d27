import { chmod, copyFile, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { DiskRoom } from '../../core/disk/disk-space.ts';
import { timeStamp } from '../../core/disk/set-aside.ts';
import { syncFolder } from '../../core/disk/sync-folder.ts';
import { systemCode } from '../../core/errors.ts';
import type { Log } from '../../core/log/log.ts';
import { explain } from '../database.ts';
import { readStoreFacts } from '../store-facts.ts';

const HOUR_MS = 60 * 60 * 1000;
const MINUTE_MS = 60 * 1000;
/**
 * The server keeps this many backups of the store, and as many of the user directory. 25 hourly backups cover 24 hours.
 */
const MAX_BACKUPS = 25;
/**
 * All backups of one kind together take at most this part of the disk, but the newest `MIN_BACKUPS` are always kept.
 */
const DISK_PART = 0.05;
const MIN_BACKUPS = 2;

export type BackedUp = 'store' | 'directory';

const NAMES = { store: /^store-\d{8}T\d{9}Z\.sqlite$/, directory: /^directory-\d{8}T\d{9}Z\.yaml$/ } as const;

/** The backups in a data folder, `backups/`: the store and the user directory, each as one file of mode 0600. */
export class Backups {
  readonly #data: string;
  readonly #folder: string;

  constructor(data: string) {
    this.#data = data;
    this.#folder = join(data, 'backups');
  }

  /**
   * The paths of the backups, the newest first. Backups with a time in the future come last. They were made before the
   * clock was set back, so all other backups are newer.
   */
  async list(what: BackedUp, now: number = Date.now()): Promise<string[]> {
    const names = await readdir(this.#folder).catch((error: unknown) => {
      if (systemCode(error) === 'ENOENT') return [];
      throw error;
    });
    const own = names
      .filter((name) => NAMES[what].test(name))
      .sort()
      .reverse();
    // `~` sorts after the dot of a file extension, so a backup made exactly now is not in the future.
    const isFuture = (name: string) => name > `${what}-${timeStamp(now)}~`;
    const inOrder = [...own.filter((name) => !isFuture(name)), ...own.filter(isFuture)];
    return inOrder.map((name) => join(this.#folder, name));
  }

  /**
   * The age of the newest store backup in milliseconds. Infinity if there is no backup, or if its date is in the
   * future.
   */
  async ageOfNewest(now: number): Promise<number> {
    const [newest] = await this.list('store', now);
    if (newest === undefined) return Number.POSITIVE_INFINITY;
    const age = now - (await stat(newest)).mtimeMs;
    return age < 0 ? Number.POSITIVE_INFINITY : age;
  }

  /**
   * The path of the newest store backup that is intact and contains at least one tool. Null if there is no such backup.
   *
   * @throws the first error of a backup that could not be read, if no other backup is good.
   */
  async newestGoodStore(): Promise<string | null> {
    let unreadable: unknown = null;
    for (const path of await this.list('store')) {
      try {
        const facts = readStoreFacts(path);
        if (facts.state === 'whole' && facts.tools.length > 0) return path;
      } catch (error) {
        // Continue, because an older backup may be good. Throw this error only if no backup is good.
        unreadable ??= error;
      }
    }
    if (unreadable !== null) throw unreadable;
    return null;
  }

  /**
   * Backs up the store while it is in use. Another thread copies it row by row, so this thread does not block. A
   * damaged store makes the copy fail instead of replacing good backups.
   */
  async backUpStore(now: number = Date.now()): Promise<string> {
    const store = join(this.#data, 'store.sqlite');
    return await this.#make({ what: 'store', of: store, now }, (draft) => copyStore(store, draft));
  }

  /** Backs up the user directory. The caller has checked that the directory can be read. */
  async backUpDirectory(now: number = Date.now()): Promise<string> {
    const directory = join(this.#data, 'directory.yaml');
    return await this.#make({ what: 'directory', of: directory, now }, (draft) => copyFile(directory, draft));
  }

  async #make(
    { what, of, now }: { readonly what: BackedUp; readonly of: string; readonly now: number },
    write: (draft: string) => Promise<void>,
  ): Promise<string> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    for (const left of await readdir(this.#folder)) {
      // A server that was killed during a backup left this file.
      if (left.endsWith('.new')) await rm(join(this.#folder, left), { force: true });
    }
    const room = new DiskRoom(this.#folder);
    await this.#dropOldest(what, now, (await room.space()).bytes * DISK_PART - (await stat(of)).size);
    // Make no backup on a nearly full disk, because the store itself needs the last free space.
    await room.assertRoom();
    const path = join(this.#folder, `${what}-${timeStamp(now)}${extname(of)}`);
    const draft = `${path}.new`;
    try {
      // Create the file before `write` fills it, so that it is private from its first byte.
      await using file = await open(draft, 'w', 0o600);
      await write(draft);
      await chmod(draft, 0o600);
      await file.sync();
      await rename(draft, path);
    } catch (error) {
      await rm(draft, { force: true });
      throw error;
    }
    await syncFolder(this.#folder);
    for (const old of (await this.list(what, now)).slice(MAX_BACKUPS)) await rm(old, { force: true });
    return path;
  }

  /** Deletes the oldest backups until the rest takes at most `bytes`, or only `MIN_BACKUPS` are left. */
  async #dropOldest(what: BackedUp, now: number, bytes: number): Promise<void> {
    let sum = 0;
    for (const [index, path] of (await this.list(what, now)).entries()) {
      sum += (await stat(path)).size;
      if (sum > bytes && index >= MIN_BACKUPS) await rm(path, { force: true });
    }
  }
}

/**
 * Copies a whole store into an empty file, including rows that are only in the write-ahead log.
 *
 * @throws DeployError `STORE_FULL` if the disk cannot be written; `STORE_DAMAGED` if a row cannot be read.
 */
export function copyStore(from: string, to: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const worker = new Worker(new URL('./backup-thread.ts', import.meta.url), { workerData: { from, to } });
  worker.once('error', (error) => reject(explain(error)));
  worker.once('exit', () => resolve());
  return promise;
}

export interface BackupClockOptions {
  /** The data folder. */
  readonly data: string;
  /** Whether the store has a live release. */
  readonly hasLive: () => boolean;
  /** Whether the user directory is worth a backup: it can be read and has users. */
  readonly isDirectoryGood: () => Promise<boolean>;
  readonly log: Log;
}

/**
 * Backs up the store and the user directory (directory.yaml) every hour, until this object is disposed. After a start,
 * the first backup is due when the newest existing backup is an hour old. So the kept backups cover a whole day even if
 * the server restarts often. If the store had no live release and now has one, a backup is made within a minute. A
 * backup is also due if the user directory can be read and has users, but has no backup yet. A failed backup is logged
 * as an error.
 */
export class BackupClock implements AsyncDisposable {
  readonly #options: BackupClockOptions;
  readonly #backups: Backups;
  #timer: NodeJS.Timeout | null = null;
  #making: Promise<void>;
  #isClosed = false;
  #hadLive: boolean;

  constructor(options: BackupClockOptions) {
    this.#options = options;
    this.#backups = new Backups(options.data);
    this.#hadLive = options.hasLive();
    this.#making = this.#makeIfDue();
  }

  async #makeIfDue(): Promise<void> {
    let age = 0;
    let hasLive = this.#hadLive;
    let lacksDirectory = false;
    try {
      age = await this.#backups.ageOfNewest(Date.now());
      hasLive = this.#options.hasLive();
      lacksDirectory = await this.#lacksDirectory();
    } catch (err) {
      this.#options.log.error({ err }, 'cannot find out the age of the newest backup');
    }
    const isDue = age >= HOUR_MS || (hasLive && !this.#hadLive) || lacksDirectory;
    this.#hadLive = hasLive;
    if (isDue) await this.#make();
    if (this.#isClosed) return;
    const waitMs = isDue ? HOUR_MS : HOUR_MS - age;
    this.#timer = setTimeout(
      () => {
        this.#making = this.#makeIfDue();
      },
      hasLive ? waitMs : Math.min(waitMs, MINUTE_MS),
    );
    this.#timer.unref();
  }

  /** Whether directory.yaml is good (readable, with users), but has no backup yet. */
  async #lacksDirectory(): Promise<boolean> {
    const backups = await this.#backups.list('directory');
    return backups.length === 0 && (await this.#options.isDirectoryGood());
  }

  async #make(): Promise<void> {
    try {
      const path = await this.#backups.backUpStore();
      if (await this.#options.isDirectoryGood()) await this.#backups.backUpDirectory();
      this.#options.log.info({ path, bytes: (await stat(path)).size }, 'store backed up');
    } catch (err) {
      this.#options.log.error(
        { err },
        'store not backed up: see the free space of the data folder, and run doctor',
      );
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#making;
  }
}
