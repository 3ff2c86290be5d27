import { DeployError } from '../../../core/errors.ts';
import { duration } from '../../../core/text/duration.ts';
import { type PodFault, PUSH_AGAIN } from '../../../kubernetes/faults/pod-faults.ts';
import { registryTrouble } from '../../../kubernetes/faults/registry-trouble.ts';
import { outOfDisk, type StepLimits, stepFailed } from '../../build-failures.ts';
import { registryUnavailable } from '../../registry/registry-requests.ts';
import { NO_SOURCE, type Phase } from '../job/build-job.ts';
import type { ContainerEnd } from '../job/build-pod.ts';

/** The names of the steps of a build in messages. */
export const PHASE_WORDS: Readonly<Record<Phase, string>> = {
  fetch: 'fetching the source and the cache',
  build: 'the build',
  export: 'storing the image',
};

const NOT_YOURS = 'This is not your tool’s fault: push again.';

/** The name of the first part of the step `build` in messages. */
export const DETECTION = 'detection';

/** The name of the step in messages while a build waits because its namespace is full. */
export const ROOM_WORDS = 'waiting for other builds to end';

/** The error of a failed step that runs no buildpack. */
export function phaseFailed(options: {
  readonly phase: Exclude<Phase, 'build'>;
  readonly end: ContainerEnd;
  /** The last lines of the step's output, with secrets masked. */
  readonly lines: readonly string[];
  readonly registryHost: string;
  readonly limits: StepLimits;
}): DeployError {
  const { phase, end, lines, registryHost, limits } = options;
  const isSourceMissing = end.exitCode === NO_SOURCE;
  const stepName = phase === 'fetch' && !isSourceMissing ? 'looking at the registry' : PHASE_WORDS[phase];
  if (end.isOutOfMemory) {
    return stepFailed(
      { name: stepName, code: end.exitCode, signal: null, isOutOfMemory: true, lastLines: [] },
      limits,
    );
  }
  const reason = lastWords(lines);
  const cause = { cause: new Error(`${phase} exited ${end.exitCode}: ${reason}`) };
  if (phase === 'fetch' && isSourceMissing) {
    return new DeployError(
      'BUILD_SOURCE',
      `the build could not fetch the source from this server: ${reason || 'it printed no reason'}`,
      'This is not your tool’s fault: push again. Operators: source_url must lead from the cluster to sources_listen or, if sources_listen is not set, to the HTTP server.',
      cause,
    );
  }
  if (/no space left|disk quota exceeded/i.test(reason))
    return outOfDisk(limits.fileBytes, 'the layers of the image');
  const trouble = registryTrouble(reason, ['full', 'refused', 'unreachable', 'untrusted', 'failing']);
  if (trouble === 'full') {
    return new DeployError(
      'REGISTRY_FULL',
      `the registry ${registryHost} has no room for the image: ${reason}`,
      'Make the tool smaller (a .slugignore leaves files of the repository out), or ask the operator for more room in the registry.',
      cause,
    );
  }
  if (trouble === 'refused') {
    return new DeployError(
      'REGISTRY_REFUSED',
      `the registry ${registryHost} refused the build while ${stepName}: ${reason}`,
      'This is not your tool’s fault. Operators: check the setting registry_secret and the rights of its account.',
      cause,
    );
  }
  if (trouble !== null) return registryUnavailable(registryHost, reason, cause.cause);
  return new DeployError(
    'BUILD_FAILED',
    `${stepName} failed (exit status ${end.exitCode}): ${reason || 'it printed no reason'}`,
    'This is not your tool’s fault: push again. If it happens again, tell the operator.',
    cause,
  );
}

/** The error of a build whose pod cannot continue or was never made. */
export function podFailed(
  fault: PodFault,
  during: string,
  limits: { readonly diskBytes: number; readonly memoryBytes: number },
  /**
   * Only for the fault `QUOTA`: how many milliseconds the build was allowed to wait for room. 0 if the whole quota is
   * too small for one build.
   */
  waitedMs = 0,
): DeployError {
  if (fault.code === 'QUOTA') return noRoomForBuilds(fault.words, waitedMs);
  if (fault.code === 'EVICTED' && /wrote more than/.test(fault.words)) {
    return outOfDisk(limits.diskBytes, `what was written during ${during}`);
  }
  const hints: Partial<Record<PodFault['code'], string>> = {
    UNSCHEDULABLE:
      'Push again when there is room, or ask the operator: build_memory and build_cpu say what a build asks for.',
    IMAGE_PULL:
      'This is not your tool’s fault: push again. Operators: see builder_image and registry_secret.',
    EVICTED: NOT_YOURS,
    NODE_LOST: NOT_YOURS,
    DEADLINE: PUSH_AGAIN,
  };
  return new DeployError(
    fault.code === 'REFUSED' ? 'BUILD_REFUSED' : `BUILD_${fault.code}`,
    `the build, during ${during}, ${fault.words}`,
    hints[fault.code] ?? fault.hint,
  );
}

/** The error of a build that somebody else deleted. */
export function buildGone(during: string): DeployError {
  return new DeployError(
    'BUILD_GONE',
    `the build was deleted from the cluster during ${during}`,
    'Push again; if it happens again, tell the operator that something deletes pods of builds.',
  );
}

/** The error if the build namespace does not exist or is being deleted. @param cause - The error of the cluster. */
export function buildNamespaceUnusable(namespace: string, cause: DeployError): DeployError {
  const isLeaving = cause.code === 'NAMESPACE_LEAVING';
  return new DeployError(
    'BUILD_NAMESPACE',
    `the namespace for builds, ${namespace}, ${isLeaving ? 'is being deleted' : 'does not exist'}`,
    'This is not your tool’s fault: tell the operator. Operators: create the namespace, or name another in the setting build_namespace.',
    { cause },
  );
}

/**
 * The error of a build that does not fit into the quota of the build namespace.
 *
 * @param noRoom - Words such as `finds no room in the quota builds (…)`, which continue `the build`.
 * @param limitMs - How many milliseconds the build could wait for room. 0 if the build can never fit.
 */
export function noRoomForBuilds(noRoom: string, limitMs: number, cause?: unknown): DeployError {
  const isTooSmall = limitMs === 0;
  return new DeployError(
    'BUILD_QUOTA',
    `the build ${noRoom} of the build namespace${isTooSmall ? '; this quota is too small for one build' : ` within ${duration(limitMs)}`}`,
    `This is not your tool’s fault: ${isTooSmall ? 'tell the operator' : 'push again later'}. Operators: the quota must have room for concurrent_deployments builds; build_memory, build_cpu and build_disk set how much one build asks for.`,
    cause === undefined ? {} : { cause },
  );
}

/** The line that most likely gives the reason, without the prefix of a program, such as `ERROR: ` or `tar: `. */
function lastWords(lines: readonly string[]): string {
  const telling = lines.filter((line) => /\p{L}/u.test(line) && !/^tar: (Exiting|Error is not)/.test(line));
  const error = telling.findLast((line) => /^(ERROR|curl|tar|bash)\b/.test(line)) ?? telling.at(-1) ?? '';
  const text = error.replace(/^ERROR: (failed to )?/, '').replace(/^(curl|tar): /, '');
  return (text.length > 300 ? `${text.slice(0, 300)}…` : text).replace(/\.$/, '');
}
