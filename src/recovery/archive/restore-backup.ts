import { existsSync } from 'node:fs';
import { lstat, mkdir, readdir, readFile, realpath, rename } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { execa } from 'execa';
import { z } from 'zod';
import type { Config } from '../../config.ts';
import { openDataFolder } from '../../core/disk/data-folder.ts';
import { namesIn } from '../../core/disk/names-in.ts';
import { removeTree } from '../../core/disk/remove-tree.ts';
import { syncFolder } from '../../core/disk/sync-folder.ts';
import { writeDurably } from '../../core/disk/write-durably.ts';
import { DeployError } from '../../core/errors.ts';
import { resetSettings } from '../../git/repository-layout.ts';
import { DataLock } from '../../store/data-lock.ts';
import { secretsKeyId } from '../../store/secrets.ts';
import { readDataFacts } from '../data-facts.ts';
import { examine } from '../examine.ts';
import { storedTools } from '../expected-live.ts';
import { UNPACKED, UNPACKING } from '../half-restore.ts';
import { assertOwnFolder, KEYS, LEFT_OUT, type Manifest } from './back-up.ts';
import { assertSealed, badArchive } from './sealed-file.ts';

const PATH = { PATH: '/usr/bin:/bin' };

/** A data folder that has only these entries counts as empty. */
const EMPTY = new Set([
  ...['server.lock', 'server.lock-journal', 'compile-cache', 'lost+found'],
  ...[UNPACKING, UNPACKED],
]);

const manifestOf = z.strictObject({
  format: z.literal(1),
  madeAt: z.number(),
  runtime: z.enum(['local', 'kubernetes']),
}) satisfies z.ZodType<Manifest>;

/**
 * Restores a backup that `backUp` made into an empty data folder, and its keys into the keys folder. First reads the
 * whole backup and compares it with its seal. If the backup cannot be used, the data folder stays empty.
 *
 * If a restore was interrupted, another call finishes it: see `UNPACKING` and `UNPACKED`. Until then, the server does
 * not start.
 *
 * @returns lines for the operator.
 * @throws DeployError `BAD_ARCHIVE` if the backup is damaged or too new; `NO_FILE` if it cannot be read; `DATA_IN_USE`
 * if a server uses the data folder, `NOT_EMPTY` if the folder has files, `NOT_THE_OPERATOR` if it belongs to another
 * user; `OTHER_BACKUP` if the restore of another backup has not finished; `OTHER_KEYS` if the keys folder has another
 * secrets.key; `OTHER_RUNTIME` if the setting `runtime` differs; `NOT_RESTORED` if tar cannot unpack the backup.
 */
export async function restoreBackup(config: Config, given: string): Promise<string[]> {
  const { data, keys } = config;
  const file = resolve(given);
  await assertSealed(file, 'backup');
  const manifest = await readManifest(file);
  if (manifest.runtime !== config.runtime)
    throw new DeployError(
      'OTHER_RUNTIME',
      `the backup is of a server with runtime ${manifest.runtime}, and the settings here say ${config.runtime}`,
      `Nothing has changed. Set builder and runtime to ${manifest.runtime}.`,
    );
  if (existsSync(data)) await assertOwnFolder(data);
  // Take the lock for a moment. If a server runs, this throws `DATA_IN_USE`, which says more than `NOT_EMPTY`.
  if (existsSync(join(data, 'server.lock'))) new DataLock(data)[Symbol.dispose]();
  const unpacked = join(data, UNPACKED);
  const begun = join(unpacked, 'manifest.json');
  if (existsSync(begun)) {
    const { madeAt } = parseManifest(await readFile(begun, 'utf8'), begun);
    if (madeAt !== manifest.madeAt) throw otherBackup(data, madeAt);
  } else {
    const there = (await namesIn(data)).filter((name) => !EMPTY.has(name));
    if (there.length > 0) throw notEmpty(data);
  }
  await openDataFolder(data);
  using _lock = new DataLock(data);
  if (!existsSync(begun)) await unpackWhole(config, file);
  // The store is moved last. If it has been moved, everything else has been moved too.
  if (existsSync(join(unpacked, 'store.sqlite'))) {
    await assertKeysFit(join(unpacked, 'keys'), keys);
    await takeKeys(join(unpacked, 'keys'), keys);
    await moveUp(unpacked, data);
    await syncAll(data);
  }
  const tools = storedTools(await readDataFacts(config));
  // manifest.json is deleted last, because the restore counts as finished when this file is gone.
  await removeTree(join(unpacked, 'keys'));
  await removeTree(unpacked);
  await syncFolder(data);
  return [
    `Restored ${tools.length} ${tools.length === 1 ? 'tool' : 'tools'} from the backup of ${new Date(manifest.madeAt).toISOString()}. The keys are in ${keys}.`,
    'Before you start the server, make sure that the server of the backup no longer runs.',
    'Whatever changed since the backup is undone: deploy tokens that were revoked are VALID AGAIN, users and keys that were removed are back, tools that were stopped run again, and tools are frozen only if they were frozen then.',
    ...tools
      .filter(({ tokens }) => tokens > 0)
      .map(({ name }) => `    npx toolforge-push token list ${name}`),
  ];
}

