import { createWriteStream, existsSync } from 'node:fs';
import {
  copyFile,
  mkdir,
  mkdtemp,
  open,
  readdir,
  realpath,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { dirname, isAbsolute, join, relative } from 'node:path';
import type { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { execa } from 'execa';
import type { Config } from '../../config.ts';
import { isAbsent, namesIn } from '../../core/disk/names-in.ts';
import { timeStamp } from '../../core/disk/set-aside.ts';
import { syncFolder } from '../../core/disk/sync-folder.ts';
import { DeployError } from '../../core/errors.ts';
import { mebibytes } from '../../core/text/mebibytes.ts';
import { RELEASES, versionOf } from '../../deploy/reconciliation/read-back-releases.ts';
import { readRefs, refNames } from '../../git/refs/ref-files.ts';
import { tornRefs } from '../../git/refs/torn-refs.ts';
import { subordinateUsers } from '../../sandbox/subordinate-users.ts';
import { accountName } from '../../settings/account.ts';
import { artifactsIn } from '../../store/backups/artifacts-in-store.ts';
import { copyStore } from '../../store/backups/backups.ts';
import { ReleaseCopies } from '../../store/backups/release-copies.ts';
import { DataLock } from '../../store/data-lock.ts';
import { readStoreFacts, type StoredTool, type StoreFacts } from '../../store/store-facts.ts';
import { repositoriesOf } from '../data-facts.ts';
import { hostileArtifacts, TAR_BYTES } from './hostile-artifacts.ts';
import { Sealing } from './sealed-file.ts';

/**
 * Names in the data folder that tar leaves out. The backup gets a copy of the store from `stageStore`, and a restored
 * server needs none of the other files and folders.
 */
export const LEFT_OUT =
  /^(store\.sqlite.*|server\.lock.*|run|cache|compile-cache|backups|set-aside|tool-users|sandbox|buildpacks|pythons|transfers|lost\+found|restoring|restored)$/;
/** The backup takes these folders from its scratch folder (`fillStage`), not from the data folder. */
const STAGED = ['releases', 'keys'];
/** Of these folders, the backup takes only what was there when the store was copied (`Members`). */
const LISTED = ['artifacts', 'repositories'];
export const KEYS = /^(secrets\.key|ssh_host_\w+_key)$/;

/** The file `manifest.json` of a backup. */
export interface Manifest {
  readonly format: 1;
  readonly madeAt: number;
  readonly runtime: Config['runtime'];
}

const PATH = { PATH: '/usr/bin:/bin' };

export interface BackUpOptions {
  readonly config: Config;
  /** The value of the environment variable PATH for git. */
  readonly path: string;
  /** Where the backup goes: a new file, a folder in which a new file is made, or `-` for the stream `out`. */
  readonly target: string;
  readonly out: Writable;
  /**
   * Keeps the running server from deleting and merging files until the returned function is called. That function
   * throws if the server has ended or has begun to delete and merge files again before the call. Null if no server
   * runs.
   */
  readonly holdCleanUp: () => Promise<(() => Promise<void>) | null>;
  /** When the signal fires, the backup ends and throws the signal's reason. */
  readonly signal: AbortSignal;
}

/**
 * Writes the keys, and all that a restore needs of the data folder, into one sealed archive, also while a server runs.
 *
 * Copies the store first, and leaves out refs and copies of releases that went live after that. Copies git objects and
 * artifacts last: meanwhile, the server adds objects and artifacts but deletes none, so those of the releases in the
 * copied store are still there. A restored data folder is therefore like one after a crash, which the start of a server
 * repairs.
 *
 * @returns lines for the operator. @throws DeployError that says why no backup was made, such as `NO_DATA`,
 * `FILE_EXISTS` or `HALF_RENAMED`.
 */
export async function backUp(options: BackUpOptions): Promise<string[]> {
  const { config, target, signal } = options;
  await assertOwnFolder(config.data);
  const file = target === '-' ? null : await fileFor(target, config.data, 'toolforge-push');
  const release = await options.holdCleanUp();
  // If no server runs, the lock keeps a server from starting before the backup ends.
  using _lock = release === null ? new DataLock(config.data) : null;
  if (release === null) assertNotRenaming(config.data);
  const stage = await makeStage(join(config.data, 'run'));
  const draft = file === null ? null : `${file}.new`;
  try {
    const { tools, excludes, members, notes } = await fillStage(options, stage);
    signal.throwIfAborted();
    const to =
      draft === null ? options.out : createWriteStream(draft, { mode: 0o600, flags: 'wx', flush: true });
    const beforeSeal = async () => release?.();
    const bytes = await writeTar(config, { stage, excludes, members, to, beforeSeal, signal });
    if (draft === null || file === null) return notes;
    await rename(draft, file);
    await syncFolder(dirname(file));
    const images =
      config.runtime === 'kubernetes'
        ? ['It has no images. They are in the registry, which needs a backup of its own.']
        : [];
    return [
      `Backed up ${tools} ${tools === 1 ? 'tool' : 'tools'} to ${file} (${mebibytes(bytes)}).`,
      'With it, anybody can read all config vars in the store, because it contains the keys of this server. Keep it where only you can read it. It does not contain the settings.',
      ...images,
      ...notes,
      'Whoever can change the file controls the server that is restored from it.',
      `To restore it, on this machine or another: npx toolforge-push restore ${file}`,
    ];
  } catch (error) {
    // If the signal has fired, throw its reason: Ctrl-C also ends tar, so `error` may only say that tar has ended.
    signal.throwIfAborted();
    throw error;
  } finally {
    await release?.().catch(() => undefined);
    await rm(stage, { recursive: true, force: true });
    if (draft !== null) await rm(draft, { force: true });
  }
}

/**
 * Checks that this process may write into the data folder as the server does.
 *
 * @throws DeployError `NOT_THE_OPERATOR` if the folder belongs to another user, because new files in it would get the
 * wrong owner; `NO_DATA` if there is no folder.
 */
export async function assertOwnFolder(data: string): Promise<void> {
  const { uid } = await stat(data).catch((cause: unknown) => {
    if (!isAbsent(cause)) throw cause;
    throw new DeployError(
      'NO_DATA',
      `there is no data folder ${data}`,
      'Set TOOLFORGE_PUSH_DATA to the data folder of the server.',
      { cause },
    );
  });
  if (uid === process.getuid?.()) return;
  throw new DeployError(
    'NOT_THE_OPERATOR',
    `the data folder ${data} belongs to another user`,
    'Run the command as the user of the server (sudo -u).',
  );
}

/**
 * Refuses a backup if the renaming of a tool was interrupted, because the parts of the data folder then disagree.
 *
 * @throws DeployError `HALF_RENAMED`
 */
function assertNotRenaming(data: string): void {
  if (!existsSync(join(data, 'renaming.json'))) return;
  throw new DeployError(
    'HALF_RENAMED',
    'the renaming of a tool was interrupted',
    'Start the server, which finishes the renaming. Then make the backup.',
  );
}

/**
 * Returns the path for a new file: `target`, or, if `target` is a folder, a file in this folder with the time in its
 * name.
 *
 * @param name - The beginning of the file's name, before the time.
 * @throws DeployError `FILE_EXISTS` if the file exists; `NO_FOLDER` if its folder does not; `FILE_IN_DATA` if the file
 * would be in the data folder outside `backups`.
 */
export async function fileFor(target: string, data: string, name: string): Promise<string> {
  const isFolder = (await stat(target).catch(() => null))?.isDirectory() === true;
  const file = isFolder ? join(target, `${name}-${timeStamp(Date.now())}.tar`) : target;
  const folder = await realpath(dirname(file)).catch((cause: unknown) => {
    if (!isAbsent(cause)) throw cause;
    throw new DeployError('NO_FOLDER', `there is no folder ${dirname(file)}`, 'Make it first.', { cause });
  });
  const place = inside(await realpath(data), folder);
  if (place !== null && place.split('/')[0] !== 'backups')
    throw new DeployError(
      'FILE_IN_DATA',
      `the file ${file} would be in the data folder, and perhaps in the next backup`,
      `Name a file outside ${data}, or in ${join(data, 'backups')}.`,
    );
  const [taken] = [file, `${file}.new`].filter((one) => existsSync(one));
  if (taken !== undefined)
    throw new DeployError(
      'FILE_EXISTS',
      `the file ${taken} exists already`,
      taken === file
        ? 'Name another file, or a folder.'
        : 'Another backup or export is writing this file, or was killed. If none runs, delete the file, because it may contain keys.',
    );
  return file;
}

/** The path of `path` relative to `folder`, or null if it is not in that folder. */
function inside(folder: string, path: string): string | null {
  const way = relative(folder, path);
  return way === '..' || way.startsWith('../') || isAbsolute(way) ? null : way;
}

/**
 * Makes a scratch folder that only this user can read. Removes the scratch folders of killed backups, because they
 * contain keys.
 */
async function makeStage(run: string): Promise<string> {
  await mkdir(run, { recursive: true, mode: 0o700 });
  for (const name of await readdir(run)) {
    const pid = /^backup-(\d+)-/.exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`))
      await rm(join(run, name), { recursive: true, force: true });
  }
  return await mkdtemp(join(run, `backup-${process.pid}-`));
}

/**
 * The artifacts and repositories that the backup takes: those that were there when the store was copied. While tar
 * reads, a build or a first push may add others, which `fillStage` has not checked and which the copied store lacks.
 */
interface Members {
  /** Folders that the archive gets without their content. */
  readonly folders: string[];
  /** Folders that the archive gets with all their content. */
  readonly trees: string[];
}

/** Writes into the folder `stage` the parts that must fit together: the store, keys, refs, and copies of releases. */
async function fillStage({ config, path, signal }: BackUpOptions, stage: string) {
  const { data, keys } = config;
  const store = join(stage, 'store.sqlite');
  const facts = await stageStore(data, store);
  const manifest: Manifest = { format: 1, madeAt: Date.now(), runtime: config.runtime };
  await writeFile(join(stage, 'manifest.json'), `${JSON.stringify(manifest)}\n`);
  await mkdir(join(stage, 'keys'), { mode: 0o700 });
  for (const name of (await namesIn(keys)).filter((one) => KEYS.test(one)))
    await copyFile(join(keys, name), join(stage, 'keys', name));
  await stageCopies(facts.tools, data, stage);
  const repositories = repositoriesOf(config, path);
  const stored = new Map(facts.tools.map((tool) => [tool.name, tool]));
  const excludes = [
    'repositories/*.lock',
    'repositories/*/objects/tmp_*',
    'repositories/*/objects/pack/tmp_*',
  ];
  const members: Members = { folders: [], trees: [] };
  const notes: string[] = [];
  for (const tool of await repositories.tools()) {
    members.trees.push(`repositories/${tool}.git`);
    if (tornRefs(repositories, tool).length > 0) {
      notes.push(
        `The repository of ${tool} has damaged files, which the backup has too: npx toolforge-push doctor`,
      );
      continue;
    }
    const commits = await readRefs(repositories, tool, await refNames(repositories, tool, ['refs']));
    const folder = join(stage, 'repositories', `${tool}.git`);
    for (const name of ['refs/heads', 'refs/tags']) await mkdir(join(folder, name), { recursive: true });
    await writeFile(join(folder, 'packed-refs'), packedRefs(commits, stored.get(tool) ?? null));
    excludes.push(`repositories/${tool}.git/refs`, `repositories/${tool}.git/packed-refs`);
  }
  const known = artifactsIn(store);
  const artifacts: string[] = [];
  for (const tool of await namesIn(join(data, 'artifacts'))) {
    members.folders.push(`artifacts/${tool}`);
    for (const id of await namesIn(join(data, 'artifacts', tool))) {
      const artifact = `artifacts/${tool}/${id}`;
      if (known.get(tool as StoredTool['name'])?.has(id) === true) artifacts.push(artifact);
    }
  }
  members.trees.push(...artifacts);
  const wrapper = await namespaceOfTools(config);
  for (const artifact of await hostileArtifacts(data, artifacts, wrapper, signal)) {
    const tool = artifact.split('/')[1];
    // Exclude the files of the artifact by one pattern and not by their names, which may contain line breaks. The
    // empty folder stays, so that the restored server knows that only this artifact is lost.
    excludes.push(`${artifact}/*`);
    notes.push(
      `A build of ${tool} is left out, because it has too deep folders, too long paths, too many hard links, devices, or folders that cannot be read (${artifact}). After a restore: npx toolforge-push redeploy ${tool}`,
    );
  }
  // If the keys folder is in the data folder, tar leaves it out, because `stage` has a copy of the keys.
  const keysInside = inside(data, keys);
  if (keysInside !== null) excludes.push(keysInside);
  return { tools: facts.tools.length, excludes, members, notes };
}

async function stageStore(data: string, to: string): Promise<StoreFacts & { state: 'whole' }> {
  if (!existsSync(join(data, 'store.sqlite')))
    throw new DeployError(
      'NO_DATA',
      `the data folder ${data} has no store`,
      'If the store is lost: npx toolforge-push doctor',
    );
  {
    await using _made = await open(to, 'wx', 0o600);
  }
  await copyStore(join(data, 'store.sqlite'), to);
  const facts = readStoreFacts(to);
  if (facts.state === 'whole') return facts;
  throw new DeployError(
    'NO_DATA',
    'the store cannot be backed up, because it is damaged or empty, or a newer version of the server wrote it',
    'Run: npx toolforge-push doctor',
  );
}

async function stageCopies(tools: readonly StoredTool[], data: string, stage: string): Promise<void> {
  const [from, to] = [new ReleaseCopies(data), new ReleaseCopies(stage)];
  await mkdir(join(stage, 'releases'), { mode: 0o700 });
  for (const { name, wereLive } of tools) {
    await mkdir(dirname(to.path(name, 1)), { mode: 0o700 });
    for (const version of from.versions(name).filter((one) => wereLive.has(one)))
      await copyFile(from.path(name, version), to.path(name, version)).catch((error: unknown) => {
        if (!isAbsent(error)) throw error;
      });
  }
}

/**
 * Returns the text of `packed-refs` that fits the store. Leaves out the refs of releases that, according to the store,
 * neither are nor were live. Each branch gets the live commit, or is left out if nothing is live. (At its start, a
 * server moves the branches of previews to what is live on them.) If the store lacks the tool or its live release, the
 * branches keep their commits.
 *
 * @param commits - The commit of each ref. The keys are the names of the refs.
 */
function packedRefs(commits: ReadonlyMap<string, string>, tool: StoredTool | null): string {
  const lines = [...commits].flatMap(([ref, commit]) => {
    if (ref.startsWith(`${RELEASES}/`))
      return tool?.wereLive.has(versionOf(ref)) === true ? [`${commit} ${ref}`] : [];
    if (!ref.startsWith('refs/heads/') || tool === null || tool.missingLive !== null)
      return [`${commit} ${ref}`];
    return tool.live === null ? [] : [`${tool.live.commit} ${ref}`];
  });
  // git wants the lines sorted by the names of the refs.
  const name = (line: string) => line.slice(line.indexOf(' ') + 1);
  lines.sort((a, b) => (name(a) < name(b) ? -1 : 1));
  return ['# pack-refs with: sorted ', ...lines, ''].join('\n');
}

interface TarOptions {
  readonly stage: string;
  readonly excludes: readonly string[];
  readonly members: Members;
  readonly to: Writable;
  readonly beforeSeal: () => Promise<void>;
  readonly signal: AbortSignal;
}

/**
 * Writes the archive, and behind it the seal: one block with the size and the checksum of the archive. @returns the
 * size of the archive in bytes, without the seal.
 */
async function writeTar(config: Config, options: TarOptions): Promise<number> {
  const { stage, excludes, members, to, beforeSeal, signal } = options;
  const { data } = config;
  const list = join(stage, 'excludes');
  // tar applies the patterns in `excludes` to all files. The names of the files in `stage` begin with `./`, so that no
  // pattern matches them.
  const staged = (await readdir(stage)).sort().map((name) => `./${name}`);
  await writeFile(list, excludes.map((line) => `${line}\n`).join(''));
  const trees = join(stage, 'trees');
  await writeFile(trees, members.trees.map((line) => `${line}\n`).join(''));
  const names = (await readdir(data)).filter((name) => !LEFT_OUT.test(name) && !STAGED.includes(name));
  const listed = names.filter((name) => LISTED.includes(name));
  const wrapper = await namespaceOfTools(config);
  const owner = process.getuid?.() === 0 || wrapper.length > 0 ? [] : ['--owner=0', '--group=0'];
  const [program = 'prlimit', ...words] = [...wrapper, 'prlimit', `--as=${TAR_BYTES}`, '--', 'tar'];
  const tar = execa(
    program,
    [
      ...words,
      // The restored server needs no set-user-ID bits, and `restore` refuses files that have them.
      ...['--create', '--file=-', '--sparse', '--mode=ug-s', '--numeric-owner', ...owner],
      ...['--anchored', `--exclude-from=${list}`],
      ...['-C', stage, ...staged],
      ...['-C', data, ...names.filter((name) => !LISTED.includes(name)).sort()],
      ...['--no-recursion', ...listed, ...members.folders],
      ...['--recursion', '--verbatim-files-from', `--files-from=${trees}`],
    ],
    { env: PATH, extendEnv: false, stdin: 'ignore', buffer: { stdout: false }, reject: false },
  );
  const sealing = new Sealing('backup', async () => {
    const { exitCode, stderr } = await tar;
    // GNU tar exits with 1 if a file changed or vanished while tar read it, for example a log, or the files of a push
    // that git is receiving. This is no error.
    if (exitCode !== 0 && exitCode !== 1) throw new Error(`tar failed: ${stderr}`);
    await beforeSeal();
  });
  try {
    // If `to` is standard output, it must stay open.
    await pipeline(tar.stdout, sealing, to, { end: to !== process.stdout, signal });
    return sealing.bytes;
  } finally {
    tar.kill();
    await tar;
  }
}

/**
 * Words to put before a command, so that it can read files of tools that belong to subordinate ids.
 *
 * @throws DeployError `TOOL_USERS_LOST` if the server's account has no subordinate ids for tools any more.
 */
async function namespaceOfTools(config: Config): Promise<readonly string[]> {
  if (process.getuid?.() === 0 || !existsSync(join(config.data, 'tool-users'))) return [];
  const users = await subordinateUsers(accountName(), config.sandbox_uid, config.data);
  if (typeof users !== 'string') return users.wrapper;
  throw new DeployError(
    'TOOL_USERS_LOST',
    `the files of tools cannot be read, because ${users}`,
    'Run: npx toolforge-push doctor',
  );
}
