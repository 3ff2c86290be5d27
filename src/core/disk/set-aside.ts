import { existsSync } from 'node:fs';
import { copyFile, cp, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { execa } from 'execa';
import { systemCode } from '../errors.ts';

/** How many days the server keeps files that were set aside. */
const MAX_SET_ASIDE_DAYS = 30;

const DAY_MS = 24 * 60 * 60 * 1000;
const FOLDER = 'set-aside';
const STAMP = /^\d{8}T\d{9}Z$/;

/** A moment as a plain file name that sorts by time: `20261128T150000000Z`. */
export function timeStamp(now: number): string {
  return new Date(now).toISOString().replace(/[-:.]/g, '');
}

/**
 * The folder `set-aside` of the data folder. The server moves files here if it does not know or cannot use them,
 * instead of deleting them. `set-aside/TIME/` holds each file under the path that the file had in the data folder.
 */
export class SetAside {
  readonly #data: string;
  readonly #stamp: string;

  constructor(data: string, now: number = Date.now()) {
    this.#data = data;
    this.#stamp = timeStamp(now);
  }

  /**
   * Moves a file or folder of the data folder into the folder `set-aside`.
   *
   * @returns the new path, relative to the data folder. Null if there was nothing to move.
   */
  async move(path: string): Promise<string | null> {
    return await this.#keep(path, moveTo);
  }

  /**
   * Copies a file of the data folder into the folder `set-aside`. Call this before the server rewrites the file, so
   * that a crash during the rewrite loses nothing. Resolves when the copy is on the disk.
   *
   * @returns the path of the copy, relative to the data folder. Null if there was nothing to copy.
   */
  async copy(path: string): Promise<string | null> {
    return await this.#keep(path, async (from, to) => {
      await copyFile(from, to);
      await using copied = await open(to, 'r');
      await copied.sync();
    });
  }

  async #keep(path: string, keep: (from: string, to: string) => Promise<void>): Promise<string | null> {
    const wanted = join(FOLDER, this.#stamp, relative(this.#data, path));
    for (let count = 0; ; count++) {
      const target = count === 0 ? wanted : `${wanted}.${count}`;
      try {
        await mkdir(join(this.#data, FOLDER), { recursive: true, mode: 0o700 });
        await mkdir(dirname(join(this.#data, target)), { recursive: true, mode: 0o700 });
        if (existsSync(join(this.#data, target))) continue;
        await keep(path, join(this.#data, target));
        return target;
      } catch (error) {
        if (systemCode(error) === 'ENOENT') return null;
        throw error;
      }
    }
  }
}

/**
 * Renames a file or folder. If the target is on another disk, copies instead, and deletes the original when the copy is
 * on the disk. A move that fails leaves no part of a copy.
 */
async function moveTo(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    if (systemCode(error) !== 'EXDEV') throw error;
    try {
      await cp(from, to, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true });
      // Pass the folder to syncfs(2), because the copy itself may be a symbolic link that points nowhere.
      await execa('sync', ['-f', dirname(to)]);
    } catch (failure) {
      await rm(to, { recursive: true, force: true });
      throw failure;
    }
    await rm(from, { recursive: true });
  }
}

/** Lists the folders in `set-aside`, the oldest first. */
export async function listSetAside(data: string): Promise<string[]> {
  const names = await readdir(join(data, FOLDER)).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  });
  return names.filter((name) => STAMP.test(name)).sort();
}

/** Deletes the folders that were set aside more than 30 days ago (`MAX_SET_ASIDE_DAYS`). @returns their names. */
export async function dropOldSetAside(
  data: string,
  remove: (folder: string) => Promise<void>,
  now: number = Date.now(),
): Promise<string[]> {
  const oldest = timeStamp(now - MAX_SET_ASIDE_DAYS * DAY_MS);
  const old = (await listSetAside(data)).filter((name) => name < oldest);
  for (const name of old) await remove(join(data, FOLDER, name));
  return old;
}
