import { mebibytes } from '../core/text/mebibytes.ts';
import type { Release, ServiceSettings } from '../core/types.ts';

/**
 * Bytes of memory that a process of the release may use: the operator's limit or, for web, less if the tool asks for
 * less.
 */
export function memoryLimit(release: Release, processType: string, runMemory: number): number {
  const asked = processType === 'web' ? release.artifact.service.memoryBytes : undefined;
  return Math.min(asked ?? runMemory, runMemory);
}

/** Sentences about requests of service.template that this machine does not fulfil. */
export function unfulfilled(service: ServiceSettings, runMemory: number): string[] {
  const { memoryBytes, cpuCores } = service;
  const sentences = tooMuchMemory(memoryBytes, runMemory);
  if (cpuCores !== undefined) {
    sentences.push('cpu of service.template has no effect here: tools share the processors of this machine.');
  }
  return sentences;
}

/** A sentence if service.template asks for more memory than the operator allows; otherwise empty. */
export function tooMuchMemory(memoryBytes: number | undefined, runMemory: number): string[] {
  if (memoryBytes === undefined || memoryBytes <= runMemory) return [];
  return [
    `mem of service.template asks for ${mebibytes(memoryBytes)}: a process gets at most ${mebibytes(runMemory)} here (run_memory).`,
  ];
}
