import { existsSync, realpathSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import type { Builder } from './builder/builder.ts';
import type { SourceOffers } from './builder/kubernetes/source-offers.ts';
import { LocalBuilder } from './builder/local/local-builder.ts';
import { environmentFromOutline } from './builder/local/outline.ts';
import { readPlainFile } from './builder/source/safe-files.ts';
import type { Config } from './config.ts';
import { DeployError, systemCode } from './core/errors.ts';
import type { Log } from './core/log/log.ts';
import type { ToolName } from './core/names.ts';
import { type ServerAddresses, sshCommand } from './core/network/addresses.ts';
import { LocalRuntime } from './run/local/local-runtime.ts';
import type { Crash, Gateway, Runtime } from './run/runtime.ts';
import type { ScheduleRecords } from './run/scheduled-runs.ts';
import { chooseSandbox } from './sandbox/choose-sandbox.ts';
import { weakLimits } from './sandbox/weak-limits.ts';
import { pruneStacks, pruneTrees } from './stack/prune-stacks.ts';
import { assertTrustedUse } from './trusted-mode.ts';

export interface BackEnds {
  readonly builder: Builder;
  readonly runtime: Runtime & Gateway;
  /**
   * The source files that builds in a cluster can fetch. Null if builds run on this machine, or if the caller gave the
   * back ends.
   */
  readonly sources: SourceOffers | null;
  /** How tools are isolated, for the log. `given` means that the caller has chosen the back ends in code. */
  readonly isolation: 'isolated' | 'trusted' | 'kubernetes' | 'given';
  /** Why the setting `sandbox: auto` found no isolation. Null in all other cases. */
  readonly whyTrusted: string | null;
  /**
   * Prepares in advance what the first build would otherwise wait for. Never throws. Called once, when the server
   * listens.
   */
  readonly warmUp?: () => Promise<void>;
}

export interface BackEndOptions {
  readonly config: Config;
  /** Empty until the SSH and HTTP servers listen. */
  readonly addresses: ServerAddresses;
  /** Returns the number of users in the user directory, or `'many'` for LDAP. */
  readonly countPeople: () => Promise<number | 'many'>;
  /** Back ends from a caller that starts a server from code. Null if the settings choose the back ends. */
  readonly given: Pick<BackEnds, 'builder' | 'runtime'> | null;
  /**
   * Tells which schedules are paused, and records scheduled runs. Until the store is open, no schedule counts as
   * paused, and no run is recorded.
   */
  readonly schedules: ScheduleRecords;
  /**
   * Returns the tool that the preview `name` belongs to. Null if `name` is not a preview. Undefined until the store is
   * open.
   */
  readonly previewOf: (name: ToolName) => ToolName | null | undefined;
  /**
   * The store gives each tool and each preview a number. For the number of a preview, this function returns the number
   * of its tool, because both use one share of this machine. It returns every other number unchanged. Must not throw.
   */
  readonly shareOf: (toolNumber: number) => number;
  readonly log: Log;
  /** Returns the new name if `tool` is the old name of a renamed tool, otherwise null. Must not throw. */
  readonly renamedTo: (tool: string) => ToolName | null;
  /** Called at each crash of a live process. Must not throw. */
  readonly onCrash: (crash: Crash) => void;
}

/** How many deployments run at the same time. A cluster has room for more builds than one machine. */
export function concurrentDeployments(config: Pick<Config, 'builder' | 'concurrent_deployments'>): number {
  return config.concurrent_deployments ?? (config.builder === 'kubernetes' ? 10 : 3);
}

/**
 * Makes the Builder and the Runtime that the settings choose. Loads the Kubernetes client only if one of these needs
 * it.
 *
 * @throws DeployError `BAD_SETTING` if settings are wrong or do not fit together; `BAD_CLUSTER` if the kubeconfig is
 * wrong; `NO_ISOLATION` if the setting `sandbox` is `isolated`, but this machine cannot isolate tools;
 * `NEEDS_ISOLATION` if tools are not isolated, but the server has a second user or an address that other machines can
 * reach; `DATA_FOLDER_CLOSED` if the users of tools cannot pass through the data folder.
 */
export async function chooseBackEnds(options: BackEndOptions): Promise<BackEnds> {
  if (options.given !== null)
    return { ...options.given, sources: null, isolation: 'given', whyTrusted: null };
  const { builder, runtime } = options.config;
  if (builder !== runtime) {
    throw new DeployError(
      'BAD_SETTING',
      `the setting builder is ${builder} and runtime is ${runtime}, but this runtime cannot run the results of this builder`,
      'Set builder and runtime both to local, or both to kubernetes.',
    );
  }
  switch (runtime) {
    case 'local':
      return await localBackEnds(options);
    case 'kubernetes':
      return await kubernetesBackEnds(options);
  }
  runtime satisfies never;
  throw new Error('unreachable');
}

async function localBackEnds({
  config,
  addresses,
  countPeople,
  schedules,
  shareOf,
  log,
  onCrash,
  renamedTo,
}: BackEndOptions): Promise<BackEnds> {
  await assertFolder(config.buildpacks);
  assertNotInData(config);
  const { sandbox, limited, whyTrusted, remedy } = await chooseSandbox(config, log, [], shareOf);
  // Only now can stacks be deleted that no artifact uses: one of the processes that an earlier server left could still
  // have used such a stack, but `openState` has ended these processes before.
  await pruneStacks(config.data);
  await pruneTrees(config.data);
  if (sandbox.mode === 'isolated' && sandbox.whyNoChanges !== null)
    log.warn(
      { data: config.data, reason: sandbox.whyNoChanges },
      'tools cannot write to the folders of their releases, because this machine cannot make overlays there',
    );
  if (sandbox.mode === 'trusted') assertTrustedUse(config, await countPeople(), remedy);
  // Log advice only if there is not exactly one user. If the user directory cannot be read, the number counts as 1, so
  // nothing is logged here: other code reports that fault.
  else if ((await countPeople().catch(() => 1)) !== 1)
    for (const advice of await weakLimits(config.data, limited, sandbox.whyNoFlowLimit))
      log.warn({ advice }, 'one tool could harm others on this machine');
  const builder = new LocalBuilder({ config, sandbox, buildpacksFolder: config.buildpacks, log });
  return {
    builder,
    warmUp: () => builder.warmUp(),
    runtime: await LocalRuntime.open({
      config,
      sandbox,
      launchEnvironment: environmentFromOutline,
      httpOrigin: () => addresses.http,
      logsCommand: (tool) => sshCommand(addresses, 'USER', `logs ${tool}`),
      redeployCommand: (tool) => sshCommand(addresses, 'USER', `redeploy ${tool}`),
      schedules,
      shareOf,
      log,
      readPlainFile,
      onCrash,
      renamedTo,
    }),
    sources: null,
    isolation: sandbox.mode,
    whyTrusted,
  };
}

/**
 * Checks at the start that the folder of buildpacks can be read. Without this check, the first push would fail.
 *
 * @throws DeployError `BAD_SETTING` if the folder cannot be read.
 */
async function assertFolder(buildpacks: string): Promise<void> {
  try {
    await readdir(buildpacks);
  } catch (cause) {
    throw new DeployError(
      'BAD_SETTING',
      `the folder ${buildpacks} of the setting buildpacks cannot be read (${systemCode(cause) ?? 'unknown error'})`,
      'Set buildpacks to a folder of buildpacks, or remove the setting to use the buildpacks of this project.',
      { cause },
    );
  }
}

/**
 * Refuses a folder of config vars from outside that is in the data folder, because each backup would contain it.
 *
 * @throws DeployError `BAD_SETTING` if the setting `config_vars_folder` names a folder in the data folder.
 */
function assertNotInData({ data, config_vars_folder: folder }: Config): void {
  if (folder === null) return;
  const real = (path: string) => (existsSync(path) ? realpathSync(path) : path);
  if (!`${real(folder)}/`.startsWith(`${real(data)}/`)) return;
  throw new DeployError(
    'BAD_SETTING',
    `the folder ${folder} of the setting config_vars_folder is in the data folder, and so in every backup`,
    'Move the folder to another place.',
  );
}

async function kubernetesBackEnds({
  config,
  addresses,
  schedules,
  previewOf,
  log,
  onCrash,
}: BackEndOptions): Promise<BackEnds> {
  const [{ connectCluster }, { assertCredentials }, { KubernetesBuilder }, { KubernetesRuntime }] =
    await Promise.all([
      import('./kubernetes/cluster.ts'),
      import('./kubernetes/cluster-credentials.ts'),
      import('./builder/kubernetes/kubernetes-builder.ts'),
      import('./run/kubernetes/kubernetes-runtime.ts'),
    ]);
  const cluster = connectCluster({ context: config.kubernetes_context });
  await assertCredentials(cluster.kubeConfig);
  const builder = new KubernetesBuilder({ config, cluster, log, sourceOrigin: () => addresses.sources });
  void builder.place.checkAtStart();
  if (config.registry_secret === '' && config.harbor_url === '')
    log.warn(
      { registry: config.registry },
      'the registry needs no login, so each build can change the images of all tools',
    );
  return {
    builder,
    runtime: new KubernetesRuntime({
      config,
      cluster,
      httpOrigin: () => addresses.http,
      schedules,
      previewOf,
      log,
      onCrash,
    }),
    sources: builder.sources,
    isolation: 'kubernetes',
    whyTrusted: null,
  };
}