/**
 * Unpacks and checks a backup. When this function returns, the folder `UNPACKED` has all its files, and they are on the
 * disk. If the backup cannot be used, leaves nothing behind.
 */
async function unpackWhole(config: Config, file: string): Promise<void> {
  const { data, keys } = config;
  const draft = join(data, UNPACKING);
  await removeTree(draft);
  try {
    await mkdir(draft, { mode: 0o700 });
    await unpack(file, draft);
    await assertPlain(draft, file);
    await resetRepositories(join(draft, 'repositories'));
    await assertWhole({ ...config, data: draft, keys: join(draft, 'keys') }, file);
    await assertKeysFit(join(draft, 'keys'), keys);
    await syncAll(data);
    // An interruption can leave an empty folder of this name, which `rename` replaces.
    await rename(draft, join(data, UNPACKED));
    await syncFolder(data);
  } finally {
    await removeTree(draft);
  }
}

async function syncAll(folder: string): Promise<void> {
  await execa('sync', ['--file-system', folder], { env: PATH, extendEnv: false });
}

async function readManifest(file: string): Promise<Manifest> {
  const { stdout } = await tar(
    '--extract',
    '--to-stdout',
    `--file=${file}`,
    '--occurrence=1',
    './manifest.json',
  );
  return parseManifest(stdout, file);
}

function parseManifest(text: string, file: string): Manifest {
  try {
    return manifestOf.parse(JSON.parse(text));
  } catch {
    throw badArchive(file, 'a later version of this server made it');
  }
}

async function unpack(file: string, draft: string): Promise<void> {
  // Resolve symbolic links, because bwrap cannot find a folder through an absolute symbolic link.
  const folder = await realpath(draft);
  const extract = ['--extract', `--file=${file}`, '-C', folder, '--preserve-permissions', '--numeric-owner'];
  const fence = await fenceAround(folder);
  const { exitCode, stderr } =
    fence === null ? await tar(...extract) : await run([...fence, 'tar', ...extract, '--absolute-names']);
  if (exitCode === 0) return;
  throw new DeployError(
    'NOT_RESTORED',
    `the backup cannot be unpacked: ${stderr.split('\n')[0]}`,
    'Nothing has changed. Look at the free space of the data folder (df -h, df -i).',
  );
}

/**
 * Words to put before `tar --extract --absolute-names`, so that it can write only into `folder`. Without
 * `--absolute-names`, tar makes the symbolic links that lead out of `folder` last, and compares each hard link with all
 * of them: a tool with 100,000 of both would keep a restore busy for hours. Null if bwrap does not work here.
 */
async function fenceAround(folder: string): Promise<string[] | null> {
  const rights = ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'MKNOD'];
  const fence = [
    ...['bwrap', '--ro-bind', '/', '/', '--bind', folder, folder, '--die-with-parent'],
    // Mount a new /proc. In the /proc of this machine, /proc/PID/root would lead root to folders outside of `folder`
    // that it can write to.
    ...['--unshare-pid', '--proc', '/proc', '--cap-drop', 'ALL'],
    ...rights.flatMap((right) => ['--cap-add', `CAP_${right}`]),
  ];
  const { exitCode } = await run([...fence, 'true']);
  return exitCode === 0 ? fence : null;
}

/**
 * Refuses an unpacked archive with entries that `backUp` never writes, such as devices. Call this before anything reads
 * the unpacked files.
 *
 * @throws DeployError `BAD_ARCHIVE` if there are any.
 */
