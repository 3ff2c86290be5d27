import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { DirectoryFile } from '../auth/file/directory-yaml.ts';
import type { Config } from '../config.ts';
import { noneIfGone } from '../core/errors.ts';
import type { Log } from '../core/log/log.ts';
import { type ToolName, toolName } from '../core/names.ts';
import { readStoreFacts } from '../store/store-facts.ts';
import { syncFolder } from '../store/sync-folder.ts';

/** A tool that gets another name. */
export interface Renaming {
  readonly from: ToolName;
  readonly to: ToolName;
}

/** The folders of the data folder with a folder of each tool. */
const FOLDERS = ['artifacts', 'cache', 'deployments', 'logs'];

/**
 * The file `renaming.json` in the data folder, which is there while a tool is renamed. The store decides: if it has the new
 * name, a start of the server finishes what is left, and otherwise nothing was done.
 */
function journalOf(data: string): string {
  return join(data, 'renaming.json');
}

const journal = z.strictObject({ from: z.string(), to: z.string() });

/** Notes durably that a tool is being renamed. */
export function beginRenaming(data: string, { from, to }: Renaming): void {
  const draft = `${journalOf(data)}.new`;
  const file = openSync(draft, 'w', 0o600);
  try {
    writeFileSync(file, JSON.stringify({ from, to }));
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(draft, journalOf(data));
  syncFolder(data);
}

/** True while a renaming is noted. */
export function isRenaming(data: string): boolean {
  return existsSync(journalOf(data));
}

/** Forgets the renaming, because it is finished, or because the store has not changed. */
export function endRenaming(data: string): void {
  rmSync(journalOf(data), { force: true });
  syncFolder(data);
}

/** Deletes what there may be of a tool that the store has nothing of: an empty repository, or empty folders. */
export function clearFolders(data: string, tool: ToolName): void {
  for (const path of pathsOf(data, tool)) rmSync(path, { recursive: true, force: true });
}

/**
 * Moves the folders of a tool whose name the store has changed. Deletes the copies of its releases, which a start of the
 * server or `copyReleases` makes again. Does what an interrupted call has left undone, and nothing that is done.
 */
export function moveFolders(data: string, { from, to }: Renaming): void {
  const targets = pathsOf(data, to);
  for (const [index, path] of pathsOf(data, from).entries()) {
    const target = targets[index] ?? '';
    if (!existsSync(path) || existsSync(target)) continue;
    renameSync(path, target);
    syncFolder(dirname(target));
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
 * Finishes or forgets a renaming that a killed server has begun. Call this at a start, before the parts of the data folder
 * are compared, and before the store is opened.
 */
export async function finishRenaming(config: Pick<Config, 'data' | 'directory'>, log: Log): Promise<void> {
  const { data } = config;
  const renaming = readJournal(data);
  if (renaming === null) return;
  const store = readStoreFacts(join(data, 'store.sqlite'));
  const named = (tool: ToolName) =>
    store.state === 'whole' ? store.tools.find(({ name }) => name === tool) : undefined;
  const to = named(renaming.to);
  // A push to the old name may have begun a new tool of this name, if directory.yaml could not be changed.
  const isDone = to !== undefined && (named(renaming.from) === undefined || to.lastVersion > 0);
  // If the store cannot be read, the journal stays for the start after its repair.
  if (store.state !== 'whole') return;
  if (isDone) {
    moveFolders(data, renaming);
    await renameInDirectory(config, renaming);
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
