import { existsSync } from 'node:fs';
import { lchown, lstat, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { createFile } from '../auth/file/atomic-file.ts';
import { DirectoryFile } from '../auth/file/directory-yaml.ts';
import { SetAside } from '../core/disk/set-aside.ts';
import { syncFolder } from '../core/disk/sync-folder.ts';
import { DeployError } from '../core/errors.ts';
import { Backups, copyStore } from '../store/backups/backups.ts';
import { DataLock } from '../store/data-lock.ts';
import { explain } from '../store/database.ts';
import { readStoreFacts, type StoredTool } from '../store/store-facts.ts';
import { type DataConfig, namesIn, newestGoodDirectory, withNames } from './data-facts.ts';

/**
 * Restores the store from a backup, while no server runs. Sets the present store aside.
 *
 * @param file - The backup. Null means the newest good backup in the data folder.
 * @returns lines that report the changes to the operator.
 * @throws DeployError `DATA_IN_USE` if a server runs; `NO_BACKUP` if there is no good backup, or if `file` is no
 * backup.
 */
export async function restoreStore({ data }: DataConfig, file: string | null): Promise<string[]> {
  using _lock = new DataLock(data);
  const source = file ?? (await new Backups(data).newestGoodStore());
  if (source === null) throw noBackup('store', 'npx toolforge-push start-over store');
  const facts = readStoreFacts(source);
  if (facts.state !== 'whole') {
    throw new DeployError(
      'NO_BACKUP',
      `the file ${source} is not a complete store${facts.state === 'damaged' ? `: ${facts.why}` : ''}`,
      'Give another backup: npx toolforge-push restore store FILE',
    );
  }
  const plan = namesIn(data, facts);
  const named = withNames(facts, plan);
  const draft = join(data, 'store.sqlite.restored');
  await rm(draft, { force: true });
  try {
    await using made = await open(draft, 'w', 0o600);
    await copyStore(source, draft);
    await made.sync();
  } catch (error) {
    await rm(draft, { force: true });
    throw explain(error);
  }
  await belongsToServer(draft, data);
  const told = await setStoreAside(data);
  await rename(draft, join(data, 'store.sqlite'));
  await finish(data, join(data, 'store.sqlite'));
  return [
    ...told,
    `store.sqlite is now a copy of ${basename(source)}. The next start of the server reads newer releases from the folder releases.`,
    ...(plan?.names ?? []).map(
      ({ from, to }) =>
        `Since the backup, the tool ${from} was renamed to ${to}. The next start renames it in the store too.`,
    ),
    ...olderThanIsSafe(named.state === 'whole' ? named.tools : facts.tools),
  ];
}

/** Warns of changes that an older store undoes: revoked tokens, `stop`, `freeze` and removed config vars. */
function olderThanIsSafe(tools: readonly StoredTool[]): string[] {
  const withTokens = tools.filter(({ tokens }) => tokens > 0).map(({ name }) => name);
  return [
    ...(withTokens.length === 0
      ? []
      : [
          'Deploy tokens that were revoked since the backup are VALID AGAIN. When the server runs, list the tokens of each tool and revoke tokens that must not exist: npx toolforge-push token revoke TOOL ID',
          ...withTokens.map((name) => `    npx toolforge-push token list ${name}`),
        ]),
    'Tools that were stopped since the backup run again, and tools that were frozen since are no longer frozen. Tools without a live release have config vars again that were removed since the backup: npx toolforge-push config list TOOL',
  ];
}

/** Sets aside the store with its journals, which SQLite would apply to a new store. The caller holds the data lock. */
export async function setStoreAside(data: string): Promise<string[]> {
  const setAside = new SetAside(data);
  const told: string[] = [];
  for (const end of ['', '-wal', '-shm', '-journal']) {
    const at = await setAside.move(join(data, `store.sqlite${end}`));
    if (at !== null) told.push(`Set aside: ${at}`);
  }
  return told;
}

/**
 * Restores the user directory from a backup, also while a server runs. Sets the present file aside.
 *
 * @param file - The backup. Null means the newest good backup in the data folder.
 * @throws DeployError `NO_BACKUP` if there is no good backup; an error that says what is wrong in `file`.
 */
export async function restoreDirectory({ data }: DataConfig, file: string | null): Promise<string[]> {
  const source = file ?? (await newestGoodDirectory(data));
  if (source === null) throw noBackup('directory', 'npx toolforge-push start-over directory');
  const { users, tools } = await new DirectoryFile(source).list();
  const text = await readFile(source, 'utf8');
  const { told } = await replaceDirectory(data, (draft) => createFile(draft, text));
  return [
    ...told,
    `directory.yaml is now a copy of ${basename(source)}: users ${[...users.keys()].join(', ')}; ${tools.size} tools.`,
    'Users, keys and maintainers that were removed since the backup are back. Check them: npx toolforge-push user list, npx toolforge-push tool list',
  ];
}

/**
 * Replaces the user directory by a new file, and sets the present file aside. If the new file cannot be written, for
 * example because the disk is full, the present file stays.
 *
 * @param make - Writes the new file at the path `draft`.
 */
export async function replaceDirectory<Made>(
  data: string,
  make: (draft: string) => Promise<Made>,
): Promise<{ readonly made: Made; readonly told: string[] }> {
  const path = join(data, 'directory.yaml');
  const draft = `${path}.restored`;
  await rm(draft, { force: true });
  try {
    const made = await make(draft);
    const at = await new SetAside(data).move(path);
    await rename(draft, path);
    await finish(data, path);
    return { made, told: at === null ? [] : [`Set aside: ${at}`] };
  } finally {
    await rm(draft, { force: true });
  }
}

function noBackup(part: string, otherwise: string): DeployError {
  return new DeployError(
    'NO_BACKUP',
    `there is no good backup of the ${part} in the data folder`,
    `If you have a backup elsewhere: npx toolforge-push restore ${part} FILE. Otherwise: ${otherwise}`,
  );
}

/**
 * Saves the names of new files in the data folder to the disk, so that a power cut does not undo them. If root runs
 * this process, gives the files `made` and the files that were set aside to the server's account.
 */
export async function finish(data: string, ...made: readonly string[]): Promise<void> {
  await syncFolder(data);
  for (const path of [...made, join(data, 'set-aside')]) await belongsToServer(path, data);
}

/** If root runs this process, gives the files at or below `path` that root owns to the owner of `folder`. */
export async function belongsToServer(path: string, folder: string): Promise<void> {
  if (process.getuid?.() !== 0 || !existsSync(path)) return;
  const { uid, gid } = await stat(folder);
  if (uid === 0) return;
  const inside = (await lstat(path)).isDirectory() ? await readdir(path, { recursive: true }) : [];
  for (const one of [path, ...inside.map((name) => join(path, name))]) {
    if ((await lstat(one)).uid === 0) await lchown(one, uid, gid);
  }
}