async function assertPlain(draft: string, file: string): Promise<void> {
  const odd = ['(', '-type', 'b', '-o', '-type', 'c', '-o', '-type', 'f', '-perm', '/6000', ')'];
  // Ignore the exit status of find, because a tool may have made a folder unreadable.
  const options = { env: PATH, extendEnv: false, stdin: 'ignore', reject: false } as const;
  const { stdout } = await execa('find', [draft, ...odd, '-print', '-quit'], options);
  if (stdout !== '') throw notFromBackup(file);
  const repositories = join(draft, 'repositories');
  if (existsSync(repositories)) {
    const links = await execa('find', [repositories, '-type', 'l', '-print', '-quit'], options);
    if (links.stdout !== '') throw notFromBackup(file);
  }
  const names = await readdir(draft);
  if (!names.includes('store.sqlite')) throw badArchive(file, 'it has no store');
  if (names.some((name) => LEFT_OUT.test(name) && name !== 'store.sqlite')) throw notFromBackup(file);
  const keys = await namesIn(join(draft, 'keys'));
  if (!keys.every((name) => KEYS.test(name))) throw notFromBackup(file);
  for (const path of [...names, ...keys.map((name) => join('keys', name))])
    if ((await lstat(join(draft, path))).isSymbolicLink()) throw notFromBackup(file);
}

/**
 * Gives each repository the settings of a new one. An archive that somebody else made could have settings or hooks that
 * make git run programs, or the path of another repository whose objects git would read: see gitrepository-layout(5).
 */
async function resetRepositories(repositories: string): Promise<void> {
  for (const name of (await namesIn(repositories)).filter((name) => name.endsWith('.git'))) {
    const folder = join(repositories, name);
    const others = [
      'hooks',
      'config.worktree',
      'commondir',
      'worktrees',
      'modules',
      'objects/info/alternates',
    ];
    for (const other of others) await removeTree(join(folder, other));
    await resetSettings(folder);
  }
}

function notFromBackup(file: string): DeployError {
  return badArchive(file, 'it has files that no backup has, so somebody else may have made it');
}

async function tar(...words: string[]) {
  return await run(['tar', ...words]);
}

async function run([program = '', ...words]: readonly string[]) {
  const options = { env: PATH, extendEnv: false, stdin: 'ignore', reject: false } as const;
  return await execa(program, words, options);
}

/**
 * Checks that the parts of the restored data agree, as a start of the server does. @throws DeployError `BAD_ARCHIVE` if
 * a server would refuse to start.
 */
async function assertWhole(config: Config, file: string): Promise<void> {
  const [fault] = examine(await readDataFacts(config)).filter(({ kind }) => kind === 'refuses');
  if (fault !== undefined) throw badArchive(file, fault.what);
}

/** Checks the keys folder. @throws DeployError `OTHER_KEYS` if its secrets.key differs from the one in the backup. */
async function assertKeysFit(restored: string, keys: string): Promise<void> {
  const present = secretsKeyId(keys);
  if (!existsSync(join(keys, 'secrets.key')) || present === secretsKeyId(restored)) return;
  throw new DeployError(
    'OTHER_KEYS',
    `the keys folder ${keys} has a secrets.key of another server`,
    'Nothing has changed. Set TOOLFORGE_PUSH_KEYS to an empty folder, or move the files of this folder away.',
  );
}

/** Copies the keys of the backup into the keys folder. Keys that are there already stay. */
async function takeKeys(restored: string, keys: string): Promise<void> {
  await mkdir(keys, { recursive: true, mode: 0o700 });
  for (const name of await namesIn(restored)) {
    const path = join(keys, name);
    if (existsSync(path)) continue;
    // Give a key its name only when it is whole, because a restore may be interrupted at any time.
    writeDurably(path, await readFile(join(restored, name)));
  }
}

/**
 * Moves the unpacked files to their places. The store comes last: while it has not been moved, another restore knows
 * that files are left to move.
 */
async function moveUp(draft: string, data: string): Promise<void> {
  const names = (await readdir(draft)).filter((name) => name !== 'manifest.json' && name !== 'keys');
  const inOrder = [...names.filter((name) => name !== 'store.sqlite'), 'store.sqlite'];
  for (const name of inOrder) await rename(join(draft, name), join(data, name));
}

function otherBackup(data: string, madeAt: number): DeployError {
  return new DeployError(
    'OTHER_BACKUP',
    `the restore of the backup of ${new Date(madeAt).toISOString()} has not finished, and the file is another backup`,
    `Nothing has changed. Give the file of that backup, or move the data folder away: mv ${data} ${join(dirname(data), 'old-data')}`,
  );
}

function notEmpty(data: string): DeployError {
  return new DeployError(
    'NOT_EMPTY',
    `the data folder ${data} is not empty`,
    `Nothing has changed. Set TOOLFORGE_PUSH_DATA to an empty folder, or move this folder away: mv ${data} ${join(dirname(data), 'old-data')}`,
  );
}
