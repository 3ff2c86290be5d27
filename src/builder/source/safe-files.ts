import { constants } from 'node:fs';
import { type FileHandle, lstat, open, opendir } from 'node:fs/promises';
import { join } from 'node:path';
import { parse, type TomlTable } from 'smol-toml';
import { systemCode } from '../../core/errors.ts';

/** A larger file is not read, unless the caller gives another limit. */
const MAX_FILE_BYTES = 1024 * 1024;

/**
 * The most bytes of a buildpack.toml, or of a TOML file that a buildpack wrote. A larger file is refused unread. To
 * parse it, or to try all alternatives of a build plan in it, would block the server.
 */
export const MAX_TOML_BYTES = 64 * 1024;

/**
 * TOML with tables nested more deeply is refused. One key with dots can make thousands of tables inside each other, and
 * functions that call themselves for each table then run out of stack.
 */
const MAX_TOML_DEPTH = 20;

/** A folder with more entries is refused. A buildpack makes far fewer layers and environment variables. */
const MAX_ENTRIES = 5000;

const ABSENT = new Set(['ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO', 'ENAMETOOLONG']);

/**
 * Reads a file that untrusted code may have made. Follows no symbolic link below `root` and opens only plain files. No
 * process that could change the folder may be running.
 *
 * @returns the text, or null if there is no such plain file.
 * @throws RangeError if the file is larger than `maxBytes`.
 */
export async function readPlainFile(
  root: string,
  parts: readonly string[],
  maxBytes = MAX_FILE_BYTES,
): Promise<string | null> {
  await using file = await openPlainFile(root, parts);
  if (file === null) return null;
  const { size } = await file.stat();
  if (size > maxBytes) throw new RangeError(`${parts.at(-1)} is larger than ${maxBytes} bytes`);
  return await file.readFile('utf8');
}

/**
 * Reads a TOML file that a buildpack wrote, as `readPlainFile` does. A missing file counts as empty.
 *
 * @returns the content, and the length of the text.
 * @throws RangeError if the file has more than `MAX_TOML_BYTES`, or if its tables are nested more deeply than
 * `MAX_TOML_DEPTH`; TomlError if it is not valid TOML.
 */
export async function readTomlFile(
  root: string,
  parts: readonly string[],
): Promise<{ content: TomlTable; length: number }> {
  const text = (await readPlainFile(root, parts, MAX_TOML_BYTES)) ?? '';
  const content = parse(text);
  let level: unknown[] = [content];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > MAX_TOML_DEPTH)
      throw new RangeError(`${parts.at(-1)} has tables inside each other, more than ${MAX_TOML_DEPTH} deep`);
    level = level.flatMap((value) => Object.values(value as object)).filter(isTableOrArray);
  }
  return { content, length: text.length };
}

function isTableOrArray(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !(value instanceof Date);
}

/**
 * Returns the first bytes, at most `maxBytes`, of a file that untrusted code may have made. Empty if there is no such
 * plain file. Follows no symbolic link below `root`.
 */
export async function readStart(root: string, parts: readonly string[], maxBytes: number): Promise<Buffer> {
  await using file = await openPlainFile(root, parts);
  if (file === null) return Buffer.alloc(0);
  const length = Math.min(maxBytes, (await file.stat()).size);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, 0);
  return buffer.subarray(0, bytesRead);
}

async function openPlainFile(root: string, parts: readonly string[]): Promise<FileHandle | null> {
  if (!(await isPlainFolder(root, parts.slice(0, -1)))) return null;
  try {
    const file = await open(
      join(root, ...parts),
      constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
    );
    if ((await file.stat()).isFile()) return file;
    await file.close();
    return null;
  } catch (error) {
    if (ABSENT.has(systemCode(error) ?? '')) return null;
    throw error;
  }
}

/**
 * Reads a file as `readPlainFile` does, but returns an empty text if the file is too large. Use this for files that
 * only lead to warnings, or that other code refuses if they are too large.
 */
export async function readIfSmall(...file: Parameters<typeof readPlainFile>): Promise<string | null> {
  try {
    return await readPlainFile(...file);
  } catch (error) {
    if (error instanceof RangeError) return '';
    throw error;
  }
}

/**
 * Whether each of the parts below `root` is a folder and not a symbolic link. False for a path that leads out by `..`.
 */
export async function isPlainFolder(root: string, parts: readonly string[]): Promise<boolean> {
  if (parts.includes('..')) return false;
  for (let depth = 1; depth <= parts.length; depth += 1) {
    const stat = await statOf(join(root, ...parts.slice(0, depth)));
    if (stat?.isDirectory() !== true) return false;
  }
  return true;
}

/**
 * Whether anything of this name exists, even a symbolic link. False if a folder on the way is a symbolic link, and for
 * a path that leads out by `..`.
 */
export async function hasEntry(root: string, parts: readonly string[]): Promise<boolean> {
  const isInside = parts.at(-1) !== '..' && (await isPlainFolder(root, parts.slice(0, -1)));
  return isInside && (await statOf(join(root, ...parts))) !== null;
}

/**
 * The entries of a folder below `root`, sorted by name. Empty if the folder does not exist or if a part of its path is
 * a symbolic link.
 *
 * @throws RangeError if there are more than 5,000 entries.
 */
export async function listPlainFolder(
  root: string,
  parts: readonly string[],
): Promise<{ name: string; isFolder: boolean; isFile: boolean }[]> {
  if (!(await isPlainFolder(root, parts))) return [];
  const entries: { name: string; isFolder: boolean; isFile: boolean }[] = [];
  try {
    for await (const entry of await opendir(join(root, ...parts), { bufferSize: 256 })) {
      if (entries.length === MAX_ENTRIES)
        throw new RangeError(`${parts.at(-1)} has more than ${MAX_ENTRIES} entries`);
      entries.push({ name: entry.name, isFolder: entry.isDirectory(), isFile: entry.isFile() });
    }
  } catch (error) {
    if (ABSENT.has(systemCode(error) ?? '')) return [];
    throw error;
  }
  return entries.sort((a, b) => (a.name < b.name ? -1 : 1));
}

async function statOf(path: string) {
  try {
    return await lstat(path);
  } catch (error) {
    if (ABSENT.has(systemCode(error) ?? '')) return null;
    throw error;
  }
}
