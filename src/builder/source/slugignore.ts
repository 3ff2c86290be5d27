import { lstat, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { entriesIn } from '../folders.ts';
import { readPlainFile } from './safe-files.ts';
import { Matcher, type Pattern, readPatterns } from './slug-patterns.ts';

const file = '.slugignore';
const MAX_BYTES = 64 * 1024;

/** Files that say how the tool is built and run. At the top of the source, no pattern removes them. */
const kept: ReadonlySet<string> = new Set([
  'Procfile',
  'service.template',
  'Aptfile',
  'project.toml',
  'toolforge.yaml',
  'jobs.yaml',
  'jobs.yml',
  'toolforge-jobs.yaml',
  'app.json',
]);

/** The result of applying a .slugignore. */
export interface LeftOut {
  /** One line for people, which says how many files were removed from the source. */
  readonly summary: string;
  readonly warnings: readonly string[];
}

/**
 * Removes files from a fresh checkout: those that a pattern of `.slugignore` or of `excluded` matches. No pattern
 * removes the files of `kept` at the top of the source. The patterns are as in a .gitignore, but cannot negate. Follows
 * no symbolic link; a link is removed like a file. If `.slugignore` has more than `MAX_BYTES`, removes nothing and
 * returns a warning.
 *
 * @param excluded - The patterns of `exclude` in project.toml.
 * @returns how many files were removed, as a line for people, and warnings. Null if there is no `.slugignore` and
 *   `excluded` is empty.
 * @throws DeployError `BUILD_SLUGIGNORE` if matching the patterns would take too long.
 * @see https://devcenter.heroku.com/articles/slug-compiler#ignoring-files-with-slugignore
 */
export async function applySlugignore(
  source: string,
  excluded: readonly string[] = [],
): Promise<LeftOut | null> {
  let text: string | null;
  try {
    text = await readPlainFile(source, [file], MAX_BYTES);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return {
      summary: `${file}: not used`,
      warnings: [`${file} is larger than ${MAX_BYTES / 1024} kB, so it is not used. Make it smaller.`],
    };
  }
  if (text === null && excluded.length === 0) return null;
  const read = [readPatterns(text ?? ''), readPatterns(excluded.join('\n'), 'exclude in project.toml')];
  const patterns = read.flatMap((one) => one.patterns);
  const warnings = read.flatMap((one) => one.warnings);
  const clearing = { source, patterns, total: { files: 0, bytes: 0 }, matcher: new Matcher() };
  await clear(clearing, { path: [], characters: [] });
  const { files, bytes } = clearing.total;
  const count = files === 1 ? '1 file' : `${files} files`;
  const named = [...(text === null ? [] : [file]), ...(excluded.length === 0 ? [] : ['project.toml'])].join(
    ', ',
  );
  return { summary: `${named}: ${count} left out, ${(bytes / 1024 / 1024).toFixed(1)} MiB`, warnings };
}

interface Clearing {
  readonly source: string;
  readonly patterns: readonly Pattern[];
  readonly total: { files: number; bytes: number };
  readonly matcher: Matcher;
}

/** One folder or file of a source: the parts of its path, and the characters of each part. */
interface Place {
  readonly path: readonly string[];
  readonly characters: readonly (readonly string[])[];
  readonly isFolder: boolean;
}

async function clear(clearing: Clearing, folder: Pick<Place, 'path' | 'characters'>): Promise<void> {
  const { source, total } = clearing;
  const entries = await entriesIn(join(source, ...folder.path));
  for (const [index, entry] of entries.entries()) {
    // After every 500 entries, let the server serve other requests.
    if (index % 500 === 499) await nextTurn();
    const place: Place = {
      path: [...folder.path, entry.name],
      characters: [...folder.characters, Array.from(entry.name)],
      isFolder: entry.isDirectory(),
    };
    const isKept = folder.path.length === 0 && kept.has(entry.name);
    if (!isKept && (await isMeant(clearing, place))) {
      await weigh(join(source, ...place.path), place.isFolder, total);
      // Node.js deletes the folder, because starting a program for each folder would be slow. This is safe, because
      // nothing else writes to a checkout.
      await rm(join(source, ...place.path), { recursive: true });
    } else if (place.isFolder) {
      await clear(clearing, place);
    }
  }
}

async function isMeant({ patterns, matcher }: Clearing, { characters, isFolder }: Place): Promise<boolean> {
  for (const { parts, isFolderOnly } of patterns) {
    if ((isFolder || !isFolderOnly) && matcher.fits(parts, characters)) return true;
    // Let the server serve other requests between two patterns, because one pattern may take milliseconds.
    if (matcher.isDue()) await nextTurn();
  }
  return false;
}

async function weigh(
  path: string,
  isFolder: boolean,
  total: { files: number; bytes: number },
): Promise<void> {
  if (!isFolder) {
    total.files += 1;
    total.bytes += (await lstat(path)).size;
    return;
  }
  for (const entry of await entriesIn(path)) await weigh(join(path, entry.name), entry.isDirectory(), total);
}
