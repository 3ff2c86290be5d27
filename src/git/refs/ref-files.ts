import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { mapWithLimit } from '../../core/concurrency/concurrency-limit.ts';
import { systemCode } from '../../core/errors.ts';
import { type CommitId, commitId, type ToolName } from '../../core/names.ts';
import type { Repositories } from '../repositories.ts';

// Starting git takes 5 to 10 ms and blocks this process for half of them. That is too long for each push, and for each
// tool at every start. So this file reads refs as git's files backend stores them (gitrepository-layout(5)).

/** How many refs are read at the same time. A tool can have more refs than a process may open files. */
const FILES_AT_ONCE = 64;

/**
 * Returns for each of these refs the id that the ref points to: a commit, or a tag object. Leaves out refs that do not
 * exist.
 */
export async function readRefs(
  repositories: Repositories,
  tool: ToolName,
  names: readonly string[],
): Promise<ReadonlyMap<string, CommitId>> {
  const folder = repositories.folder(tool);
  // Reads loose refs before packed refs. git packs a ref before it deletes the loose file, so no ref is missed.
  const files = await mapWithLimit(names, FILES_AT_ONCE, (name) => readRefFile(join(folder, name)));
  const isOdd = files.some((text) => text !== null && commitId(text.trimEnd()) === null);
  if (isOdd || !hasRefFiles(folder)) return await askGit(repositories, tool, names);
  const packed = files.includes(null) ? packedRefs(await packedText(folder), names.length) : () => '';
  const found = names.map((name, index) => [name, files[index]?.trimEnd() ?? packed(name)] as const);
  return new Map(found.flatMap(([name, text]) => toCommit(name, text)));
}

/** Lists the names of all refs below `parents`. Each parent looks like `refs/heads`, without a slash at the end. */
export async function refNames(
  repositories: Repositories,
  tool: ToolName,
  parents: readonly string[],
): Promise<string[]> {
  const folder = repositories.folder(tool);
  if (!hasRefFiles(folder)) return [...(await askGit(repositories, tool, parents)).keys()];
  const files = await Promise.all(parents.map((parent) => filesBelow(folder, parent)));
  const below = packedLines(await packedText(folder))
    .map(nameIn)
    .filter((name) => parents.some((parent) => name.startsWith(`${parent}/`)));
  return [...new Set([...files.flat(), ...below])];
}

/** False if the repository uses git's reftable backend. */
function hasRefFiles(folder: string): boolean {
  return !existsSync(join(folder, 'reftable'));
}

async function askGit(
  repositories: Repositories,
  tool: ToolName,
  patterns: readonly string[],
): Promise<Map<string, CommitId>> {
  const text = await repositories.git(tool, [
    'for-each-ref',
    '--format=%(refname) %(objectname)',
    ...patterns,
  ]);
  const lines = text.split('\n').map((line) => line.split(' ', 2));
  return new Map(lines.flatMap(([name = '', id = '']) => toCommit(name, id)));
}

function toCommit(name: string, text: string): [string, CommitId][] {
  const commit = commitId(text);
  return commit === null ? [] : [[name, commit]];
}

async function packedText(folder: string): Promise<string> {
  return (await readRefFile(join(folder, 'packed-refs'))) ?? '';
}

/**
 * For at most this many refs, to search the text of `packed-refs` takes less time than to split the text into lines.
 */
const FEW = 8;

/**
 * Returns a function that returns what a packed ref points to, or an empty text if there is no such ref. For few refs,
 * the function searches the text, because to split the lines of 10,000 tags takes ten milliseconds.
 */
function packedRefs(text: string, refs: number): (name: string) => string {
  if (refs <= FEW)
    return (name) => {
      const end = text.indexOf(` ${name}\n`);
      return end < 0 ? '' : text.slice(text.lastIndexOf('\n', end) + 1, end);
    };
  const lines = packedLines(text);
  const all = new Map(lines.map((line) => [nameIn(line), line.slice(0, line.indexOf(' '))]));
  return (name) => all.get(name) ?? '';
}

/** The lines that name a ref: not the comment at the top, and no line `^ID`, which gives the commit behind a tag. */
function packedLines(text: string): string[] {
  return text.split('\n').filter((line) => /^[0-9a-f]/.test(line));
}

function nameIn(line: string): string {
  return line.slice(line.indexOf(' ') + 1);
}

/** Lists the files at any depth below a folder of the repository, such as `refs/heads`. Leaves out lock files. */
export async function filesBelow(folder: string, parent: string): Promise<string[]> {
  const entries = await readdir(join(folder, parent), { recursive: true, withFileTypes: true }).catch(
    noneWhereAbsent,
  );
  return (entries ?? [])
    .filter((entry) => entry.isFile() && !entry.name.endsWith('.lock'))
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
}

/** Reads the text of a file in a repository. Null if no file has this path. */
export async function readRefFile(path: string): Promise<string | null> {
  return readFile(path, 'utf8').catch(noneWhereAbsent);
}

function noneWhereAbsent(error: unknown): null {
  const code = systemCode(error);
  if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EISDIR') return null;
  throw error;
}
