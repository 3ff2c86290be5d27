import { existsSync } from 'node:fs';
import { mkdir, open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { SetAside, timeStamp } from '../core/disk/set-aside.ts';
import { DeployError } from '../core/errors.ts';
import { createLog } from '../core/log/log.ts';
import type { ToolName } from '../core/names.ts';
import { mendRepositories, RELEASES, readBackReleases } from '../deploy/reconciliation/read-back-releases.ts';
import { firstStart } from '../first-start.ts';
import { readDeployBranch } from '../git/refs/deploy-branch.ts';
import { readRefs } from '../git/refs/ref-files.ts';
import { updateRefs } from '../git/refs/ref-transaction.ts';
import type { Repositories } from '../git/repositories.ts';
import { accountName, homeFolder } from '../settings/account.ts';
import { copyStore } from '../store/backups/backups.ts';
import { DataLock } from '../store/data-lock.ts';
import { forgetConfigVars } from '../store/forget-config-vars.ts';
import { notesPath } from '../store/renames/rename-notes.ts';
import { loadOrMakeSecretsKey, secretsKeyId } from '../store/secrets.ts';
import { SqliteStore } from '../store/sqlite-store.ts';
import { readStoreFacts } from '../store/store-facts.ts';
import { artifactFolder, type DataConfig, followNames, readDataFacts, repositoriesOf } from './data-facts.ts';
import { assertStartable, nameFindings } from './examine.ts';
import { behind, expectedLive, storedTools, toolsIn } from './expected-live.ts';
import { belongsToServer, finish, replaceDirectory, setStoreAside } from './restore.ts';

/**
 * The parts of a data folder that `start-over PART` can replace. Each function replaces its part, and returns lines for
 * the operator.
 */
export const startOvers = {
  store: startOverStore,
  directory: startOverDirectory,
  repositories: startOverRepositories,
  artifacts: startOverArtifacts,
  releases: startOverReleases,
  'config-vars': startOverConfigVars,
} as const satisfies Record<string, (config: DataConfig, path: string) => Promise<string[]>>;

async function startOverStore(config: DataConfig, path: string): Promise<string[]> {
  const { data, keys } = config;
  if (secretsKeyId(keys) === null) {
    throw new DeployError(
      'STORE_KEY',
      'the key of the config vars, secrets.key, is missing or is not a key',
      'First restore secrets.key from the backup of the keys folder. If there is no backup: npx toolforge-push start-over config-vars',
    );
  }
  let told: string[];
  {
    using _lock = new DataLock(data);
    told = await setStoreAside(data);
  }
  const store = new SqliteStore(data, loadOrMakeSecretsKey(keys));
  try {
    store.beginAnew();
    const repositories = repositoriesOf(config, path);
    await readBackReleases({ store, repositories, log: createLog('silent') });
    const tools = store
      .tools()
      .map(({ name, liveVersion }) => `${name} v${liveVersion}`)
      .join(', ');
    await finish(data, join(data, 'store.sqlite'), join(data, 'releases'));
    return [
      ...told,
      `store.sqlite is new. Releases read from their copies: ${tools === '' ? 'none' : tools}.`,
    ];
  } finally {
    store.close();
  }
}

async function startOverDirectory(config: DataConfig): Promise<string[]> {
  const { store } = await readDataFacts(config);
  const { made, told } = await replaceDirectory(config.data, (draft) =>
    firstStart({ directoryPath: draft, userName: accountName(), homeFolder: homeFolder() }),
  );
  if (made === null) throw new Error('Another process made the directory first.');
  const tools = store.state === 'whole' ? store.tools : [];
  return [
    ...told,
    `directory.yaml now has the user ${made.uid}, with ${made.keys} public keys and the password ${made.password} (shown this once).`,
    'Add all other users with: npx toolforge-push user add NAME. Then add each tool with its maintainers:',
    ...tools.map(({ name }) => `    npx toolforge-push tool add ${name} --maintainer USER`),
  ];
}

async function startOverRepositories(config: DataConfig, path: string): Promise<string[]> {
  const repositories = repositoriesOf(config, path);
  const made: ToolName[] = [];
  for (const { name } of expectedLive(await readDataFacts(config))) {
    if (repositories.exists(name)) continue;
    await repositories.ensure(name);
    made.push(name);
  }
  const folders = made.map((name) => repositories.folder(name));
  await finish(config.data, join(config.data, 'repositories'), ...folders);
  return [
    `Made empty repositories for ${made.join(', ')}. The maintainers of these tools must push their history again.`,
  ];
}

async function startOverArtifacts(config: DataConfig): Promise<string[]> {
  const told: string[] = [];
  for (const { name, artifact } of expectedLive(await readDataFacts(config))) {
    const folder = artifactFolder(config, name, artifact.id);
    if (artifact.kind !== 'slug' || existsSync(folder)) continue;
    // Make an empty folder, which tells the server that this artifact is lost. If the folders of all live artifacts
    // were missing, the server would refuse to start.
    await mkdir(folder, { recursive: true, mode: 0o711 });
    await finish(config.data, join(config.data, 'artifacts'), join(config.data, 'artifacts', name), folder);
    told.push(`    npx toolforge-push redeploy ${name}`);
  }
  return ['Start the server now. Then build each tool again:', ...told];
}

async function startOverReleases(config: DataConfig, path: string): Promise<string[]> {
  const facts = await readDataFacts(config);
  const key = loadOrMakeSecretsKey(config.keys);
  assertStartable(nameFindings(facts));
  {
    using _lock = new DataLock(config.data);
    followNames(facts, key);
  }
  const repositories = repositoriesOf(config, path);
  const stamp = `refs/set-aside/${timeStamp(Date.now())}`;
  const setAside = new SetAside(config.data);
  const store = new SqliteStore(config.data, key);
  const told: string[] = [];
  try {
    const context = { store, repositories, log: createLog('silent') };
    for (const { at } of await mendRepositories(context, setAside)) told.push(`Set aside: ${at}`);
    for (const tool of toolsIn(facts)) {
      const lacking = behind(facts, tool);
      const newest = lacking.at(-1) ?? 0;
      const stored = storedTools(facts).find(({ name }) => name === tool);
      if (newest <= (stored?.live?.version ?? 0) || facts.copies.read(tool, newest) !== null) continue;
      store.tool(tool);
      store.skipVersions(tool, newest);
      const live = store.settleLive(tool);
      told.push(`The tool ${tool} continues with ${live === null ? 'no live release' : `v${live}`}.`);
      const lost = lacking.filter((version) => version > (live ?? 0));
      const refs = lost.map((version) => `${RELEASES}/v${version}`);
      const branch = await readDeployBranch(repositories, tool);
      const moved = live === null && branch.commit !== null ? [...refs, branch.ref] : refs;
      for (const name of await keepRefs(repositories, tool, moved, stamp))
        told.push(`${tool}: ${name} is now under ${stamp}.`);
      for (const version of lost) {
        const at = await setAside.move(facts.copies.path(tool, version));
        if (at !== null) told.push(`Set aside: ${at}`);
      }
    }
    const changed = facts.repositories.map(({ tool }) => repositories.folder(tool));
    await finish(config.data, join(config.data, 'releases'), notesPath(config.data), ...changed);
    return told.length === 0 ? ['Nothing had to be done, because every release can be read.'] : told;
  } finally {
    store.close();
  }
}

/**
 * Renames each of the refs, `refs/NAME`, to `STAMP/NAME`. STAMP is the argument `stamp`, such as
 * `refs/set-aside/20261128T150000000Z`. @returns the old names of the refs that existed.
 */
async function keepRefs(
  repositories: Repositories,
  tool: ToolName,
  refs: readonly string[],
  stamp: string,
): Promise<string[]> {
  if (!repositories.exists(tool)) return [];
  const commits = await readRefs(repositories, tool, refs);
  const lines = [...commits].flatMap(([ref, commit]) => [
    `create ${ref.replace(/^refs/, stamp)} ${commit}`,
    `delete ${ref} ${commit}`,
  ]);
  if (lines.length > 0) await updateRefs(repositories, tool, lines);
  return [...commits.keys()];
}

async function startOverConfigVars({ data, keys }: DataConfig): Promise<string[]> {
  using _lock = new DataLock(data);
  const stamp = timeStamp(Date.now());
  const told = await setTornKeyAside(keys, stamp);
  const key = loadOrMakeSecretsKey(keys);
  await belongsToServer(join(keys, 'secrets.key'), keys);
  if (readStoreFacts(join(data, 'store.sqlite')).state !== 'whole') {
    return [
      ...told,
      'secrets.key is new. The store cannot be read either. Restore the store (npx toolforge-push help restore), or start over: npx toolforge-push start-over store',
    ];
  }
  const copy = join(data, 'set-aside', stamp, 'store.sqlite');
  await mkdir(join(data, 'set-aside', stamp), { recursive: true, mode: 0o700 });
  {
    await using made = await open(copy, 'wx', 0o600);
    await copyStore(join(data, 'store.sqlite'), copy);
    await made.sync();
  }
  forgetConfigVars(data, key);
  await finish(data, copy);
  return [
    ...told,
    `A copy of the previous store is in set-aside/${stamp}/store.sqlite`,
    'The config vars of all tools are now empty. Tell the maintainers to set them again: config set TOOL NAME=VALUE',
  ];
}

/** If `secrets.key` does not contain a valid key, renames the file within the keys folder. */
async function setTornKeyAside(keys: string, stamp: string): Promise<string[]> {
  const path = join(keys, 'secrets.key');
  if (secretsKeyId(keys) !== null || !existsSync(path)) return [];
  await rename(path, `${path}.set-aside-${stamp}`);
  return [`Set aside: ${path}.set-aside-${stamp}`];
}
