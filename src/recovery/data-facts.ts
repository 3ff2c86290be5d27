import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DirectoryFile } from '../auth/file/directory-yaml.ts';
import type { Config } from '../config.ts';
import { mapWithLimit } from '../core/concurrency/concurrency-limit.ts';
import { listSetAside } from '../core/disk/set-aside.ts';
import { DeployError, systemCode } from '../core/errors.ts';
import type { ToolName } from '../core/names.ts';
import { type ReleaseRefs, versionOf } from '../deploy/reconciliation/read-back-releases.ts';
import { isHollow } from '../git/hollow-repository.ts';
import { refNames } from '../git/refs/ref-files.ts';
import { tornRefs } from '../git/refs/torn-refs.ts';
import { REPOSITORIES_AT_ONCE, Repositories } from '../git/repositories.ts';
import { Backups } from '../store/backups/backups.ts';
import { ReleaseCopies } from '../store/backups/release-copies.ts';
import { followRenames } from '../store/renames/follow-renames.ts';
import { type NamesPlan, planNames } from '../store/renames/plan-names.ts';
import { noteKey, readNotes } from '../store/renames/rename-notes.ts';
import { type SecretsKey, secretsKeyId } from '../store/secrets.ts';
import { readStoreFacts, type StoreFacts } from '../store/store-facts.ts';
import { isHalfRestored } from './half-restore.ts';

export type DataConfig = Pick<Config, 'data' | 'keys' | 'runtime' | 'directory' | 'deploy_branch'>;

/** The state of a repository, read from its files. */
export interface RepositoryFacts extends ReleaseRefs {
  readonly tool: ToolName;
  /** True if the repository has lost commits that every push needs: see `isHollow` in hollow-repository.ts. */
  readonly isHollow: boolean;
}

/**
 * True if no ref or settings file of a repository is damaged (`torn`), and if the repository has not lost objects that
 * every push needs.
 */
export function isWhole({ torn, isHollow }: RepositoryFacts): boolean {
  return torn.length === 0 && !isHollow;
}

export type DirectoryFacts =
  | { readonly state: 'elsewhere' | 'missing' | 'empty' }
  | { readonly state: 'damaged'; readonly why: string }
  | { readonly state: 'whole'; readonly tools: ReadonlySet<ToolName> };

/**
 * What a data folder contains: the state of the store, the repositories, the user directory, the copies of releases,
 * the keys and the backups. `examine` finds out whether they agree.
 */
export interface DataFacts {
  readonly config: DataConfig;
  /** True if a restore of a whole backup has not finished. */
  readonly isHalfRestored: boolean;
  /** What the store has. Tools that were renamed since the store was copied have their present names here. */
  readonly store: StoreFacts;
  /** The tools that were renamed since the store was copied. Null if the store cannot be read. */
  readonly names: NamesPlan | null;
  readonly repositories: readonly RepositoryFacts[];
  readonly directory: DirectoryFacts;
  readonly copies: ReleaseCopies;
  /** For each tool with copies, the versions that have a copy, intact or torn. */
  readonly copied: ReadonlyMap<ToolName, readonly number[]>;
  /** The id of the secrets key. Null if secrets.key is missing or not a key. `unreadable`: see `secretsKeyId`. */
  readonly keyId: string | 'unreadable' | null;
  /**
   * The newest backup of the store that is intact and has a tool, as a path relative to the data folder. Null if there
   * is no such backup, or if the store itself is intact and has a tool.
   */
  readonly storeBackup: string | null;
  /**
   * The newest backup of the user directory that can be read and has users, as a path relative to the data folder. Null
   * if there is no such backup, if the user directory is in LDAP, or if directory.yaml is whole and contains every tool
   * of the store.
   */
  readonly directoryBackup: string | null;
  readonly setAside: readonly string[];
}

/**
 * Reads a data folder, also while a server runs. Changes nothing, except that it may roll back a journal of the store
 * that a killed server left. A process that has opened the store must not call this, because it would lose its locks on
 * the store.
 */
export async function readDataFacts(config: DataConfig): Promise<DataFacts> {
  const { data, keys } = config;
  const stored = readStoreFacts(join(data, 'store.sqlite'));
  const names = namesIn(data, stored);
  const store = withNames(stored, names);
  const directory = await readDirectory(config);
  const backups = new Backups(data);
  const copies = new ReleaseCopies(data);
  const isStoreGood = store.state === 'whole' && store.tools.length > 0;
  return {
    config,
    isHalfRestored: isHalfRestored(data),
    store,
    names,
    repositories: await readRepositories(repositoriesOf(config)),
    directory,
    copies,
    copied: new Map(copies.tools().map((tool) => [tool, copies.versions(tool)])),
    keyId: secretsKeyId(keys),
    // Search for a backup only if the store is damaged or has no tool, because the search reads whole backups.
    storeBackup: isStoreGood ? null : within(data, await backups.newestGoodStore()),
    directoryBackup: needsNoBackup(directory, store) ? null : within(data, await newestGoodDirectory(data)),
    setAside: await listSetAside(data),
  };
}

