import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, type Stats } from 'node:fs';
import { chmod, chown, copyFile, link, lstat, opendir, rename, rm, utimes } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { DiskRoom } from '../../core/disk/disk-space.ts';
import { namesIn } from '../../core/disk/names-in.ts';
import { systemCode } from '../../core/errors.ts';
import { outputOfShell } from '../../sandbox/process/shell.ts';
import type { Layer } from '../buildpack-api/layers.ts';
import { makeFolder, serverUser } from '../folders.ts';

/** How many files are read or linked at the same time. */
const AT_ONCE = 4;
/** A larger file is not shared, because to share a new file, the server must read all of it. */
const MAX_FILE_BYTES = 64 * 1024 * 1024;
/**
 * The shared layers of one build may have this many files and folders together. A Python with its modules has 5,000.
 */
const MAX_ENTRIES = 20_000;
/** To share files, the server reads at most this many bytes of one build's layers. */
const MAX_BYTES = 1024 ** 3;
/**
 * If more bytes of a file than this are not on the disk, the file has holes, or the file system compresses it. Such a
 * file is not shared, because a copy would not have the holes.
 */
const MAX_HOLES = 4096;
/**
 * A file with a longer path is not shared. Without this limit, the paths of a hostile layer's folders, which are kept
 * in memory, could fill the memory.
 */
const MAX_PATH_BYTES = 1024;
/**
 * If the folder `shared` holds this many copies, a new copy replaces another or is not made. The number is limited,
 * because `SharedFiles.sweep` looks at each copy whenever an artifact is removed.
 */
const MAX_COPIES = 100_000;
/**
 * The names of unfinished copies and links begin with this. To copy a file never takes an hour. So if an unfinished
 * copy is older, the process that made it has ended.
 */
const HALF = 'half-';
/**
 * The script of `SharedFiles.sweep`. The arguments are the folder `shared`, and the ids of the server's user and group.
 */
const SWEEP = `find "$1" -maxdepth 1 -type f '(' -name '${HALF}*' -cmin +60 -o ! -name '${HALF}*' -links 1 ')' -delete
find "$1" -maxdepth 1 -type f ! -name '${HALF}*' ! -uid "$2" -exec chown -h -- "$2:$3" '{}' +`;

/**
 * How much one build may still share: how many more files and folders its shared layers may have, and how many more
 * bytes of files the server may read. `SharedFiles.share` counts both numbers down.
 */
export interface SharingBudget {
  entries: number;
  bytes: number;
  /** The copies in the folder `shared`, listed when the build shares its first layer. Null before that. */
  copies: Copies | null;
}

/** The `SharingBudget` of a build that has shared no files yet. */
export function sharingBudget(): SharingBudget {
  return { entries: MAX_ENTRIES, bytes: MAX_BYTES, copies: null };
}

/**
 * Files that many artifacts have, such as those of one version of Python. The folder `shared` of the data folder keeps
 * one copy of each, and artifacts have hard links to it. The copies belong to the server, so no tool can change a file
 * of another tool. A build works on its own copies of the files, unless the layer also has `linked = true`: see
 * `restoreLayers`.
 */
export class SharedFiles {
  readonly #folder: string;
  readonly #mostCopies: number;
  readonly #room: DiskRoom;

  constructor(data: string, mostCopies: number = MAX_COPIES) {
    this.#room = new DiskRoom(data);
    this.#folder = join(data, 'shared');
    this.#mostCopies = mostCopies;
  }

