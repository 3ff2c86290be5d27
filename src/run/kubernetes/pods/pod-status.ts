import type { V1CronJob, V1Deployment, V1ObjectMeta } from '@kubernetes/client-node';
import type { Process, Release } from '../../../core/types.ts';
import { FIELD_MANAGER } from '../../../kubernetes/apply.ts';
import { refusalIn } from '../../../kubernetes/faults/api-refusals.ts';
import { podFault } from '../../../kubernetes/faults/pod-faults.ts';
import { commandLine } from '../../command-line.ts';
import type { LastExit, ProcessState, ProcessStatus } from '../../runtime.ts';
import { memoryLimit } from '../../service-limits.ts';
import { exitWords } from '../../words/exit-words.ts';
import { LABELS, type Rollout } from '../manifests/object-names.ts';
import { labelValue } from '../manifests/pod-manifest.ts';
import { endedAt, exitOf, lastEnd, pauseWords } from './container-exit.ts';
import type { ToolPod } from './tool-pods.ts';

export interface StatusParts {
  readonly runMemory: number;
  /** Returns the memory that a pod uses, in bytes. Null if it is unknown. */
  readonly memoryOf?: (pod: ToolPod) => number | null;
  /** Returns the release of a rollout, or null if this server does not know the rollout. */
  readonly release: (rolloutId: string) => Release | null;
  /** True if the rollout gets no new requests and this server is ending it. */
  readonly isDraining: (rolloutId: string) => boolean;
}

/**
 * Returns the statuses that people see: one for each pod of a tool, and one for each Deployment that should have a pod
 * but has none.
 */
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
      // A process that this server has scaled to 0 is not shown. A process that somebody else has scaled to 0 is shown.
      !(deployment.spec?.replicas === 0 && foreignChange(deployment) === null),
  );
  return [
    ...pods.map((pod) => podStatus(pod, ofPod(pod), parts)),
    ...missing.map((deployment) => missingStatus(deployment, parts)),
  ];
}

/** Returns the status that people see of a pod. */
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
    memoryBytes: parts.memoryOf?.(pod) ?? null,
    lastExit: lastExitOf(pod, parts),
  };
}

/** Returns the status that people see of a Deployment that has no pod. */
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
    state: isOff ? 'off' : why !== null ? 'crashed' : 'starting',
    command: commandOf(parts.release(labels[LABELS.rollout] ?? ''), type),
    startedAt: creationTimestamp === undefined ? 0 : new Date(creationTimestamp).getTime(),
    restarts: 0,
    detail: details.filter((detail) => detail !== null).join('; ') || null,
  };
}

/**
 * Says, for people, which programs other than this server have changed the spec of a Deployment or CronJob. Null if
 * none has.
 */
export function foreignChange(object: V1Deployment | V1CronJob): string | null {
  const others = foreignManagers(object);
  return others === null ? null : `changed outside of this server by ${others}`;
}

/**
 * Names the programs other than this server and the cluster's own controller that have changed an object's spec:
 * `kubectl-edit, kubectl (scale)`. Null if none has.
 */
export function foreignManagers({ metadata }: V1Deployment | V1CronJob): string | null {
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
  const names = new Set(isScaled(metadata) ? [...others, 'somebody (scale)'] : others);
  return names.size === 0 ? null : [...names].join(', ');
}

/**
 * True if Kubernetes records no program as the manager of a Deployment's number of replicas (`managedFields`). Then
 * `kubectl scale` or an autoscaler has changed the number through the subresource `scale`. Such a change removes the
 * old manager of the field, and does not always name a new manager.
 */
function isScaled(metadata: V1ObjectMeta | undefined): boolean {
  const specs = (metadata?.managedFields ?? []).map(
    ({ fieldsV1 }) => (fieldsV1 as { 'f:spec'?: object } | undefined)?.['f:spec'] ?? {},
  );
  return specs.some((spec) => 'f:template' in spec) && !specs.some((spec) => 'f:replicas' in spec);
}

/** A remark that `ps` shows about a process. */
export interface ProcessNote {
  /**
   * The type of the processes that the remark is about, as `labelValue` writes it in a label. Null if it is about all
   * processes.
   */
  readonly type: string | null;
  readonly text: string;
}

/**
 * Adds remarks, for example about deleted objects, to the affected processes of the live release. Also adds processes
 * that have a remark but no object in the cluster.
 */
export function withNotes(
  statuses: readonly ProcessStatus[],
  live: Rollout | null,
  notes: readonly ProcessNote[],
): ProcessStatus[] {
  if (live === null) return [...statuses];
  const { release } = live;
  const ofLive = ({ version, state }: ProcessStatus) => version === release.version && state !== 'stopping';
  const told = statuses.map((status) => {
    if (!ofLive(status)) return status;
    const texts = notes
      .filter(({ type }) => type === null || typeOf(status) === type)
      .map(({ text }) => text);
    const detail = [status.detail, ...texts].filter((text) => text !== null).join('; ');
    return texts.length === 0 ? status : { ...status, detail };
  });
  const gone = release.artifact.processes.filter(({ type }) => {
    const label = labelValue(type);
    const isNoted = notes.some((note) => note.type === label);
    return isNoted && !statuses.some((status) => ofLive(status) && typeOf(status) === label);
  });
  const missing = gone.map((process): ProcessStatus => {
    const type = labelValue(process.type);
    const texts = notes.filter((note) => note.type === type).map(({ text }) => text);
    const command = commandLine(process);
    const { version } = release;
    const rest = { startedAt: 0, restarts: 0, detail: texts.join('; ') };
    return { name: `${type}.1`, version, state: 'crashed', command, ...rest };
  });
  return [...told, ...missing];
}

/** Returns the type of a process: `web` for `web.1`. */
function typeOf({ name }: ProcessStatus): string {
  return name.slice(0, name.lastIndexOf('.'));
}

function stateOf(pod: ToolPod, { isDraining }: StatusParts): ProcessState {
  if (pod.isTerminating || isDraining(pod.rolloutId)) return 'stopping';
  const { waiting, terminated } = pod.container?.state ?? {};
  if (terminated !== undefined || waiting?.reason === 'CrashLoopBackOff') return 'crashed';
  const fault = podFault(pod.pod);
  if (fault !== null && pod.container?.state?.running === undefined) return 'crashed';
  return pod.isReady ? 'up' : 'starting';
}

function detailOf(pod: ToolPod, state: ProcessState, parts: StatusParts): string | null {
  const last = lastExitOf(pod, parts);
  if (state === 'crashed' && last !== null)
    return `${last.words}; starting again in ${pauseWords(pod.container)}`;
  if (state === 'crashed') return podFault(pod.pod)?.words ?? null;
  const isUnanswered = state === 'starting' && pod.container?.started === true;
  return isUnanswered ? 'does not pass its health check' : null;
}

function lastExitOf(pod: ToolPod, { release, runMemory }: StatusParts): LastExit | null {
  const end = lastEnd(pod.container);
  if (end === null) return null;
  const known = release(pod.rolloutId);
  const memory = known === null ? runMemory : memoryLimit(known, pod.type, runMemory);
  return { at: endedAt(end), words: exitWords(exitOf(end), memory) };
}

/**
 * Returns the command of a process as text for people. Null if its release is unknown, or has no process of this type.
 *
 * @param type - The process type as `labelValue` writes it in a label.
 */
export function commandOf(release: Release | null, type: string): string | null {
  const process = release?.artifact.processes.find((one: Process) => labelValue(one.type) === type);
  return process === undefined ? null : commandLine(process);
}
