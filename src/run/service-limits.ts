import { mebibytes } from '../core/text/mebibytes.ts';
import type { ProcessSettings, Release } from '../core/types.ts';

/** Returns the settings that the tool's files give to a process type. Sizes that `scale` has set override them. */
export function settingsOf({ artifact, sizes = {} }: Release, processType: string): ProcessSettings {
  const own =
    processType === 'web'
      ? artifact.service
      : artifact.processes.find(({ type }) => type === processType)?.settings;
  return { ...own, ...(Object.hasOwn(sizes, processType) ? sizes[processType] : {}) };
}

/**
 * Returns how many bytes of memory a process of the release may use. This is what the tool asks for, or the operator's
 * limit if the tool asks for nothing or for more.
 */
export function memoryLimit(release: Release, processType: string, runMemory: number): number {
  const most = mostMemory(release, runMemory);
  return Math.min(settingsOf(release, processType).memoryBytes ?? most, most);
}

/** The operator's limit for the memory of one process of this tool, in bytes. */
export function mostMemory({ mostMemoryBytes }: Release, runMemory: number): number {
  return mostMemoryBytes ?? runMemory;
}

/**
 * Returns a warning if the tool asks for more memory than its processes get, and a warning if it asks for cpu, which
 * has no effect on this machine.
 */
export function unfulfilled(release: Release, runMemory: number): string[] {
  const types = typesThat(release, ({ cpuCores }) => cpuCores !== undefined);
  return [
    ...tooMuchMemory(release, runMemory),
    ...(types.length === 0
      ? []
      : [`cpu (${types.join(', ')}) has no effect here: tools share the processors of this machine.`]),
  ];
}

/** Returns one warning if the tool asks for more memory than the operator allows. Otherwise returns none. */
export function tooMuchMemory(release: Release, runMemory: number): string[] {
  const most = mostMemory(release, runMemory);
  const types = typesThat(release, ({ memoryBytes = 0 }) => memoryBytes > most);
  if (types.length === 0) return [];
  const asked = types.map((type) => `${type} ${mebibytes(settingsOf(release, type).memoryBytes ?? 0)}`);
  return [
    `The tool asks for more memory than a process gets here, ${mebibytes(most)} (run_memory): ${asked.join(', ')}.`,
  ];
}

/** Returns the process types of a release whose settings meet a condition. */
export function typesThat(release: Release, meets: (settings: ProcessSettings) => boolean): string[] {
  return release.artifact.processes
    .map(({ type }) => type)
    .filter((type) => meets(settingsOf(release, type)));
}