  /**
   * Replaces each file of a finished layer by a hard link to the server's one copy of that file in `shared`. Makes this
   * copy if it does not exist yet. A file stays as it is if it has more than `MAX_FILE_BYTES`, has holes, or has a path
   * of more than `MAX_PATH_BYTES`. It also stays if it needs a new copy and the disk is nearly full, or if the server
   * would have to read more than `MAX_BYTES` of the build's layers. Once the layers of the build have more than
   * `MAX_ENTRIES` files and folders, this layer and all later ones stay as they are.
   *
   * Each copy counts for the tool that was the first to share it. If `shared` is full, a new copy replaces a copy that
   * counts for the tool with the most copies. But if that tool has at most one copy more than the tool of this layer,
   * the file stays as it is.
   *
   * Call this only after all processes of the build have ended, because none of them may change the layer afterwards.
   *
   * @param options - `toolNumber`: the number of the tool for which new copies count. `earlier`: the folder of this
   *   layer in an earlier artifact, if `saysSame` is true for the two layers, otherwise null. A file that `looksEqual`
   *   to the file there becomes a link to that file, without being read. Symbolic links in the earlier layer are not
   *   followed. `budget`: how much of the build's layers may still be shared.
   * @throws the reason of the signal. Copies that nothing links to may then be left: see `sweep`.
   */
  async share(layer: string, options: SharingOptions): Promise<void> {
    const { earlier, budget, signal } = options;
    signal.throwIfAborted();
    await makeFolder(this.#folder, 0o711);
    // Count all files and folders of the layer before anything is linked. Do not collect their paths, because those of
    // a hostile layer would fill the memory.
    for await (const _ of entriesBelow(layer, null)) {
      signal.throwIfAborted();
      budget.entries -= 1;
      if (budget.entries < 0) return;
    }
    budget.copies ??= new Copies(await namesIn(this.#folder));
    const { copies } = budget;
    const entries = entriesBelow(layer, earlier);
    const work = async () => {
      for await (const { path, before } of entries) {
        signal.throwIfAborted();
        if (path === null) continue;
        const kept =
          before !== null && (await looksEqual(path, before))
            ? before
            : await this.#keep(path, copies, options);
        if (kept !== null) await this.#replaceByLink(path, kept);
      }
    };
    // If one of the workers fails, wait for the others too: the caller then deletes the layer, so nobody may still use
    // it.
    const ended = await Promise.allSettled(Array.from({ length: AT_ONCE }, work));
    for (const one of ended) if (one.status === 'rejected') throw one.reason;
  }

  /**
   * Deletes the copies to which no artifact has a link any more, and unfinished copies that are older than an hour.
   * Makes the server the owner of all other finished copies, because earlier versions of the server made a tool the
   * owner of some. A separate program does all this, because a process of a tool can hold the lock of a copy, and the
   * server must not wait for the lock. Does nothing if `shared` does not exist.
   *
   * @throws Error if the program cannot be started, is killed, or takes longer than a minute.
   */
  async sweep(): Promise<void> {
    const { uid, gid } = serverUser();
    const output = await outputOfShell(SWEEP, [this.#folder, `${uid}`, `${gid}`]);
    if (output === null) throw new Error(`the copies in ${this.#folder} cannot be looked at now`);
  }

  /**
   * Returns the path of the server's copy of a file, and makes the copy if necessary. Null if the file has holes, is
   * larger than `MAX_FILE_BYTES` or than the bytes left in `budget`, or if it needs a new copy and none may be made for
   * this tool now.
   */
  async #keep(
    file: string,
    copies: Copies,
    { toolNumber, budget, signal }: SharingOptions,
  ): Promise<string | null> {
    const { mode, mtime, size, blocks } = await lstat(file);
    if (size > MAX_FILE_BYTES || size - blocks * 512 > MAX_HOLES || size > budget.bytes) return null;
    budget.bytes -= size;
    const isProgram = (mode & 0o100) !== 0;
    const hash = createHash('sha256');
    for await (const piece of createReadStream(file, { signal })) hash.update(piece);
    const content = `${hash.digest('hex')}-${Math.floor(mtime.getTime() / 1000)}${isProgram ? 'x' : ''}`;
    const present = copies.nameOf(content);
    if (present !== null) return join(this.#folder, present);
    if ((await this.#room.space()).low !== null) return null;
    const room = copies.makeRoom(toolNumber, this.#mostCopies);
    if (room === null) return null;
    for (const name of room) await rm(join(this.#folder, name), { force: true });
    const kept = join(this.#folder, `${content}~${toolNumber}`);
    const half = join(this.#folder, HALF + createHash('sha256').update(file).digest('hex'));
    await copyFile(file, half);
    // Make the server the owner of the copy. If the server is root, libuv's uv_fs_copyfile has given the copy the owner
    // of the original file.
    const { uid, gid } = serverUser();
    await chown(half, uid, gid);
    await utimes(half, mtime, mtime);
    await chmod(half, isProgram ? 0o555 : 0o444);
    await rename(half, kept);
    copies.add(basename(kept));
    return kept;
  }

  /**
   * Replaces a file by a hard link to the server's copy. Leaves the file as it is if the file system cannot make the
   * link, or if the copy no longer exists.
   */
  async #replaceByLink(file: string, kept: string): Promise<void> {
    // Make the link beside the file, not in `shared`: while link(2) waits for a lock of the copy, nobody can use the
    // folder in which it makes the link.
    const half = join(dirname(file), HALF + randomUUID());
    try {
      await link(kept, half);
      await rename(half, file);
    } catch (error) {
      if (!['EMLINK', 'EPERM', 'EXDEV', 'ENOENT', 'ENOTSUP', 'EOPNOTSUPP'].includes(systemCode(error) ?? ''))
        throw error;
    }
    // If `file` is already a hard link to the copy, rename(2) does nothing, and `half` remains.
    await rm(half, { force: true });
  }
}

export interface SharingOptions {
  readonly toolNumber: number;
  readonly earlier: string | null;
  readonly budget: SharingBudget;
  readonly signal: AbortSignal;
}

/**
 * The names of the copies in `shared`. A name has the hash of the content, the time when the file was last changed, and
 * `x` if the file is executable. After `~` follows the number of the tool that was the first to share the file. Earlier
 * versions of the server made names without a number.
 */
class Copies {
  readonly #names = new Map<string, string>();
  readonly #ofTools = new Map<string, Set<string>>();
  /** How many copies are being made. */
  #coming = 0;

  constructor(names: readonly string[]) {
    for (const name of names) if (!name.startsWith(HALF)) this.#put(name);
  }

  /** The name of the copy whose name begins with `content`, the part before `~`. Null if there is no such copy. */
  nameOf(content: string): string | null {
    return this.#names.get(content) ?? null;
  }

  /**
   * Makes room for one more copy, which counts for the tool with this number. When the copy is made, the caller must
   * call `add`.
   *
   * @returns the names of copies that the caller must delete. Null if there is no room, and no other tool has at least
   * two copies more than this one.
   */
  makeRoom(toolNumber: number, most: number): string[] | null {
    const removed: string[] = [];
    while (this.#names.size + this.#coming >= most) {
      const own = this.#ofTools.get(String(toolNumber))?.size ?? 0;
      let largest = new Set<string>();
      for (const names of this.#ofTools.values()) if (names.size > largest.size) largest = names;
      const [name] = largest;
      // Take no copy from a tool that has hardly more copies than this one: otherwise the two would take copies from
      // each other again and again.
      if (name === undefined || own + 1 > largest.size - 1) break;
      removed.push(name);
      largest.delete(name);
      this.#names.delete(contentOf(name));
    }
    if (removed.length === 0 && this.#names.size + this.#coming >= most) return null;
    this.#coming += 1;
    return removed;
  }

  add(name: string): void {
    this.#coming -= 1;
    this.#put(name);
  }

  #put(name: string): void {
    const [, tool = ''] = name.split('~');
    // Two copies of the same content may have been made at the same time. List only the first, so that later files of
    // this content become links to the first only.
    if (this.#names.has(contentOf(name))) return;
    this.#names.set(contentOf(name), name);
    const names = this.#ofTools.get(tool) ?? new Set();
    this.#ofTools.set(tool, names.add(name));
  }
}

function contentOf(name: string): string {
  return name.split('~', 1)[0] ?? '';
}

/** One file or folder of a layer. */
interface Entry {
  /** The path of a plain file. Null for everything else. */
  readonly path: string | null;
  /**
   * The path that this file or folder would have in the same layer of an earlier artifact. Null if there is no earlier
   * layer, or if a folder on this path is missing there or is no plain folder.
   */
  readonly before: string | null;
}

/**
 * Lists everything in a layer, which untrusted code has made. A folder whose path is too long or whose name is not
 * UTF-8 is listed, but not entered.
 *
 * @param earlier - The folder of the same layer in an earlier artifact. The field `before` of an entry is the path that
 *   the entry would have in this folder. Null if there is no such layer: then each `before` is null.
 */
async function* entriesBelow(layer: string, earlier: string | null): AsyncGenerator<Entry> {
  const folders = [{ folder: layer, before: earlier }];
  for (let next = folders.pop(); next !== undefined; next = folders.pop()) {
    const { folder } = next;
    const before =
      next.before !== null && (await lstatOrNull(next.before))?.isDirectory() ? next.before : null;
    for await (const entry of await opendir(folder)) {
      const path = join(folder, entry.name);
      // A file whose name is not valid UTF-8 cannot be opened, because a JavaScript string cannot express its name.
      const isReachable = !entry.name.includes('\uFFFD') && Buffer.byteLength(path) <= MAX_PATH_BYTES;
      const below = before === null ? null : join(before, entry.name);
      if (isReachable && entry.isDirectory()) folders.push({ folder: path, before: below });
      yield { path: isReachable && entry.isFile() ? path : null, before: below };
    }
  }
}

/**
 * Whether `before` is a shared file and `file` has the same size, time and mode, so that their contents are probably
 * equal.
 */
async function looksEqual(file: string, before: string): Promise<boolean> {
  const [one, other] = await Promise.all([lstat(file), lstatOrNull(before)]);
  if (other === null || !other.isFile() || other.nlink === 1) return false;
  return one.size === other.size && one.mtimeMs === other.mtimeMs && one.mode === other.mode;
}

async function lstatOrNull(path: string): Promise<Stats | null> {
  try {
    return await lstat(path);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ENAMETOOLONG'].includes(systemCode(error) ?? '')) return null;
    throw error;
  }
}

/**
 * True if the metadata of two layers are equal and have other keys than `shared`. The layers then probably have the
 * same content. Equal sizes and times of files would not show this, because archives and buildpacks give the same time
 * to all versions of a file.
 */
export function saysSame(metadata: Layer['metadata'], earlier: Layer['metadata']): boolean {
  return Object.keys(metadata).some((key) => key !== 'shared') && isDeepStrictEqual(metadata, earlier);
}
