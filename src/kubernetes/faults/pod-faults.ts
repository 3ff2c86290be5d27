import type { CoreV1Event, V1ContainerStatus, V1Pod } from '@kubernetes/client-node';
import { signalName } from '../../core/text/signal-name.ts';
import { refusalIn } from './api-refusals.ts';
import { amountWords, quotaFaultWords, quotaRefusal } from './quota-words.ts';
import { registryTrouble } from './registry-trouble.ts';

/** Describes to people why a pod does not run. */
export interface PodFault {
  readonly code:
    | 'OUT_OF_MEMORY'
    | 'EVICTED'
    | 'UNSCHEDULABLE'
    | 'IMAGE_PULL'
    | 'EXITED'
    | 'BAD_CONTAINER'
    | 'NODE_LOST'
    | 'DEADLINE'
    | 'QUOTA'
    | 'REFUSED';
  /** What happened, as a sentence without its subject and full stop: `exited with code 1`. */
  readonly words: string;
  /** What the reader of the message can do now, as a full sentence. */
  readonly hint: string;
  /** The name of the faulty container. Null if the whole pod is at fault. */
  readonly container: string | null;
  /** The exit code of the container. Null unless the fault is that a container ended. */
  readonly exitCode: number | null;
  /** True if the fault may pass by itself: a pull is retried, or a node gets free resources. */
  readonly mayPass: boolean;
}

const OPERATOR = 'Tell the operator this message.';
/** The hint for a fault that the tool did not cause. */
export const PUSH_AGAIN = 'Push again; if the push fails again, tell the operator.';

/**
 * Returns the first fault of a pod. Null if it has none. An exit with code 0 is no fault, unless the pod must stay up.
 *
 * @param events - The events of this pod. They say more than the pod's status if an image cannot be pulled or a volume
 * cannot be mounted.
 */
export function podFault(pod: V1Pod, events: readonly CoreV1Event[] = []): PodFault | null {
  return (
    ofWholePod(pod) ??
    unschedulable(pod) ??
    statuses(pod).reduce<PodFault | null>((found, status) => found ?? ofContainer(status, pod, events), null)
  );
}

function ofWholePod({ status, metadata }: V1Pod): PodFault | null {
  const { reason = '', message = '' } = status ?? {};
  switch (reason) {
    case 'Evicted':
      return fault('EVICTED', evictedWords(message), evictedHint(message));
    case 'DeadlineExceeded':
      return fault(
        'DEADLINE',
        'took longer than allowed and was ended',
        'Make the command do less, or ask the operator for more time.',
      );
    case 'NodeLost':
    case 'NodeShutdown':
    case 'Terminated':
      return fault('NODE_LOST', `was ended because its node went away (${reason})`, 'Push again.');
    default:
  }
  const disrupted = status?.conditions?.find(
    ({ type, status: is }) => type === 'DisruptionTarget' && is === 'True',
  );
  if (disrupted !== undefined && metadata?.deletionTimestamp !== undefined) {
    return fault(
      'NODE_LOST',
      `was ended because the cluster removed it from its node (${disrupted.reason})`,
      'Push again.',
    );
  }
  return null;
}

