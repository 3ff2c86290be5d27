import { mebibytes } from '../core/text/mebibytes.ts';
import type { Release, ServiceSettings } from '../core/types.ts';

/**
 * Returns how many bytes of memory a process of the release may use. This is the operator's limit or, for a web
 * process, the tool's own request if that is lower.
 */
export function memoryLimit(release: Release, processType: string, runMemory: number): number {
  const asked = processType === 'web' ? release.artifact.service.memoryBytes : undefined;
  return Math.min(asked ?? runMemory, runMemory);
}

/** Returns a sentence for each request in the tool's file service.template that this machine does not fully grant. */
export function unfulfilled(service: ServiceSettings, runMemory: number): string[] {
  const { memoryBytes, cpuCores } = service;
  const sentences = tooMuchMemory(memoryBytes, runMemory);
  if (cpuCores !== undefined) {
    sentences.push('cpu of service.template has no effect here: tools share the processors of this machine.');
  }
  return sentences;
}

/** Returns one sentence if service.template asks for more memory than the operator allows. Otherwise returns none. */
export function tooMuchMemory(memoryBytes: number | undefined, runMemory: number): string[] {
  if (memoryBytes === undefined || memoryBytes <= runMemory) return [];
  return [
    `mem of service.template asks for ${mebibytes(memoryBytes)}, but a process gets at most ${mebibytes(runMemory)} here (run_memory).`,
  ];
}
