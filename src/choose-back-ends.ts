import { readdir } from 'node:fs/promises';
import type { Builder } from './build/builder.ts';
import { launchEnvironment } from './build/launch-environment.ts';
import { LocalBuilder } from './build/local-builder.ts';
import type { Config } from './config.ts';
import { type Addresses, sshCommand } from './core/addresses.ts';
import { DeployError, systemCode } from './core/errors.ts';
import type { Log } from './core/log.ts';
import type { Sources } from './http/source-door.ts';
import { LocalRuntime } from './run/local/runtime.ts';
import type { Gateway, Runtime } from './run/runtime.ts';
import { assertTrustedUse } from './safe-start.ts';
import { chooseSandbox } from './sandbox/choose.ts';

export interface BackEnds {
  readonly builder: Builder;
  readonly runtime: Runtime & Gateway;
  /** What builds that run elsewhere are to be given; null where they run here. */
  readonly sources: Sources | null;
  /** What keeps tools apart, for the log. */
  readonly isolation: 'isolated' | 'trusted' | 'kubernetes' | 'given';
  /** Why there is no isolation although it was asked for; null = nothing to say. */
  readonly whyTrusted: string | null;
}

export interface BackEndOptions {
  readonly config: Config;
  /** Known only once the doors listen. */
  readonly addresses: Addresses;
  /** Where builds fetch their source unless `source_url` says so; known only once the doors listen. */
  readonly sourceOrigin: () => string;
  /** How many people can log in. */
  readonly countPeople: () => Promise<number | 'many'>;
  /** In place of those that the settings choose; for whoever starts a server from code. */
  readonly given: Pick<BackEnds, 'builder' | 'runtime'> | null;
  readonly log: Log;
}

/** How many deployments run at once. A cluster has room for more builds than one machine. */
export function concurrentDeployments(config: Pick<Config, 'builder' | 'concurrent_deployments'>): number {
  return config.concurrent_deployments ?? (config.builder === 'kubernetes' ? 10 : 3);
}

/**
 * The Builder and the Runtime of the settings. What speaks to a cluster is loaded only where it is asked for.
 *
 * @throws DeployError `BAD_SETTING`, `BAD_CLUSTER`, `NEEDS_ISOLATION`, `NO_ISOLATION`
 */
export async function chooseBackEnds(options: BackEndOptions): Promise<BackEnds> {
  if (options.given !== null)
    return { ...options.given, sources: null, isolation: 'given', whyTrusted: null };
  const { builder, runtime } = options.config;
  if (builder !== runtime) {
    throw new DeployError(
      'BAD_SETTING',
      `The setting builder is ${builder} and runtime is ${runtime}, but what the one makes the other cannot run.`,
      'Set both to local, or both to kubernetes.',
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

async function localBackEnds({ config, addresses, countPeople, log }: BackEndOptions): Promise<BackEnds> {
  await assertFolder(config.buildpacks);
  const { sandbox, whyTrusted, remedy } = await chooseSandbox(config, log);
  if (sandbox.mode === 'trusted') assertTrustedUse(config, await countPeople(), remedy);
  return {
    builder: new LocalBuilder({ config, sandbox, buildpacksFolder: config.buildpacks, log }),
    runtime: await LocalRuntime.open({
      config,
      sandbox,
      launchEnvironment,
      httpOrigin: () => addresses.http,
      logsCommand: (tool) => sshCommand(addresses, 'USER', `logs ${tool}`),
      redeployCommand: (tool) => sshCommand(addresses, 'USER', `redeploy ${tool}`),
      log,
    }),
    sources: null,
    isolation: sandbox.mode,
    whyTrusted,
  };
}

/** Else the first who pushes would be told of a fault of the server. @throws DeployError `BAD_SETTING` */
async function assertFolder(buildpacks: string): Promise<void> {
  try {
    await readdir(buildpacks);
  } catch (cause) {
    throw new DeployError(
      'BAD_SETTING',
      `The folder ${buildpacks} of the setting buildpacks cannot be read (${systemCode(cause) ?? 'unknown error'}).`,
      'Name a folder of buildpacks, or leave the setting away for those of this project.',
      { cause },
    );
  }
}

async function kubernetesBackEnds({
  config,
  addresses,
  sourceOrigin,
  log,
}: BackEndOptions): Promise<BackEnds> {
  const [{ connectCluster }, { assertCredentials }, { KubernetesBuilder }, { KubernetesRuntime }] =
    await Promise.all([
      import('./kubernetes/cluster.ts'),
      import('./kubernetes/credentials.ts'),
      import('./build/kubernetes/builder.ts'),
      import('./run/kubernetes/runtime.ts'),
    ]);
  const cluster = connectCluster({ context: config.kubernetes_context });
  await assertCredentials(cluster.kubeConfig);
  const builder = new KubernetesBuilder({ config, cluster, log, sourceOrigin });
  void builder.place.checkAtStart();
  return {
    builder,
    runtime: new KubernetesRuntime({ config, cluster, httpOrigin: () => addresses.http, log }),
    sources: builder.sources,
    isolation: 'kubernetes',
    whyTrusted: null,
  };
}
