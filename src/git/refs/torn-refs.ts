import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { mapWithLimit } from '../../core/concurrency/concurrency-limit.ts';
import type { SetAside } from '../../core/disk/set-aside.ts';
import { noneIfGone } from '../../core/errors.ts';
import type { ToolName } from '../../core/names.ts';
import type { Repositories } from '../repositories.ts';
import { CONFIG, makeHead, replaceFile } from '../repository-layout.ts';
import { filesBelow, readRefFile } from './ref-files.ts';

/** A damaged part of a repository that the server moved or copied to the folder `set-aside`. */
export interface Damaged {
  readonly tool: ToolName;
  /**
   * The damaged file, such as `refs/releases/v3`, `HEAD` or `packed-refs`. Null if the whole repository was moved
   * because it lost objects.
   */
  readonly file: string | null;
  /**
   * The path of the damaged file or repository in the folder `set-aside`, relative to the data folder. Null if it no
   * longer existed when the server wanted to move it.
   */
  readonly at: string | null;
}

// Match an undamaged file of a loose ref, and an undamaged line of `packed-refs`: gitrepository-layout(5),
// git-pack-refs(1).
const LOOSE = /^(([0-9a-f]{40}|[0-9a-f]{64})|ref: refs\/\S+)\n?$/;
const PACKED = /^(# .*|\^[0-9a-f]{40,64}|[0-9a-f]{40,64} refs\/\S+)$/;
/** Matches a ref in `packed-refs`. A line like `^ID` is valid only directly after a ref. */
const REF = /^[0-9a-f]{40,64} refs\/\S+$/;
const SHALLOW = /^[0-9a-f]{40,64}$/;

/** How many files are read at the same time: enough to keep Node's four file threads busy. */
const FILES_AT_ONCE = 8;

/** For files that are checked line by line: the pattern that an undamaged line matches. */
const LINES: ReadonlyMap<string, RegExp> = new Map([
  ['packed-refs', PACKED],
  ['shallow', SHALLOW],
]);

// Matches a line of a git configuration: git-config(1), "Syntax".
const CONFIG_LINE =
  /^\s*([#;][^\n]*|\[[-.A-Za-z0-9]+(\s+"(?:[^"\\]|\\.)*")?\][^\n]*|[A-Za-z][-A-Za-z0-9]*\s*(=[^\n]*)?)?$/;

/**
 * Lists the ref and settings files of a repository that are empty, cut off or overwritten, for example after a power
 * loss. Lists HEAD also if it is missing. Reads the files synchronously: the server does nothing else meanwhile. So
 * only the start of the server or a command of the operator may call this. It takes a third of the time of `findTorn`.
 */
export function tornRefs(repositories: Repositories, tool: ToolName): string[] {
  const folder = repositories.folder(tool);
  if (existsSync(join(folder, 'reftable'))) return [];
  const entries = existsSync(join(folder, 'refs'))
    ? readdirSync(join(folder, 'refs'), { recursive: true, withFileTypes: true })
    : [];
  const refs = entries
    .filter((entry) => entry.isFile() && !entry.name.endsWith('.lock'))
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
  const names = ['HEAD', ...refs, ...LINES.keys(), 'config'];
  return names.filter((name) => isTorn(name, textOf(join(folder, name)) ?? ''));
}

/**
 * Lists the ref and settings files of a repository that are empty, cut off or overwritten. Does not block the server.
 *
 * @param scope - `all` reads all such files, `branch` only the few that each push and each clone needs.
 */
export async function findTorn(
  repositories: Repositories,
  tool: ToolName,
  scope: 'branch' | 'all',
): Promise<string[]> {
  const folder = repositories.folder(tool);
  if (existsSync(join(folder, 'reftable'))) return [];
  const branches = [repositories.deployBranch, 'master'].map((branch) => `refs/heads/${branch}`);
  const refs = scope === 'all' ? await filesBelow(folder, 'refs') : branches;
  const names = ['HEAD', ...refs, ...LINES.keys(), 'config'];
  const torn = await mapWithLimit(names, FILES_AT_ONCE, (name) => isTornFile(folder, name));
  return names.filter((_, index) => torn[index]);
}

/**
 * For the path of each `packed-refs` and `shallow` file that was found undamaged: its inode, size and times. While
 * these stay the same, the file is not read again, because it can be large and is checked at each push and each clone.
 */
const undamaged = new Map<string, string>();

async function isTornFile(folder: string, name: string): Promise<boolean> {
  const path = join(folder, name);
  const is = LINES.has(name) ? await stat(path).catch(() => null) : null;
  const state = is === null ? '' : [is.ino, is.size, is.mtimeMs, is.ctimeMs].join(' ');
  if (state !== '' && undamaged.get(path) === state) return false;
  const text = await readRefFile(path);
  const torn = text !== null && isTorn(name, text);
  if (state !== '' && !torn) undamaged.set(path, state);
  return torn;
}

function isTorn(name: string, text: string): boolean {
  const whole = LINES.get(name);
  if (whole !== undefined) return text !== wholeLines(text, whole);
  return name === 'config' ? !isConfig(text) : !LOOSE.test(text);
}

/**
 * Moves the damaged files `torn` of a repository to the folder `set-aside`. Replaces a damaged HEAD or `config` by a
 * new file. Copies a damaged `packed-refs` or `shallow` to `set-aside` instead, and keeps its undamaged lines in the
 * repository. Nothing replaces the damaged file of a single ref.
 */
export async function setTornAside(
  repositories: Repositories,
  tool: ToolName,
  setAside: SetAside,
  torn: readonly string[] = tornRefs(repositories, tool),
): Promise<Damaged[]> {
  const folder = repositories.folder(tool);
  const found: Damaged[] = [];
  for (const name of torn) {
    const path = join(folder, name);
    const text = textOf(path) ?? '';
    const whole = LINES.get(name);
    const at = whole === undefined ? await setAside.move(path) : await setAside.copy(path);
    if (name === 'HEAD') await makeHead(folder, repositories.deployBranch);
    if (name === 'config') await replaceFile(path, CONFIG);
    if (whole !== undefined) await replaceFile(path, wholeLines(text, whole));
    found.push({ tool, file: name, at });
  }
  return found;
}

/**
 * True if every line is a valid line of a git configuration. A line that ends with a backslash continues in the next
 * line. git also accepts the line ends of Windows.
 */
function isConfig(text: string): boolean {
  const lines = text.replace(/\\\r?\n/g, '').split(/\r?\n/);
  const [first] = lines.filter((line) => !/^\s*([#;]|$)/.test(line));
  return (first?.trimStart().startsWith('[') ?? true) && lines.every((line) => CONFIG_LINE.test(line));
}

function wholeLines(text: string, whole: RegExp): string {
  const lines = text.split('\n').slice(0, -1);
  return lines
    .filter((line, index) => whole.test(line) && (!line.startsWith('^') || REF.test(lines[index - 1] ?? '')))
    .map((line) => `${line}\n`)
    .join('');
}

function textOf(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    return noneIfGone(error);
  }
}
