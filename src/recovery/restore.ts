import { existsSync } from 'node:fs';
import { lchown, lstat, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { DirectoryFile } from '../auth/directory-file.ts';
import { createFile } from '../auth/edit-file.ts';
import { DeployError } from '../core/errors.ts';
import { SetAside } from '../core/set-aside.ts';
import { Backups, copyStore } from '../store/backups.ts';
import { DataLock } from '../store/data-lock.ts';
import { explain } from '../store/database.ts';
import { readStoreFacts, type StoredTool } from '../store/store-facts.ts';
import type { DataConfig } from './data-facts.ts';

/**
 * Brings back the store from a backup, while no server runs. What is there now is set aside.
 *
 * @param file - null = the newest good one of the data folder.
 * @returns what was done, as lines for the operator.
 * @throws DeployError `DATA_IN_USE`, `NO_BACKUP`
 */
export async function restoreStore({ data }: DataConfig, file: string | null): Promise<string[]> {
  using _lock = new DataLock(data);
  const source = file ?? (await new Backups(data).newestGoodStore());
  if (source === null) throw noBackup('store', 'npx toolforge-push start-over store');
  const facts = readStoreFacts(source);
  if (facts.state !== 'whole') {
    throw new DeployError(
      'NO_BACKUP',
      `${source} is not a whole store${facts.state === 'damaged' ? `: ${facts.why}` : ''}.`,
      'Name another file: npx toolforge-push restore store FILE',
    );
  }
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
    `store.sqlite is now what ${basename(source)} was. Releases that are newer are read back at the next start.`,
    ...olderThanIsSafe(facts.tools),
  ];
}

/** What comes back with an older store although somebody had taken it away. */
function olderThanIsSafe(tools: readonly StoredTool[]): string[] {
  const withTokens = tools.filter(({ tokens }) => tokens > 0).map(({ name }) => name);
  return [
    ...(withTokens.length === 0
      ? []
      : [
          'Deploy tokens that were revoked since then are VALID AGAIN. Once the server runs, look at those of each tool, and revoke what must not be: npx toolforge-push token revoke TOOL ID',
          ...withTokens.map((name) => `    npx toolforge-push token list ${name}`),
        ]),
    'Tools that were stopped since then run again. Config vars that were removed since then are back for tools that have nothing live: npx toolforge-push config list TOOL',
  ];
}

/** Moves the store away, with its logs: SQLite would apply those to the store that comes next. The caller holds the lock of the data folder. */
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
 * Brings back the user directory from a backup, whether a server runs or not. What is there now is set aside.
 *
 * @param file - null = the newest one of the data folder.
 * @throws DeployError `NO_BACKUP`, and what is wrong with the file.
 */
export async function restoreDirectory({ data }: DataConfig, file: string | null): Promise<string[]> {
  const source = file ?? (await new Backups(data).list('directory'))[0] ?? null;
  if (source === null) throw noBackup('directory', 'npx toolforge-push start-over directory');
  const { users, tools } = await new DirectoryFile(source).list();
  const path = join(data, 'directory.yaml');
  const text = await readFile(source, 'utf8');
  const at = await new SetAside(data).move(path);
  await createFile(path, text);
  await finish(data, path);
  return [
    ...(at === null ? [] : [`Set aside: ${at}`]),
    `directory.yaml is now what ${basename(source)} was: users ${[...users.keys()].join(', ')}; ${tools.size} tools.`,
    'Users, keys and maintainers that were removed since then are back. Look at them: npx toolforge-push user list, npx toolforge-push tool list',
  ];
}

function noBackup(what: string, otherwise: string): DeployError {
  return new DeployError(
    'NO_BACKUP',
    `There is no good backup of the ${what} in the data folder.`,
    `If you have one elsewhere: npx toolforge-push restore ${what} FILE. Else: ${otherwise}`,
  );
}

/** Makes the change durable. What root made belongs to the account that the server runs under. */
export async function finish(data: string, ...made: readonly string[]): Promise<void> {
  {
    await using folder = await open(data, 'r');
    await folder.sync();
  }
  for (const path of [...made, join(data, 'set-aside')]) await belongsToServer(path, data);
}

/** What root made beside others, a file or a folder with all in it, belongs to whom their folder belongs to. */
export async function belongsToServer(path: string, folder: string): Promise<void> {
  if (process.getuid?.() !== 0 || !existsSync(path)) return;
  const { uid, gid } = await stat(folder);
  if (uid === 0) return;
  const inside = (await lstat(path)).isDirectory() ? await readdir(path, { recursive: true }) : [];
  for (const one of [path, ...inside.map((name) => join(path, name))]) {
    if ((await lstat(one)).uid === 0) await lchown(one, uid, gid);
  }
}
