import { hash } from 'node:crypto';
import { DeployError } from '../../core/errors.ts';
import { mebibytes } from '../../core/text/mebibytes.ts';
import type { TreeLimits } from '../commits.ts';
import { assertInTree, badEntry, foldersOf, isInGitFolder, treePath } from './archive-paths.ts';
import { ArchiveWork } from './archive-work.ts';
import { readTar, type TarEntry } from './read-tar.ts';

/** A file, a symbolic link or a hard link of an archive, checked, as it becomes part of a commit. */
export type SourceEntry =
  | {
      readonly kind: 'file';
      readonly path: string;
      readonly isExecutable: boolean;
      readonly bytes: number;
      /**
       * The content of the file, which has exactly `bytes` bytes. Read it before you ask for the next entry, because
       * the bytes that you have not read are skipped.
       */
      readonly content: AsyncIterable<Uint8Array>;
    }
  | { readonly kind: 'link'; readonly path: string; readonly target: string }
  /** A hard link: the same file as the earlier entry with the path `of`. */
  | { readonly kind: 'copy'; readonly path: string; readonly of: string };

/**
 * An archive may have this many times the bytes and the files that a commit may have, because headers, folders and the
 * `.git` that is left out need room too.
 */
const SLACK = 4;
const MIN_SLACK_BYTES = 16 * 1024 ** 2;
/** An entry of GNU tar can have one more header for its name, and one for the target of its link. */
const HEADERS_OF_ENTRY = 3;

/**
 * Reads a tar that a person has sent, and yields what belongs into a commit. Leaves out `.git`, and drops owners,
 * times, set-user bits and empty folders. If two entries have the same path, yields both, and the later one counts.
 *
 * @param limits - The limits of a commit.
 * @param tool - The tool that gets the commit. The time that reading takes the server is limited for all archives of
 * this tool together.
 * @throws DeployError `NOT_AN_ARCHIVE` if what was sent is no whole tar; `ARCHIVE_TOO_LARGE` if the tar is too large,
 * and `TREE_TOO_LARGE` if its files are; `PATH_TOO_LONG` if a path exceeds a limit; `BAD_ARCHIVE`, for example for a
 * path or a link that leaves the folder, a device, a sparse file, or a path that is both a file and a folder; every
 * error with which the stream `sent` fails.
 */
export async function* sourceEntries(
  sent: AsyncIterable<Uint8Array>,
  limits: TreeLimits,
  tool: string,
): AsyncGenerator<SourceEntry> {
  const work = new ArchiveWork(tool);
  work.resume();
  const seen = new SeenPaths(limits);
  let entries = 0;
  const most = {
    bytes: limits.bytes * SLACK + MIN_SLACK_BYTES,
    headers: limits.files * SLACK * HEADERS_OF_ENTRY,
  };
  for await (const entry of readTar(sent, most, work)) {
    entries += 1;
    if (entries > limits.files * SLACK) throw tooLarge(`${limits.files * SLACK} entries`);
    const path = treePath(entry.header.name);
    if (isInGitFolder(path)) continue;
    const found = sourceEntry(entry, path, seen);
    if (found === null) continue;
    work.pause();
    yield found;
    work.resume();
  }
}

