import type {
  V1Deployment,
  V1Ingress,
  V1Job,
  V1OwnerReference,
  V1PodDisruptionBudget,
  V1Secret,
  V1Service,
} from '@kubernetes/client-node';
import { countOf, namedCommands, replicasOf, scalable, scheduledIn } from '../../../core/replicas.ts';
import type { Process } from '../../../core/types.ts';
import type { Applied } from '../../../kubernetes/apply.ts';
import { isOwnHost } from '../../host-names.ts';
import type { ManifestConfig } from './manifest-config.ts';
import {
  configName,
  LABELS,
  maintenanceLabels,
  NO_ROLLOUT,
  objectName,
  type Rollout,
} from './object-names.ts';
import { labelsOf, labelValue, PORT_NAME, podTemplate, toolLabels, WEB_PORT } from './pod-manifest.ts';

export interface ReleaseOptions {
  readonly rollout: Rollout;
  readonly toolNumber: number;
  readonly config: ManifestConfig;
}

/** The Secret and the Deployments of one rollout. */
export interface RolloutObjects {
  /**
   * The Secret with the config vars. Null if nothing would use it, because the rollout has neither Deployments nor
   * schedules.
   */
  readonly config: Applied<V1Secret> | null;
  readonly deployments: readonly Applied<V1Deployment>[];
}

export function rolloutObjects(options: ReleaseOptions): RolloutObjects {
  const { rollout } = options;
  const deployments = deployed(rollout).map((process) => deployment(options, process));
  const isUsed = deployments.length > 0 || scheduledIn(rollout.release).length > 0;
  return { config: isUsed ? configSecret(rollout) : null, deployments };
}

/**
 * The processes of a rollout that have a Deployment, even if somebody has scaled them to 0. A named command has a
 * Deployment only if it is kept running, because Deployments count towards the quota of the namespace.
 */
export function deployed(rollout: Pick<Rollout, 'release' | 'replicas'>): readonly Process[] {
  return scalable(rollout.release).filter(
    ({ type, replicas }) => replicas !== 0 || replicaCount(rollout, type) > 0,
  );
}

/** Returns how many pods of this process type a rollout is to have. 0 if the release has no such type. */
export function replicaCount(
  { release, replicas }: Pick<Rollout, 'release' | 'replicas'>,
  type: string,
): number {
  return countOf(replicasOf(release, replicas), type) ?? 0;
}

/** Returns the Secret that holds the release's config vars. */
export function configSecret(rollout: Rollout): Applied<V1Secret> {
  const { release, id, namespace } = rollout;
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: {
      name: configName(rollout),
      namespace,
      labels: {
        ...toolLabels(release.tool),
        [LABELS.version]: String(release.version),
        [LABELS.rollout]: id,
      },
    },
    type: 'Opaque',
    data: Object.fromEntries(
      Object.entries(release.configVars).map(([name, value]) => [
        name,
        Buffer.from(value).toString('base64'),
      ]),
    ),
  };
}

/**
 * Returns the disruption budget of a Deployment. With this budget, the cluster ends one pod of the Deployment at a time
 * when nodes are drained, and waits until that pod is replaced. The budget never blocks a drain for ever, even for a
 * process with one pod or for pods that are not ready.
 */
export function disruptionBudget(
  deployment: Applied<V1Deployment>,
  owner: V1OwnerReference,
): Applied<V1PodDisruptionBudget> {
  const { metadata, spec } = deployment;
  const { name, namespace, labels } = metadata as typeof metadata & { labels?: Record<string, string> };
  return {
    apiVersion: 'policy/v1',
    kind: 'PodDisruptionBudget',
    metadata: {
      name,
      ...(namespace === undefined ? {} : { namespace }),
      ...(labels === undefined ? {} : { labels }),
      ownerReferences: [owner],
    },
    spec: {
      maxUnavailable: 1,
      unhealthyPodEvictionPolicy: 'AlwaysAllow',
      ...(spec === undefined ? {} : { selector: spec.selector }),
    },
  };
}

/**
 * Returns the owners of the Secret of a rollout: the cluster deletes the Secret together with its last owner. The
 * Deployment of a named command is no owner if there are schedules, because `scale` may remove this Deployment while
 * the schedules stay.
 */
export function ownersOfConfig(
  { release }: Rollout,
  deployments: readonly V1Deployment[],
): V1OwnerReference[] {
  const commands = scheduledIn(release).length === 0 ? [] : namedCommands(release);
  const passing = new Set(commands.map(({ type }) => labelValue(type)));
  return ownedBy(
    deployments.filter(({ metadata }) => !passing.has(metadata?.labels?.[LABELS.process] ?? '')),
  );
}

/** Returns owner references to these Deployments. The cluster deletes an object when its last owner is gone. */
export function ownedBy(deployments: readonly V1Deployment[]): V1OwnerReference[] {
  return deployments.map(({ metadata }) => ({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    name: metadata?.name ?? '',
    uid: metadata?.uid ?? '',
  }));
}

