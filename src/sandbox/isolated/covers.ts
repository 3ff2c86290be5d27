import { existsSync, lstatSync, readdirSync, readlinkSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';

/** A file or folder of this machine, and its path in sandboxes. */
export interface Shown {
  readonly source: string;
  readonly target: string;
}

/** What sandboxes must not see of what they are shown. */
export class Covers {
  /** Where the hidden files and folders are, and the links that lead to them. */
  readonly #places: readonly string[];

  /** @param hidden - Paths. Those that do not exist count for nothing. */
  constructor(hidden: readonly string[]) {
    const all = new Set(hidden.filter((path) => existsSync(path)).flatMap(placesOf));
    this.#places = [...all].filter((place) => ![...all].some((other) => place.startsWith(`${other}/`)));
  }

  /** Whether all of a file or folder is hidden. */
  hides(path: string): boolean {
    const paths = [placeOf(path), realpathSync(path)];
    return this.#places.some((place) => paths.some((one) => `${one}/`.startsWith(`${place}/`)));
  }

  /**
   * Arguments for bwrap that show each folder with something hidden in it anew, with its other entries alone. A cover
   * over a file would go when somebody replaces the file: the kernel ends a mount together with its place.
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

/** The places of a file, and of the links that the path leads over to it. */
function placesOf(path: string): string[] {
  const place = placeOf(path);
  if (!lstatSync(place).isSymbolicLink()) return [place];
  return [place, ...placesOf(resolve(dirname(place), readlinkSync(place)))];
}

/** The path without links, but for the last part. */
function placeOf(path: string): string {
  return join(realpathSync(dirname(path)), basename(path));
}

/** Whether tools can get to what is in a folder. If the server is root, they are other users. */
function canPass(folder: string): boolean {
  if (process.getuid?.() !== 0) return true;
  const parent = dirname(folder);
  return (statSync(folder).mode & 0o001) !== 0 && (parent === folder || canPass(parent));
}

/** None, if the server cannot list the folder. */
function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
