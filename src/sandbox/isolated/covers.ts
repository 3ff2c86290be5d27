import { existsSync, lstatSync, readdirSync, readlinkSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';

/** A file or folder of this machine, and its path in sandboxes. */
export interface Shown {
  readonly source: string;
  readonly target: string;
}

/** Hides single files and folders from sandboxes if they lie in a folder that sandboxes may see. */
export class Covers {
  /** The paths of the hidden files, folders and links, as `placesOf` returns them. */
  readonly #places: readonly string[];

  /** @param hidden - The paths of the files and folders to hide from sandboxes. Paths that do not exist are ignored. */
  constructor(hidden: readonly string[]) {
    const all = new Set(hidden.filter((path) => existsSync(path)).flatMap(placesOf));
    this.#places = [...all].filter((place) => ![...all].some((other) => place.startsWith(`${other}/`)));
  }

  /** True if this file or folder is hidden as a whole. */
  hides(path: string): boolean {
    const paths = [placeOf(path), realpathSync(path)];
    return this.#places.some((place) => paths.some((one) => `${one}/`.startsWith(`${place}/`)));
  }

  /**
   * Returns arguments for bwrap that replace each folder that contains hidden entries by a folder with only the other
   * entries. A mount over each hidden file would not be enough: if somebody replaces the file, the kernel removes the
   * mount.
   */
  argumentsFor(shown: readonly Shown[]): string[] {
    const folders = [...new Set(this.#places.map((place) => dirname(place)))];
    return folders
      .filter(canPass)
      .sort()
      .flatMap((folder) =>
        shown.flatMap(({ source, target }) => {
          const below = relative(realpathSync(source), folder);
          return below === '..' || below.startsWith('../')
            ? []
            : this.#shownAnew(folder, join(target, below));
        }),
      );
  }

  #shownAnew(folder: string, target: string): string[] {
    const entries = namesIn(folder).flatMap((name) => {
      const path = join(folder, name);
      if (this.#places.includes(path)) return [];
      return lstatSync(path).isSymbolicLink()
        ? ['--symlink', readlinkSync(path), join(target, name)]
        : ['--ro-bind-try', path, join(target, name)];
    });
    return ['--tmpfs', target, ...entries, '--remount-ro', target];
  }
}

/**
 * Returns `path`, and if it is a link, also each link that it leads to and the file at the end. Links among the folders
 * of these paths are resolved, not returned.
 */
function placesOf(path: string): string[] {
  const place = placeOf(path);
  if (!lstatSync(place).isSymbolicLink()) return [place];
  return [place, ...placesOf(resolve(dirname(place), readlinkSync(place)))];
}

/** Resolves the symbolic links in all parts of a path except the last. */
function placeOf(path: string): string {
  return join(realpathSync(dirname(path)), basename(path));
}

/**
 * True if tools can reach the entries of a folder. Always true if the server is not root. If it is root, even if
 * only in a user namespace, tools run as other users, so every folder of the path must let other users enter.
 */
function canPass(folder: string): boolean {
  if (process.getuid?.() !== 0) return true;
  const parent = dirname(folder);
  return (statSync(folder).mode & 0o001) !== 0 && (parent === folder || canPass(parent));
}

/** Lists the names in a folder. The list is empty if the server cannot read the folder. */
function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
