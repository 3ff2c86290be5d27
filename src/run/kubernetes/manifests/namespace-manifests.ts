import type { V1LimitRange, V1Namespace, V1ResourceQuota } from '@kubernetes/client-node';
import type { Applied } from '../../../kubernetes/apply.ts';
import type { ManifestConfig } from './manifest-config.ts';
import { toolLabels } from './pod-manifest.ts';
import { milliCores } from './pod-resources.ts';

/**
 * The label of a namespace that this server created. The server sets a quota only in such a namespace, and sets none if
 * `namespace_pods` is 0. If the settings change, the next rollout changes the quota too, unless somebody else has
 * changed the quota.
 */
const LIMITS = 'push.toolforge.org/limits';
const NAME = 'toolforge-push';
const MIB = 1024 * 1024;

type LimitConfig = Pick<
  ManifestConfig,
  'namespace_pods' | 'run_memory' | 'pod_cpu' | 'pod_cpu_reserved' | 'pod_disk' | 'pod_disk_reserved'
>;

/** Returns the namespace of a tool, for a server that creates namespaces itself. */
export function toolNamespace(tool: string, namespace: string): Applied<V1Namespace> {
  return {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: {
      name: namespace,
      labels: {
        ...toolLabels(tool),
        'pod-security.kubernetes.io/enforce': 'restricted',
        [LIMITS]: 'true',
      },
    },
  };
}

/**
 * True if this server created the namespace and may set a quota in it. False if the platform or an older version of
 * this server created the namespace. This server then sets no quota, because the tool may already use more than the
 * quota allows.
 */
export function hasOwnLimits({ metadata }: V1Namespace): boolean {
  return metadata?.labels?.[LIMITS] === 'true';
}

/**
 * Returns a quota that has room for `namespace_pods` pods, each with the memory `run_memory` and the CPU `pod_cpu`.
 * Also returns default limits for containers that set no limits. Returns nothing if `namespace_pods` is 0.
 */
export function namespaceLimits(
  tool: string,
  namespace: string,
  config: LimitConfig,
): readonly [Applied<V1ResourceQuota>, Applied<V1LimitRange>] | readonly [] {
  const { namespace_pods: pods, run_memory, pod_disk } = config;
  if (pods === 0) return [];
  const memory = Math.ceil(run_memory / MIB);
  const cpu = milliCores(config.pod_cpu);
  const disk = pod_disk === 0 ? {} : { 'ephemeral-storage': `${pod_disk / MIB}Mi` };
  const metadata = { name: NAME, namespace, labels: toolLabels(tool) };
  return [
    {
      apiVersion: 'v1',
      kind: 'ResourceQuota',
      metadata,
      spec: {
        hard: { pods: String(pods), 'limits.cpu': `${pods * cpu}m`, 'limits.memory': `${pods * memory}Mi` },
      },
    },
    {
      apiVersion: 'v1',
      kind: 'LimitRange',
      metadata,
      spec: {
        limits: [
          {
            type: 'Container',
            _default: { cpu: `${cpu}m`, memory: `${memory}Mi`, ...disk },
            defaultRequest: {
              cpu: `${Math.min(milliCores(config.pod_cpu_reserved), cpu)}m`,
              memory: `${memory}Mi`,
              'ephemeral-storage': `${config.pod_disk_reserved / MIB}Mi`,
            },
          },
        ],
      },
    },
  ];
}
