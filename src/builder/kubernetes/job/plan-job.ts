import { DeployError } from '../../../core/errors.ts';
import type { BuildRequest } from '../../builder.ts';
import type { BuilderImage } from '../images/builder-image.ts';
import { NEWEST } from '../images/tool-images.ts';
import type { KubernetesBuilderConfig } from '../kubernetes-builder-config.ts';
import type { BuildJob } from './build-job.ts';
import { labelsOf, newJobName, type ToolRepositories } from './build-names.ts';

/**
 * The time limit of the Job is this many seconds longer than that of this server. So the server ends the build first,
 * and can say which phase was running.
 */
const GRACE_SECONDS = 120;

/**
 * Checks that the settings that builds in a cluster need are not empty. @throws DeployError `BAD_SETTING` if one is
 * empty.
 */
export function assertConfigured(config: KubernetesBuilderConfig): void {
  const missing = (['registry', 'builder_image'] as const).find((name) => config[name] === '');
  if (missing === undefined) return;
  throw new DeployError(
    'BAD_SETTING',
    `the setting ${missing} is empty, but builds in a cluster need it`,
    'The script deploy/builder/build-images pushes the images for builds to a registry, and prints the value of builder_image.',
  );
}

/** Plans the Job of a build from the settings and the request. */
export function planJob(options: {
  readonly config: KubernetesBuilderConfig;
  readonly request: Pick<BuildRequest, 'tool' | 'id' | 'useCache' | 'rebaseOf'>;
  readonly builder: BuilderImage;
  readonly repositories: ToolRepositories;
  /**
   * The name of the Secret with the registry's login. Null if the registry needs no login. Empty if the Secret is made
   * for this build.
   */
  readonly registrySecret: string | null;
  readonly sourceUrl: string;
  readonly own: BuildJob['own'];
  readonly annotations: BuildJob['annotations'];
  readonly isInspection: boolean;
}): BuildJob {
  const { config, builder, repositories, registrySecret, sourceUrl, own, annotations } = options;
  const { tool, id, useCache, rebaseOf } = options.request;
  const name = newJobName(tool);
  const image = imageOf(repositories);
  return {
    ...followedJob(config, repositories, { name, id }),
    labels: labelsOf(tool, id, name),
    annotations,
    builderImage: builder.reference,
    user: builder.user,
    runImage: config.run_image,
    newestImage: `${image}:${NEWEST}`,
    cacheImage: `${repositories.host}/${repositories.cache}:${NEWEST}`,
    useCache,
    rebaseOf: rebaseOf?.reference ?? null,
    isInspection: options.isInspection,
    plainHttpHosts: config.registry_plain_http,
    sourceUrl,
    own,
    secrets: {
      build: `${name}-build`,
      platform: `${name}-platform`,
      registry: registrySecret === '' ? `${name}-registry` : registrySecret,
      pull: config.registry_secret === '' ? null : config.registry_secret,
    },
    startedAt: Math.floor(Date.now() / 1000),
  };
}

/** The facts about a Job that a server needs to follow it. */
export type FollowedJob = Pick<
  BuildJob,
  'name' | 'namespace' | 'image' | 'limits' | 'rebaseOf' | 'isInspection'
>;

/**
 * Returns the facts with which a server follows a Job, such as a Job that an earlier server made. `name` is the name of
 * the Job, and `id` is the id of its build.
 */
export function followedJob(
  config: KubernetesBuilderConfig,
  repositories: ToolRepositories,
  { name, id }: { readonly name: string; readonly id: string },
): FollowedJob {
  return {
    name,
    namespace: config.build_namespace,
    image: `${imageOf(repositories)}:${id}`,
    // Null and false, because a server resumes only builds of a source. `planJob` replaces both for its new Job.
    rebaseOf: null,
    isInspection: false,
    limits: {
      cpuMillis: config.build_cpu,
      memoryBytes: config.build_memory,
      diskBytes: config.build_disk,
      seconds: Math.ceil(config.build_time / 1000) + GRACE_SECONDS,
    },
  };
}

function imageOf({ host, image }: ToolRepositories): string {
  return `${host}/${image}`;
}