function deployment(
  { rollout, toolNumber, config }: ReleaseOptions,
  process: Process,
): Applied<V1Deployment> {
  const { release, id, namespace } = rollout;
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: {
      name: objectName(process.type, rollout),
      namespace,
      labels: labelsOf(rollout, process.type),
      annotations: {
        'push.toolforge.org/description': release.description,
        'push.toolforge.org/by': release.by,
      },
    },
    spec: {
      replicas: replicaCount(rollout, process.type),
      revisionHistoryLimit: 0,
      progressDeadlineSeconds: 600,
      // If somebody changes or restarts the Deployment by hand, this strategy replaces even a single pod without a gap.
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
      selector: {
        matchLabels: { toolforge: 'tool', [LABELS.rollout]: id, [LABELS.process]: labelValue(process.type) },
      },
      template: podTemplate({ rollout, process, toolNumber, config }, 'Always'),
    },
  };
}

/** Returns the Job that runs the test or release command once, without retries. */
export function releaseJob(
  { rollout, toolNumber, config }: ReleaseOptions,
  process: Process,
  deadlineSeconds: number,
): Applied<V1Job> {
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: {
      name: objectName(process.type, rollout),
      namespace: rollout.namespace,
      labels: { ...labelsOf(rollout, process.type), 'app.kubernetes.io/component': 'jobs' },
    },
    spec: {
      backoffLimit: 0,
      completions: 1,
      parallelism: 1,
      activeDeadlineSeconds: deadlineSeconds,
      ttlSecondsAfterFinished: 300,
      template: podTemplate({ rollout, process, toolNumber, config }, 'Never'),
    },
  };
}

export interface TrafficOptions {
  readonly tool: string;
  readonly namespace: string;
  /** The id of the rollout that gets the requests. Null if no rollout gets them. */
  readonly rolloutId: string | null;
  /** True if visitors get the page about maintenance instead of the rollout. By default false. */
  readonly isInMaintenance?: boolean | undefined;
}

/**
 * Returns the tool's Service. The Service's selector decides which rollout gets the requests. During a maintenance, the
 * Service selects the pod with the page instead, and an annotation names the rollout.
 */
export function service({
  tool,
  namespace,
  rolloutId,
  isInMaintenance = false,
}: TrafficOptions): Applied<V1Service> {
  const id = rolloutId ?? NO_ROLLOUT;
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name: tool,
      namespace,
      labels: { ...toolLabels(tool), 'app.kubernetes.io/component': 'web' },
      ...(isInMaintenance ? { annotations: { [LABELS.rollout]: id } } : {}),
    },
    spec: {
      type: 'ClusterIP',
      selector: isInMaintenance
        ? maintenanceLabels(tool)
        : { toolforge: 'tool', [LABELS.rollout]: id, [LABELS.process]: 'web' },
      // `targetPort` has the name of the pods' port instead of its number, because a tool may choose the number.
      ports: [{ name: PORT_NAME, port: WEB_PORT, targetPort: PORT_NAME, protocol: 'TCP' }],
    },
  };
}

/** Returns the tool's public host, `TOOL.DOMAIN`. */
export function hostOf(tool: string, { domain }: Pick<ManifestConfig, 'domain'>): string {
  return `${tool}.${domain}`;
}

/**
 * True if the tool may have a web address. False if its host is this server's own, because the tool would then get the
 * passwords of people who push.
 */
export function hasAddress(tool: string, config: Pick<ManifestConfig, 'domain' | 'public_url'>): boolean {
  return !isOwnHost(hostOf(tool, config), config.public_url);
}

/**
 * Returns the name of the Secret with the certificate for the tool's Ingress. Empty if `ingress_tls_secret` is empty.
 */
export function tlsSecretOf(tool: string, config: Pick<ManifestConfig, 'ingress_tls_secret'>): string {
  return config.ingress_tls_secret.replace('TOOL', tool);
}

/** Returns the Ingress for the tool's public host, `TOOL.DOMAIN`. */
export function ingress(
  { tool, namespace }: Pick<TrafficOptions, 'tool' | 'namespace'>,
  config: Pick<ManifestConfig, 'domain' | 'ingress_class' | 'ingress_annotations' | 'ingress_tls_secret'>,
): Applied<V1Ingress> {
  const { ingress_class } = config;
  const host = hostOf(tool, config);
  const secretName = tlsSecretOf(tool, config);
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: {
      name: `${tool}-subdomain`,
      namespace,
      labels: { ...toolLabels(tool), 'app.kubernetes.io/component': 'web' },
      annotations: config.ingress_annotations,
    },
    spec: {
      ...(ingress_class === '' ? {} : { ingressClassName: ingress_class }),
      ...(secretName === '' ? {} : { tls: [{ hosts: [host], secretName }] }),
      rules: [
        {
          host,
          http: {
            paths: [
              {
                path: '/',
                pathType: 'Prefix',
                backend: { service: { name: tool, port: { number: WEB_PORT } } },
              },
            ],
          },
        },
      ],
    },
  };
}