// The kubelet writes, for example: `Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. `
function evictedWords(message: string): string {
  const limit =
    /(?:storage usage exceeds the total limit of containers|exceeds its local ephemeral storage limit) "?([^\s".]+)/.exec(
      message,
    )?.[1];
  if (limit !== undefined) return `was ended because it wrote more than ${limit} to disk`;
  const volume = /Usage of EmptyDir volume "([^"]+)" exceeds the limit "([^"]+)"/.exec(message);
  if (volume !== null) return `was ended because it wrote more than ${volume[2]} to its volume ${volume[1]}`;
  const low = /node was low on resource: ([-a-z]+)/.exec(message)?.[1];
  if (low !== undefined) return `was ended because its node ran out of ${low}`;
  return `was evicted from its node: ${message.trim()}`;
}

function evictedHint(message: string): string {
  return /low on resource/.test(message)
    ? PUSH_AGAIN
    : 'Make the process write less or delete files that it no longer needs, or ask the operator for more disk.';
}

function unschedulable(pod: V1Pod): PodFault | null {
  const scheduled = pod.status?.conditions?.find(({ type }) => type === 'PodScheduled');
  if (scheduled?.status !== 'False' || scheduled.reason !== 'Unschedulable') return null;
  const words = `finds no room in the cluster: it asks for ${askedFor(pod)}; ${nodeWords(scheduled.message ?? '')}`;
  return fault(
    'UNSCHEDULABLE',
    words,
    'Ask for less (cpu and mem in service.template), or push again when the cluster has more room.',
    { mayPass: true },
  );
}

function askedFor({ spec }: V1Pod): string {
  const asked = (spec?.containers ?? []).flatMap(({ resources }) =>
    Object.entries(resources?.requests ?? {}),
  );
  const words = asked.map(([name, quantity]) => `${amountWords(name, quantity)} of ${name}`);
  return words.join(', ') || 'no amount in particular';
}

// The scheduler writes, for example: `0/3 nodes are available: 1 Insufficient cpu, 2 Insufficient memory. preemption:
// …`
function nodeWords(message: string): string {
  const match =
    /^0\/(\d+) nodes are available: (.*?)\.?( (?:no new claims|preemption|preemption not).*)?$/s.exec(
      message,
    );
  if (match === null) return message;
  const reasons = (match[2] ?? '').replace(/Insufficient ([^\s,.]+)/g, 'with too little $1 left');
  return `of ${match[1]} node${match[1] === '1' ? '' : 's'}: ${reasons}`;
}

function ofContainer(status: V1ContainerStatus, pod: V1Pod, events: readonly CoreV1Event[]): PodFault | null {
  const about = { container: status.name };
  const { waiting, terminated } = status.state ?? {};
  switch (waiting?.reason) {
    case 'ErrImagePull':
    case 'ImagePullBackOff':
    case 'InvalidImageName':
    case 'ErrImageNeverPull':
    case 'RegistryUnavailable': {
      const said = events.findLast(({ message = '' }) => message.startsWith('Failed to pull image'));
      const why = pullFault(said?.message ?? waiting.message ?? '');
      const words = `cannot start: the image ${status.image || imageOf(pod, status.name)} cannot be pulled (${why.words})`;
      const hint = 'If the registry was down, push again; if it happens again, tell the operator.';
      return fault('IMAGE_PULL', words, hint, { ...about, mayPass: why.mayPass });
    }
    case 'CreateContainerConfigError':
    case 'CreateContainerError':
    case 'RunContainerError': {
      if (status.lastState?.terminated !== undefined) break;
      const words = `cannot be started: ${(waiting.message ?? waiting.reason).trim()}`;
      // With this message, the kubelet was too busy to fetch the Secret or ConfigMap in time. The kubelet retries, so
      // this fault may pass.
      const mayPass = /^failed to sync (secret|configmap) cache/.test(waiting.message ?? '');
      return fault('BAD_CONTAINER', words, OPERATOR, { ...about, mayPass });
    }
    default:
  }
  // The kubelet mounts volumes before it pulls images, so FailedMount is the newest of these three events only while a
  // mount fails.
  const step = events.findLast(({ reason = '' }) => /^(FailedMount|Pulling|Pulled)$/.test(reason));
  if (waiting !== undefined && step?.reason === 'FailedMount') {
    const words = `cannot be started: ${(step.message ?? '').trim()}`;
    return fault('BAD_CONTAINER', words, OPERATOR, { ...about, mayPass: true });
  }
  const ended = terminated ?? (status.restartCount > 0 ? status.lastState?.terminated : undefined);
  if (ended === undefined) return null;
  if (ended.exitCode === 0 && comesToAnEnd(pod, status.name)) return null;
  return { ...exited(ended.exitCode, ended.reason, ended.signal), ...about };
}

/** True if this container is expected to end by itself. */
function comesToAnEnd({ spec }: V1Pod, container: string): boolean {
  const isInit = spec?.initContainers?.some(({ name }) => name === container) ?? false;
  return isInit || spec?.restartPolicy !== 'Always';
}

function exited(exitCode: number, reason = '', signal?: number): PodFault {
  const about = { exitCode };
  if (reason === 'OOMKilled') {
    const hint =
      'Make the process need less memory, ask for more memory (mem in service.template), or ask the operator for more.';
    return fault('OUT_OF_MEMORY', 'was ended because it needed more memory than it may use', hint, about);
  }
  if (reason === 'StartError' || reason === 'ContainerCannotRun') {
    return fault('BAD_CONTAINER', 'cannot be started: its command is not in the image', OPERATOR, about);
  }
  if (reason === 'ContainerStatusUnknown') {
    return fault('NODE_LOST', 'was ended, and its node cannot say how', 'Push again.', about);
  }
  const number =
    signal !== undefined && signal !== 0 ? signal : exitCode > 128 && exitCode < 160 ? exitCode - 128 : 0;
  const words =
    number === 0 ? `exited with code ${exitCode}` : `was ended by the signal ${signalName(number) ?? number}`;
  return fault(
    'EXITED',
    words,
    'The last output of the process, if any, is above. Fix the error and push again.',
    about,
  );
}

function pullFault(message: string): { words: string; mayPass: boolean } {
  switch (registryTrouble(message, ['untrusted', 'unreachable', 'refused', 'missing', 'failing'])) {
    case 'untrusted':
      return { words: "the cluster does not trust the registry's certificate", mayPass: false };
    case 'unreachable':
      return { words: 'the registry cannot be reached', mayPass: true };
    case 'refused':
      return { words: 'the registry does not let the cluster read it', mayPass: false };
    case 'missing':
      return { words: 'the registry does not have it', mayPass: false };
    case 'failing':
      return { words: 'the registry has an error', mayPass: true };
    default:
  }
  if (/InvalidImageName|invalid reference/i.test(message))
    return { words: 'its name is not a valid image name', mayPass: false };
  const words = message.replace(/\s+/g, ' ').slice(0, 300) || 'the cluster does not say why';
  return { words, mayPass: true };
}

function imageOf({ spec }: V1Pod, container: string): string {
  const all = [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])];
  return all.find(({ name }) => name === container)?.image ?? '';
}

function statuses({ status }: V1Pod): V1ContainerStatus[] {
  return [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])];
}

/** Explains why a controller creates no pod, from the message of the controller. */
export function creationFault(message: string): PodFault {
  const quota = quotaRefusal(message);
  if (quota !== null) {
    return fault('QUOTA', quotaFaultWords(quota), OPERATOR, { mayPass: quota.canFit });
  }
  const refusal = refusalIn(message);
  // If the message is no known refusal, the fault may pass, because the next attempt of the controller may succeed. For
  // example, the service account of a new namespace may not exist yet.
  const mayPass = refusal === null;
  return fault('REFUSED', `cannot be made: ${refusal?.message ?? message}`, refusal?.hint ?? OPERATOR, {
    mayPass,
  });
}

function fault(
  code: PodFault['code'],
  words: string,
  hint: string,
  more: Partial<Pick<PodFault, 'container' | 'exitCode' | 'mayPass'>> = {},
): PodFault {
  // Remove a full stop at the end of `words`, which may quote a sentence of the cluster. The words of a fault have no
  // full stop.
  return {
    code,
    words: words.replace(/\.$/, ''),
    hint,
    container: null,
    exitCode: null,
    mayPass: false,
    ...more,
  };
}
