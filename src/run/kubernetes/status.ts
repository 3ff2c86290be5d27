import type { V1Deployment } from '@kubernetes/client-node';
import type { Process, Release } from '../../core/types.ts';
import { FIELD_MANAGER } from '../../kubernetes/applying.ts';
import { podFault } from '../../kubernetes/pod-faults.ts';
import { refusalIn } from '../../kubernetes/refusals.ts';
import { commandLine } from '../command-line.ts';
import { exitWords } from '../exit-words.ts';
import type { ProcessState, ProcessStatus } from '../runtime.ts';
import { memoryLimit } from '../service-limits.ts';
import { exitOf, lastEnd, pauseWords } from './exit.ts';
import { LABELS } from './names.ts';
import type { ToolPod } from './pods.ts';

export interface StatusParts {
  readonly runMemory: number;
  /** Of a rollout that this server knows; null = of another. */
  readonly release: (rolloutId: string) => Release | null;
  /** Whether a rollout is being drained. */
  readonly isDraining: (rolloutId: string) => boolean;
}

/** What runs of a tool and what should and does not, for people. */
export function toolStatus(
  pods: readonly ToolPod[],
  deployments: readonly V1Deployment[],
  parts: StatusParts,
): ProcessStatus[] {
  const ofPod = (pod: ToolPod): V1Deployment | null =>
    deployments.find(
      ({ metadata }) =>
        metadata?.labels?.[LABELS.rollout] === pod.rolloutId && metadata.labels[LABELS.process] === pod.type,
    ) ?? null;
  const missing = deployments.filter(
    (deployment) =>
      !parts.isDraining(deployment.metadata?.labels?.[LABELS.rollout] ?? '') &&
      !pods.some((pod) => ofPod(pod) === deployment) &&
      // Scaled to none, as its maintainers want it; where somebody else did it, they are told.
      !(deployment.spec?.replicas === 0 && foreignChange(deployment) === null),
  );
  return [
    ...pods.map((pod) => podStatus(pod, ofPod(pod), parts)),
    ...missing.map((deployment) => missingStatus(deployment, parts)),
  ];
}

/** What a pod is, for people. */
export function podStatus(pod: ToolPod, deployment: V1Deployment | null, parts: StatusParts): ProcessStatus {
  const state = stateOf(pod, parts);
  const details = [detailOf(pod, state, parts), deployment === null ? null : foreignChange(deployment)];
  const started = pod.container?.state?.running?.startedAt ?? pod.pod.metadata?.creationTimestamp;
  return {
    name: pod.name,
    version: pod.version,
    state,
    command: commandOf(parts.release(pod.rolloutId), pod.type),
    startedAt: started === undefined ? 0 : new Date(started).getTime(),
    restarts: pod.container?.restartCount ?? 0,
    detail: details.filter((detail) => detail !== null).join('; ') || null,
  };
}

/** A process that should run and has no pod at all, for people. */
export function missingStatus(deployment: V1Deployment, parts: StatusParts): ProcessStatus {
  const { labels = {}, creationTimestamp } = deployment.metadata ?? {};
  const type = labels[LABELS.process] ?? '';
  const failure = deployment.status?.conditions?.find(
    ({ type: condition, status }) => condition === 'ReplicaFailure' && status === 'True',
  );
  const why =
    failure === undefined ? null : (refusalIn(failure.message ?? '')?.message ?? failure.message ?? null);
  const isOff = deployment.spec?.replicas === 0;
  const details = [isOff ? 'set to run 0 times' : why, foreignChange(deployment)];
  return {
    name: `${type}.1`,
    version: Number(labels[LABELS.version] ?? 0),
    state: isOff || why !== null ? 'crashed' : 'starting',
    command: commandOf(parts.release(labels[LABELS.rollout] ?? ''), type),
    startedAt: creationTimestamp === undefined ? 0 : new Date(creationTimestamp).getTime(),
    restarts: 0,
    detail: details.filter((detail) => detail !== null).join('; ') || null,
  };
}

/** Who else has changed what a Deployment runs: `changed by kubectl-edit`; null = nobody. */
export function foreignChange({ metadata }: V1Deployment): string | null {
  const others = (metadata?.managedFields ?? [])
    .filter(
      ({ manager, subresource, fieldsV1 }) =>
        manager !== FIELD_MANAGER &&
        manager !== 'kube-controller-manager' &&
        subresource !== 'status' &&
        fieldsV1 !== undefined &&
        'f:spec' in fieldsV1,
    )
    .map(({ manager, subresource }) => `${manager}${subresource === undefined ? '' : ` (${subresource})`}`);
  return others.length === 0 ? null : `changed outside of this server by ${[...new Set(others)].join(', ')}`;
}

function stateOf(pod: ToolPod, { isDraining }: StatusParts): ProcessState {
  if (pod.isLeaving || isDraining(pod.rolloutId)) return 'stopping';
  const { waiting, terminated } = pod.container?.state ?? {};
  if (terminated !== undefined || waiting?.reason === 'CrashLoopBackOff') return 'crashed';
  const fault = podFault(pod.pod);
  if (fault !== null && pod.container?.state?.running === undefined) return 'crashed';
  return pod.isReady ? 'up' : 'starting';
}

function detailOf(pod: ToolPod, state: ProcessState, { release, runMemory }: StatusParts): string | null {
  const known = release(pod.rolloutId);
  const end = lastEnd(pod.container);
  if (state === 'crashed' && end !== null) {
    const memory = known === null ? runMemory : memoryLimit(known, pod.type, runMemory);
    return `${exitWords(exitOf(end), memory)}; starting again in ${pauseWords(pod.container)}`;
  }
  if (state === 'crashed') return podFault(pod.pod)?.words ?? null;
  const isUnanswered = state === 'starting' && pod.container?.started === true;
  return isUnanswered ? 'does not pass its health check' : null;
}

function commandOf(release: Release | null, type: string): string {
  const process = release?.artifact.processes.find((one: Process) => one.type === type);
  return process === undefined ? `/cnb/process/${type}` : commandLine(process);
}
