import { join } from 'node:path';
import { DeployTokens } from './auth/deploy-tokens.ts';
import { PreviewDirectory } from './auth/preview-directory.ts';
import { type BackEnds, chooseBackEnds } from './choose-back-ends.ts';
import { chooseDirectory } from './choose-directory.ts';
import type { Config } from './config.ts';
import { CleanUpHold } from './core/concurrency/clean-up-hold.ts';
import { openDataFolder } from './core/disk/data-folder.ts';
import { DiskRoom } from './core/disk/disk-space.ts';
import { removeTree } from './core/disk/remove-tree.ts';
import { SetAside } from './core/disk/set-aside.ts';
import type { Log } from './core/log/log.ts';
import type { ToolName } from './core/names.ts';
import type { ServerAddresses } from './core/network/addresses.ts';
import type { DeployContext } from './deploy/deploy-context.ts';
import { DeploymentLogs } from './deploy/deployment-log.ts';
import { mendRepositories } from './deploy/reconciliation/read-back-releases.ts';
import { reconcile } from './deploy/reconciliation/reconcile.ts';
import { Repositories } from './git/repositories.ts';
import { assertNobodyListens } from './local-socket/local-socket.ts';
import { makeKeysFolder, openKeys } from './open-keys.ts';
import { finishTags, transfersFolder } from './recovery/archive/imported-tags.ts';
import { followNames, isWhole, readDataFacts } from './recovery/data-facts.ts';
import { assertStartable, examine, tellFindings } from './recovery/examine.ts';
import { behind } from './recovery/expected-live.ts';
import { assertRestored } from './recovery/half-restore.ts';
import { finishRenaming } from './recovery/renaming.ts';
import type { Crash } from './run/runtime.ts';
import type { ScheduleRecords } from './run/scheduled-runs.ts';
import { endLeftovers, INSTANCE_VARIABLE, instanceId } from './sandbox/process/marked-processes.ts';
import { auditFile } from './store/audit-file.ts';
import { DataLock } from './store/data-lock.ts';
import { SqliteStore } from './store/sqlite-store.ts';
import type { Store } from './store/store.ts';

export interface StateOptions {
  readonly config: Config;
  readonly log: Log;
  /** The person for whom the first start makes a user. */
  readonly owner: { readonly userName: string; readonly homeFolder: string };
  /** The value of the environment variable PATH for git. */
  readonly path: string;
  /** Replaces the back ends that the settings choose, for callers that start a server from code. */
  readonly backEnds?: Pick<BackEnds, 'builder' | 'runtime'>;
}

/** What exists before the first deployment: the data of this server, repaired, and its back ends. */
export type ServerState = Awaited<ReturnType<typeof openState>>;

/** The path of the socket to which git hooks and the command `toolforge-push` on this machine connect. */
export function socketPathOf({ data }: Pick<Config, 'data'>): string {
  return join(data, 'run/server.sock');
}

/**
 * Opens the data folder, chooses the back ends, and repairs what an earlier server left behind.
 *
 * @param addresses - The addresses of this server, which are empty until the SSH and HTTP servers listen.
 * @throws DeployError if a setting, the machine or another server prevents the start.
 */
export async function openState(options: StateOptions, addresses: ServerAddresses) {
  const { config, log, owner, backEnds: given = null } = options;
  const { data } = config;
  // Let the system users of tools pass through the data folder to their own folders. Each folder inside has its own
  // mode.
  await openDataFolder(data);
  const { directory, maintainers, makeFirst, countPeople } = await chooseDirectory({ config, owner, log });
  // Another server may be using the data folder. So take the lock of the folder before this function reads the
  // repositories and the store, and before it ends processes that an earlier server left.
  using opening = new DisposableStack();
  const lock = opening.use(new DataLock(data));
  assertRestored(data);
  await assertNobodyListens(socketPathOf(config));
  // The folder must exist before the sandbox is chosen, because the sandbox hides only folders that exist.
  await makeKeysFolder(config.keys);
  // End the processes that a killed server left running. Only then can the lock files of its git processes be deleted.
  await endLeftovers(data);
  // The functions below use the store once it is open. They may also be called earlier, and then do without the store.
  const opened: { store: SqliteStore | null } = { store: null };
  const onCrash = (crash: Crash) => noteCrash(opened.store, crash, log);
  const schedules = storedSchedules(() => opened.store, log);
  const renamedTo = (tool: string) => newName(opened.store, tool, log);
  const previewOf = (name: ToolName) => (opened.store === null ? undefined : opened.store.previewOf(name));
  const shareOf = (toolNumber: number) => shareNumber(opened.store, toolNumber, log);
  const choosing = chooseBackEnds({
    ...{ config, addresses, countPeople, log, given },
    ...{ schedules, previewOf, shareOf, onCrash, renamedTo },
  });
  // `choosing`, the choice of the back ends, is awaited only after the data folder has been examined, so that a fault
  // of the data folder is reported first. If such a fault makes this function throw, `choosing` is awaited before the
  // lock of the data folder is released.
  const settled = choosing.then(noop, noop);
  await using _chosen = { [Symbol.asyncDispose]: () => settled };
  await finishRenaming(config, log);
  const facts = await readDataFacts(config);
  const findings = examine(facts);
  const whole = new Set(facts.repositories.flatMap((one) => (isWhole(one) ? [one.tool] : [])));
  assertStartable(findings);
  const { secretsKey, hostKeys } = await openKeys(config.keys);
  followNames(facts, secretsKey);
  const store = new SqliteStore(data, secretsKey, lock, config.keep_history);
  opened.store = store;
  opening.move();
  const repositories = new Repositories({
    folder: join(data, 'repositories'),
    path: options.path,
    deployBranch: config.deploy_branch,
    marks: { [INSTANCE_VARIABLE]: instanceId(data) },
  });
  await tellFindings(findings, data, log);
  await mendRepositories({ store, repositories, log }, new SetAside(data), {
    mayBeDamaged: (tool) => !whole.has(tool),
    isBehind: (tool) => behind(facts, tool).length > 0,
  });
  const unfinishedImports = await finishTags({ store, repositories, log }, transfersFolder(data));
  const backEnds = await choosing;
  const { builder, runtime } = backEnds;
  const context: DeployContext = {
    ...{ store, repositories, builder, runtime, log },
    buildsADay: config.builds_a_day,
    maxReplicas: config.max_replicas,
    processTypes: config.process_types,
    repositorySize: config.repository_size,
  };
  const logs = new DeploymentLogs(join(data, 'deployments'), config.log_days);
  return {
    ...{ makeFirst, maintainers, store, context, backEnds, logs, hostKeys },
    directory: new PreviewDirectory(
      directory,
      (name) => store.previewOf(name),
      (name) => store.renamedTo(name),
      config.directory === 'file' ? (name) => store.reuseName(name) : null,
    ),
    tokens: new DeployTokens(store),
    audit: auditFile(data, log),
    room: new DiskRoom(data),
    cleanUp: new CleanUpHold(),
    /**
     * The deployments that an earlier server began and that this server resumes, because their builds have continued.
     */
    resumed: await reconcile(context, logs, unfinishedImports),
  };
}