/** Checks an entry of a tar. @returns null for a folder, because git stores only files and links. */
function sourceEntry({ header, content }: TarEntry, path: string, seen: SeenPaths): SourceEntry | null {
  const { type, size, mode, target } = header;
  if (type === 'sparse') throw badEntry(path, 'is a sparse file', 'Make the archive without --sparse.');
  if (type === 'folder') {
    seen.addFolder(path);
    return null;
  }
  if (path === '') throw badEntry(header.name, 'has no name', 'Make the archive again: tar cz .');
  switch (type) {
    case 'file':
      seen.addFile(path, size, null);
      return { kind: 'file', path, isExecutable: (mode & 0o111) !== 0, bytes: size, content };
    case 'symlink':
      seen.addFile(path, 0, assertInTree(path, target));
      return { kind: 'link', path, target };
    case 'hard-link': {
      const of = treePath(target);
      const original = seen.file(of);
      if (original === null)
        throw badEntry(
          path,
          'is a hard link to a file that does not come before it in the archive',
          HARD_LINKS,
        );
      // This hard link names a symbolic link, so the commit gets a copy of that link at `path`. From another folder,
      // the target of the copy leads elsewhere, so check the target again.
      if (original.ups !== null && original.ups > foldersOf(path))
        throw badEntry(
          path,
          'is a hard link to a symbolic link, and as a copy of that link it would lead out of the folder',
          HARD_LINKS,
        );
      seen.addFile(path, original.bytes, original.ups);
      return { kind: 'copy', path, of };
    }
    case 'device':
      throw badEntry(path, 'is a device or a pipe', 'Leave it out.');
    default:
      throw badEntry(path, 'is of a kind that this server does not know', 'Make the archive by: tar cz .');
  }
}

const HARD_LINKS = 'Make the archive with --hard-dereference.';

/**
 * The paths of the entries that have been read from an archive so far. Keeps a hash of each path, which has 32 bytes,
 * because each path of a hostile archive can have a kilobyte.
 */
class SeenPaths {
  readonly #limits: TreeLimits;
  /** The bytes of each file and link, by the hash of its path. */
  readonly #files = new Map<string, number>();
  /** How many folders up the target of each symbolic link leads, by the hash of the link's path. */
  readonly #links = new Map<string, number>();
  readonly #folders = new Set<string>();
  #bytes = 0;

  constructor(limits: TreeLimits) {
    this.#limits = limits;
  }

  /**
   * @returns null if no file or link has this path. Otherwise, the `bytes` and the `ups` that `addFile` got for the
   * path.
   */
  file(path: string): { readonly bytes: number; readonly ups: number | null } | null {
    const key = keyOf(path);
    const bytes = this.#files.get(key);
    return bytes === undefined ? null : { bytes, ups: this.#links.get(key) ?? null };
  }

  /** Records a file or link. @param ups - How many folders up the target of a symbolic link leads. Null for a file. */
  addFile(path: string, bytes: number, ups: number | null): void {
    const key = keyOf(path);
    if (this.#folders.has(key)) throw isBoth(path);
    const end = path.lastIndexOf('/');
    if (end > 0) this.addFolder(path.slice(0, end));
    this.#files.set(key, bytes);
    if (ups === null) this.#links.delete(key);
    else this.#links.set(key, ups);
    // If two entries have the same path, count the bytes of both towards the limit, because git stores both.
    this.#bytes += bytes;
    if (this.#files.size > this.#limits.files) throw tooLarge(`${this.#limits.files} files`);
    if (this.#bytes > this.#limits.bytes) throw tooLarge(`${mebibytes(this.#limits.bytes)} of files`);
  }

  addFolder(path: string): void {
    for (let at = path; at !== ''; at = at.slice(0, Math.max(0, at.lastIndexOf('/')))) {
      const key = keyOf(at);
      if (this.#folders.has(key)) break;
      if (this.#files.has(key)) throw isBoth(at);
      this.#folders.add(key);
    }
    if (this.#folders.size > this.#limits.files) throw tooLarge(`${this.#limits.files} folders`);
  }
}

/** The SHA-256 of a path, as a string in which each character is a byte. */
function keyOf(path: string): string {
  return hash('sha256', path, 'binary');
}

function isBoth(path: string): DeployError {
  return badEntry(
    path,
    'is a file or link, and also a folder',
    'Make the archive in one go, from one folder.',
  );
}

function tooLarge(limit: string): DeployError {
  return new DeployError(
    'TREE_TOO_LARGE',
    `the archive has more than ${limit}`,
    'Leave out the files that the tool does not need when it runs, for example with: tar cz --exclude=node_modules . Nothing was deployed.',
  );
}