/**
 * Finds the tools that have other names in a store than in the rest of the data folder. Such a store is a backup from
 * before the tools were renamed.
 *
 * @param store - What is known about the store.
 * @returns null if the store cannot be read.
 * @throws DeployError `DATA_DISAGREES` if `renames.json` is damaged.
 */
export function namesIn(data: string, store: StoreFacts): NamesPlan | null {
  if (store.state !== 'whole') return null;
  const copies = new ReleaseCopies(data);
  // Do not use the copies of releases during a rename, because they still have the old name.
  const withCopies = existsSync(join(data, 'renaming.json')) ? [] : copies.tools();
  const copied = withCopies.flatMap((tool): [ToolName, number][] => {
    const copy = copies.newest(tool);
    return copy !== null && copy.previewOf === undefined ? [[tool, copy.toolNumber]] : [];
  });
  return planNames({
    tools: store.tools,
    known: new Set(store.renames.map(noteKey)),
    notes: readNotes(data),
    copied: new Map(copied),
    now: Date.now(),
  });
}

/**
 * Renames the tools in a store that is older than renames of tools, such as a store from a backup, to their present
 * names. Call this before the store is opened, and after `assertStartable`. The caller holds the lock of the data
 * folder.
 */
export function followNames({ config, store, names }: DataFacts, key: SecretsKey): void {
  if (store.state === 'whole' && names !== null) followRenames(config.data, key, names, store.renames);
}

/** Returns the facts of a store as if its tools had the names that the plan gives them. */
export function withNames(store: StoreFacts, plan: NamesPlan | null): StoreFacts {
  if (store.state !== 'whole' || plan === null) return store;
  const names = new Map(plan.names.map(({ number, to }) => [number, to]));
  const tools = store.tools
    .filter(({ name }) => !plan.ended.includes(name))
    .map((tool) => ({ ...tool, name: names.get(tool.number) ?? tool.name }));
  return { ...store, tools };
}

/** The repositories of a data folder. */
export function repositoriesOf(config: DataConfig, path = '/usr/local/bin:/usr/bin:/bin'): Repositories {
  return new Repositories({
    folder: join(config.data, 'repositories'),
    path,
    deployBranch: config.deploy_branch,
  });
}

/** The folder of an artifact that was built on this machine. */
export function artifactFolder(config: DataConfig, tool: ToolName, id: string): string {
  return join(config.data, 'artifacts', tool, id);
}

async function readRepositories(repositories: Repositories): Promise<RepositoryFacts[]> {
  return await mapWithLimit(await repositories.tools(), REPOSITORIES_AT_ONCE, async (tool) => {
    const names = await refNames(repositories, tool, ['refs']);
    const torn = tornRefs(repositories, tool);
    const released = names.map(versionOf).filter((version) => version > 0);
    const hasLostObjects = names.length > 0 && (await isHollow(repositories, tool, torn, names));
    return { tool, released, torn, isHollow: hasLostObjects };
  });
}

async function readDirectory(config: DataConfig): Promise<DirectoryFacts> {
  if (config.directory !== 'file') return { state: 'elsewhere' };
  return await readDirectoryFile(join(config.data, 'directory.yaml'));
}

function needsNoBackup(directory: DirectoryFacts, store: StoreFacts): boolean {
  if (directory.state !== 'whole') return directory.state === 'elsewhere';
  return store.state === 'whole' && store.tools.every(({ name }) => directory.tools.has(name));
}

async function readDirectoryFile(path: string): Promise<DirectoryFacts> {
  try {
    if ((await readFile(path, 'utf8')).trim() === '') return { state: 'empty' };
    const { users, tools } = await new DirectoryFile(path).list();
    return users.size === 0 ? { state: 'empty' } : { state: 'whole', tools: new Set(tools.keys()) };
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return { state: 'missing' };
    // If directory.yaml is missing and Docker must mount it, Docker makes a folder of this name.
    if (systemCode(error) === 'EISDIR') return { state: 'damaged', why: 'it is a folder' };
    if (!(error instanceof DeployError)) throw error;
    return { state: 'damaged', why: error.message };
  }
}

/** The path of the newest backup of the user directory that can be read and has users. Null without such a backup. */
export async function newestGoodDirectory(data: string): Promise<string | null> {
  for (const path of await new Backups(data).list('directory')) {
    if ((await readDirectoryFile(path)).state === 'whole') return path;
  }
  return null;
}

/** True if the user directory is worth a backup, because it is a readable file with users. */
export async function hasUsers(config: DataConfig): Promise<boolean> {
  return (await readDirectory(config)).state === 'whole';
}

function within(data: string, path: string | null): string | null {
  return path === null || !existsSync(path) ? null : path.slice(data.length + 1);
}
