import { existsSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { DirectoryFile } from '../auth/file/directory-yaml.ts';
import type { Config } from '../config.ts';
import { syncFolderSync } from '../core/disk/sync-folder.ts';
import { writeDurably } from '../core/disk/write-durably.ts';
import { noneIfGone } from '../core/errors.ts';
import type { Log } from '../core/log/log.ts';
import { type ToolName, toolName } from '../core/names.ts';
import { readStoreFacts } from '../store/store-facts.ts';
import { namesIn, withNames } from './data-facts.ts';

/** A tool that gets another name. */
export interface Renaming {
  readonly from: ToolName;
  readonly to: ToolName;
}

/** Folders in the data folder that have one folder for each tool, which a renaming moves. */
const FOLDERS = ['artifacts', 'cache', 'deployments', 'logs'];

/**
 * The path of `renaming.json`, a file that exists while a tool is renamed. If a start of the server finds the file, the
 * store decides: the server finishes the renaming if the store has the new name, and forgets it otherwise.
 */
function journalOf(data: string): string {
  return join(data, 'renaming.json');
}

const journal = z.strictObject({ from: z.string(), to: z.string() });

/** Writes to the disk that a tool is being renamed. */
export function beginRenaming(data: string, { from, to }: Renaming): void {
  writeDurably(journalOf(data), JSON.stringify({ from, to }));
}

/** True if a tool is being renamed now, or if an interrupted renaming is not finished. */
export function isRenaming(data: string): boolean {
  return existsSync(journalOf(data));
}

/** Deletes the note of `beginRenaming`, because the renaming is finished, or because the store has not changed. */
export function endRenaming(data: string): void {
  rmSync(journalOf(data), { force: true });
  syncFolderSync(data);
}

/** Deletes the repository and the folders of a tool. Call this only if the store has nothing of the tool. */
export function clearFolders(data: string, tool: ToolName): void {
  for (const path of pathsOf(data, tool)) rmSync(path, { recursive: true, force: true });
}

/**
 * Moves the folders of a tool whose name the store has changed. Deletes the copies of its releases, which a start of
 * the server or `copyReleases` makes again. After an interruption, another call moves only the rest.
 */
export function moveFolders(data: string, { from, to }: Renaming): void {
  const targets = pathsOf(data, to);
  for (const [index, path] of pathsOf(data, from).entries()) {
    const target = targets[index] ?? '';
    if (!existsSync(path) || existsSync(target)) continue;
    renameSync(path, target);
    syncFolderSync(dirname(target));
  }
  rmSync(join(data, 'releases', from), { recursive: true, force: true });
}

function pathsOf(data: string, tool: ToolName): string[] {
  return [...FOLDERS.map((name) => join(data, name, tool)), join(data, 'repositories', `${tool}.git`)];
}

/** Gives the tool its new name in directory.yaml. Nothing changes if people and tools are kept in LDAP. */
export async function renameInDirectory(
  { data, directory }: Pick<Config, 'data' | 'directory'>,
  { from, to }: Renaming,
): Promise<void> {
  if (directory === 'file') await new DirectoryFile(join(data, 'directory.yaml')).renameTool(from, to);
}

/**
 * Finishes or forgets a renaming that a killed server has begun. Call this at a start, before the parts of the data
 * folder are compared, and before the store is opened.
 */
export async function finishRenaming(config: Pick<Config, 'data' | 'directory'>, log: Log): Promise<void> {
  const { data } = config;
  const renaming = readJournal(data);
  if (renaming === null) return;
  const stored = readStoreFacts(join(data, 'store.sqlite'));
  // After the server was killed, the operator may have restored a store that is older than the rename. Give the tools
  // of such a store their present names.
  const store = withNames(stored, namesIn(data, stored));
  const named = (tool: ToolName) =>
    store.state === 'whole' ? store.tools.find(({ name }) => name === tool) : undefined;
  const to = named(renaming.to);
  // The store may have both names after the renaming: if directory.yaml kept the old name, a push may have begun a new
  // tool of that name. Then the renaming is done if the tool `to` has had a release.
  const isDone = to !== undefined && (named(renaming.from) === undefined || to.lastVersion > 0);
  // If the store cannot be read, keep `renaming.json`, for a start of the server after the store was repaired.
  if (store.state !== 'whole') return;
  if (isDone) {
    moveFolders(data, renaming);
    await renameInDirectory(config, renaming);
    // A process that still ran under the old name may have made the tool's old folders again after they had moved. So
    // delete these folders.
    if (named(renaming.from) === undefined) clearFolders(data, renaming.from);
  }
  endRenaming(data);
  log.warn({ ...renaming, isDone }, 'a renaming that was interrupted has been settled');
}

function readJournal(data: string): Renaming | null {
  let text: string | null;
  try {
    text = readFileSync(journalOf(data), 'utf8');
  } catch (error) {
    text = noneIfGone(error);
  }
  if (text === null) return null;
  const read = journal.parse(JSON.parse(text));
  const [from, to] = [toolName(read.from), toolName(read.to)];
  if (from === null || to === null) throw new Error('renaming.json does not name tools.');
  return { from, to };
}
