import { existsSync } from 'node:fs';
import { copyFile, cp, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { execa } from 'execa';
import { systemCode } from '../errors.ts';

/** How long what was set aside is kept. */
export const MAX_SET_ASIDE_DAYS = 30;

const DAY_MS = 24 * 60 * 60 * 1000;
const FOLDER = 'set-aside';
const STAMP = /^\d{8}T\d{9}Z$/;

/** `20261128T150000000Z`: sorts by time, and is a plain name. */
export function timeStamp(now: number): string {
  return new Date(now).toISOString().replace(/[-:.]/g, '');
}

/**
 * The folder `set-aside` of the data folder. What the server finds and does not know is moved here instead of being
 * deleted: `set-aside/TIME/` holds it under the path that it had in the data folder.
 */
export class SetAside {
  readonly #data: string;
  readonly #stamp: string;

  constructor(data: string, now: number = Date.now()) {
    this.#data = data;
    this.#stamp = timeStamp(now);
  }

  /**
   * Moves a file or folder of the data folder.
   *
   * @returns where it is now, relative to the data folder; null if there was nothing to move.
   */
  async move(path: string): Promise<string | null> {
    return await this.#keep(path, moveTo);
  }

  /**
   * Copies a file of the data folder, for a file that is about to be written anew: a crash in between loses nothing.
   * The copy is on the disk when it returns.
   *
   * @returns where it is, as `move` does.
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
 * A folder of the data folder may be a disk of its own: then a file cannot only get another name. The copy is on the disk
 * before the original is deleted. A move that fails leaves no part of a copy.
 */
async function moveTo(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    if (systemCode(error) !== 'EXDEV') throw error;
    try {
      await cp(from, to, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true });
      // syncfs(2). The folder, because the copy itself may be a symbolic link that points nowhere.
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

/** Deletes what was set aside more than `MAX_SET_ASIDE_DAYS` ago. @returns the names of the folders. */
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