function noop(): void {}

/**
 * Counts a crash for the release. If the store cannot count the crash, only logs this, so that the supervision of the
 * process continues.
 */
function noteCrash(store: SqliteStore | null, { tool, version, ...crash }: Crash, log: Log): void {
  try {
    store?.addCrash(tool, version, crash);
  } catch (err) {
    log.error({ err, tool, version }, 'cannot count a crash of a process');
  }
}

/** Returns the new name if `tool` is the old name of a renamed tool. Null if it is not, or if the store fails. */
function newName(store: SqliteStore | null, tool: string, log: Log): ToolName | null {
  try {
    return store?.renamedTo(tool) ?? null;
  } catch (err) {
    log.error({ err, tool }, 'cannot read the earlier names of tools');
    return null;
  }
}

/**
 * The store gives each tool and each preview a number. For the number of a preview, returns the number of its tool.
 * Returns every other number unchanged. If the store cannot be read, returns every number unchanged.
 */
function shareNumber(store: SqliteStore | null, toolNumber: number, log: Log): number {
  try {
    return store?.shareOf(toolNumber) ?? toolNumber;
  } catch (err) {
    log.error({ err, toolNumber }, 'cannot read which tool a preview belongs to');
    return toolNumber;
  }
}

/**
 * Reads from the store which schedules are paused, and records scheduled runs that have ended. The schedules of a
 * preview count as paused.
 */
export function storedSchedules(
  store: () => Pick<Store, 'previewOf' | 'pausedSchedules' | 'scheduledRuns' | 'addScheduledRun'> | null,
  log: Pick<Log, 'error'>,
): ScheduleRecords {
  return {
    isPaused(tool, type) {
      try {
        const open = store();
        if (open === null) return false;
        const name = tool as ToolName;
        return open.previewOf(name) !== null || open.pausedSchedules(name).includes(type);
      } catch (err) {
        // A paused schedule must not run, so a schedule counts as paused if the store cannot be read.
        log.error({ err, tool, type }, 'cannot read whether a schedule is paused: it counts as paused now');
        return true;
      }
    },
    last(tool, type) {
      try {
        const newest = store()?.scheduledRuns(tool as ToolName, type, 1)[0];
        if (newest === undefined) return null;
        const { startedAt, endedAt, exitCode, detail } = newest;
        return { startedAt, endedAt, exitCode, detail };
      } catch (err) {
        log.error({ err, tool, type }, 'cannot read the last run of a schedule');
        return null;
      }
    },
    ended(tool, type, { endedAt, ...run }) {
      if (endedAt === null) return;
      try {
        store()?.addScheduledRun(tool as ToolName, { ...run, type, endedAt });
      } catch (err) {
        log.error({ err, tool, type }, 'a scheduled run is missing in the history');
      }
    },
  };
}

/**
 * Deletes folders of a tool in the data folder: its repository, its logs, the logs of its deployments, and the copies
 * of its releases. The back ends delete its other folders.
 */
export async function removeToolFolders(data: string, tool: ToolName): Promise<void> {
  for (const name of ['deployments', 'logs', 'releases']) await removeTree(join(data, name, tool));
  await removeTree(join(data, 'repositories', `${tool}.git`));
}
