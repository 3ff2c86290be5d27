import type { V1Container } from '@kubernetes/client-node';
import type { Release } from '../../../core/types.ts';
import { memoryLimit, settingsOf } from '../../service-limits.ts';
import type { ManifestConfig } from './manifest-config.ts';

const MIB = 1024 * 1024;

/** Returns the resource limits of a process, and the resources that the cluster reserves for it. */
export function podResources(
  release: Release,
  type: string,
  config: ManifestConfig,
): V1Container['resources'] & object {
  const memory = memoryLimit(release, type, config.run_memory);
  const asked = settingsOf(release, type).cpuCores;
  const most = milliCores(config.pod_cpu);
  // The limit is at least 1, because Kubernetes takes a limit of 0 for no limit.
  const cpu = Math.max(1, Math.min(asked === undefined ? most : Math.round(asked * 1000), most));
  const disk = config.pod_disk === 0 ? {} : { 'ephemeral-storage': `${config.pod_disk / MIB}Mi` };
  const diskReserved = Math.min(config.pod_disk_reserved, config.pod_disk || Number.POSITIVE_INFINITY);
  return {
    limits: { cpu: `${cpu}m`, memory: `${Math.ceil(memory / MIB)}Mi`, ...disk },
    requests: {
      cpu: `${Math.min(milliCores(config.pod_cpu_reserved), cpu)}m`,
      memory: `${Math.ceil(reservedMemory(memory, config) / MIB)}Mi`,
      // If no amount were set here, Kubernetes would reserve as much disk as the limit allows.
      'ephemeral-storage': `${diskReserved / MIB}Mi`,
    },
  };
}

/**
 * Returns how many bytes of memory are reserved for a process: `pod_memory_reserved` percent of its limit. If that
 * setting is 0, the whole limit is reserved if it is at most 512 MiB, otherwise half of it. Toolforge does the same.
 */
function reservedMemory(bytes: number, { pod_memory_reserved }: ManifestConfig): number {
  if (pod_memory_reserved > 0) return (bytes * pod_memory_reserved) / 100;
  return bytes <= 512 * MIB ? bytes : bytes / 2;
}

/** Converts a quantity of processor time to thousandths of a core: `500m` or `0.5` becomes 500. */
export function milliCores(quantity: string): number {
  return quantity.endsWith('m') ? Number(quantity.slice(0, -1)) : Math.round(Number(quantity) * 1000);
}
