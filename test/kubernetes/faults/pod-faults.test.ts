import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { CoreV1Event, V1ContainerState, V1Pod } from '@kubernetes/client-node';
import { creationFault, podFault } from '../../../src/kubernetes/faults/pod-faults.ts';

interface Given {
  readonly state?: V1ContainerState;
  readonly lastState?: V1ContainerState;
  readonly restartPolicy?: string;
  readonly isInit?: boolean;
  readonly status?: V1Pod['status'];
}

function podOf({ state, lastState, restartPolicy = 'Always', isInit = false, status }: Given): V1Pod {
  const container = {
    name: 'job',
    image: 'r/tool-a@sha256:01',
    resources: { requests: { cpu: '100m', memory: '512Mi', 'ephemeral-storage': '536870912' } },
  };
  const one = {
    name: 'job',
    image: '',
    imageID: '',
    ready: false,
    restartCount: lastState === undefined ? 0 : 1,
    ...(state === undefined ? {} : { state }),
    ...(lastState === undefined ? {} : { lastState }),
  };
  const statuses = state === undefined && lastState === undefined ? [] : [one];
  return {
    metadata: { name: 'p' },
    spec: {
      restartPolicy,
      containers: [container],
      ...(isInit ? { initContainers: [container] } : {}),
    },
    status: {
      ...(isInit ? { initContainerStatuses: statuses } : { containerStatuses: statuses }),
      ...status,
    },
  };
}

const terminated = (exitCode: number, reason = 'Error', signal?: number) => ({
  terminated: { exitCode, reason, ...(signal === undefined ? {} : { signal }) },
});
const waiting = (reason: string, message = '') => ({ waiting: { reason, message } });
const failedPull = (message: string) =>
  ({ reason: 'Failed', message, involvedObject: {}, metadata: {} }) as CoreV1Event;

describe('faults of a pod', () => {
  for (const { name, given, events, code, words, passes } of [
    {
      name: 'out of memory',
      given: { state: terminated(137, 'OOMKilled') },
      code: 'OUT_OF_MEMORY',
      words: /more memory than it may use/,
    },
    {
      name: 'an exit with a code',
      given: { state: terminated(3) },
      code: 'EXITED',
      words: /^exited with code 3$/,
    },
    {
      name: 'an exit before the restart',
      given: { state: waiting('CrashLoopBackOff', 'back-off 10s'), lastState: terminated(1) },
      code: 'EXITED',
      words: /^exited with code 1$/,
    },
    {
      name: 'a signal that stands only in the exit code',
      given: { state: terminated(139) },
      code: 'EXITED',
      words: /^was ended by the signal SIGSEGV$/,
    },
    {
      name: 'an end of a process that must stay up',
      given: { state: terminated(0, 'Completed') },
      code: 'EXITED',
      words: /^exited with code 0$/,
    },
    {
      name: 'a pod that wrote too much to disk',
      given: {
        status: {
          phase: 'Failed',
          reason: 'Evicted',
          message: 'Pod ephemeral local storage usage exceeds the total limit of containers 100Mi. ',
        },
      },
      code: 'EVICTED',
      words: /^was ended because it wrote more than 100Mi to disk$/,
    },
    {
      name: 'a node that ran full',
      given: {
        status: {
          phase: 'Failed',
          reason: 'Evicted',
          message: 'The node was low on resource: ephemeral-storage. Threshold quantity: 1, available: 0.',
        },
      },
      code: 'EVICTED',
      words: /^was ended because its node ran out of ephemeral-storage$/,
    },
    {
      name: 'no node with enough room',
      given: {
        status: {
          conditions: [
            {
              type: 'PodScheduled',
              status: 'False',
              reason: 'Unschedulable',
              message:
                '0/3 nodes are available: 1 Insufficient cpu, 2 Insufficient memory. preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod.',
            },
          ],
        },
      },
      code: 'UNSCHEDULABLE',
      words:
        /^finds no room in the cluster: it asks for 100m of cpu, 512 MiB of memory, 512 MiB of ephemeral-storage; of 3 nodes: 1 with too little cpu left, 2 with too little memory left$/,
      passes: true,
    },
    {
      name: 'an image that does not exist',
      given: { state: waiting('ImagePullBackOff', 'Back-off pulling image "r/tool-a@sha256:01"') },
      events: [
        failedPull(
          'Failed to pull image "r/tool-a@sha256:01": rpc error: code = NotFound desc = … not found',
        ),
      ],
      code: 'IMAGE_PULL',
      words:
        /^cannot start: the image r\/tool-a@sha256:01 cannot be pulled \(the registry does not have it\)$/,
    },
    {
      name: 'a registry that is down',
      given: { state: waiting('ErrImagePull', 'dial tcp 10.0.0.1:5000: connect: connection refused') },
      code: 'IMAGE_PULL',
      words: /\(the registry cannot be reached\)/,
      passes: true,
    },
    {
      name: 'a registry that refuses',
      given: {
        state: waiting(
          'ErrImagePull',
          'pull access denied, repository does not exist or may require authorization: 401 Unauthorized',
        ),
      },
      code: 'IMAGE_PULL',
      words: /\(the registry does not let the cluster read it\)/,
    },
    {
      name: 'an image that runs as root',
      given: {
        state: waiting('CreateContainerConfigError', 'container has runAsNonRoot and image will run as root'),
      },
      code: 'BAD_CONTAINER',
      words: /^cannot be started: container has runAsNonRoot/,
    },
    {
      name: 'a kubelet that has not fetched the config vars yet',
      given: {
        state: waiting(
          'CreateContainerConfigError',
          'failed to sync secret cache: timed out waiting for the condition',
        ),
      },
      code: 'BAD_CONTAINER',
      words: /^cannot be started: failed to sync secret cache/,
      passes: true,
    },
    {
      name: 'a command that is not in the image',
      given: { state: terminated(128, 'StartError') },
      code: 'BAD_CONTAINER',
      words: /command is not in the image/,
    },
    {
      name: 'a volume that cannot be mounted',
      given: { state: waiting('ContainerCreating') },
      events: [
        {
          ...failedPull('MountVolume.SetUp failed for volume "replica" : secret "replica" not found'),
          reason: 'FailedMount',
        },
      ],
      code: 'BAD_CONTAINER',
      words: /cannot be started: .*secret "replica" not found/,
      passes: true,
    },
    {
      name: 'a run that took too long',
      given: { status: { phase: 'Failed', reason: 'DeadlineExceeded' } },
      code: 'DEADLINE',
      words: /longer than allowed/,
    },
    {
      name: 'a lost node',
      given: { status: { phase: 'Failed', reason: 'NodeShutdown' } },
      code: 'NODE_LOST',
      words: /its node went away/,
    },
    {
      name: 'an init container that failed',
      given: { isInit: true, restartPolicy: 'Never', state: terminated(51) },
      code: 'EXITED',
      words: /^exited with code 51$/,
    },
  ] as readonly {
    name: string;
    given: Given;
    events?: CoreV1Event[];
    code: string;
    words: RegExp;
    passes?: boolean;
  }[]) {
    test(`a fault of a pod is recognised and explained: ${name}`, () => {
      const fault = podFault(podOf(given), events);
      assert.equal(fault?.code, code);
      assert.match(fault?.words ?? '', words);
      assert.match(fault?.hint ?? '', /\.$/);
      assert.equal(fault?.mayPass, passes ?? false);
    });
  }

  for (const { name, given, events } of [
    { name: 'a running pod', given: { state: { running: {} } } },
    { name: 'a pod that is being made', given: { state: waiting('ContainerCreating') } },
    {
      name: 'a pod that pulls a large image after it waited for a volume',
      given: { state: waiting('ContainerCreating') },
      events: [
        { ...failedPull('MountVolume.SetUp failed: failed to sync secret cache'), reason: 'FailedMount' },
        { ...failedPull('Pulling image "r/tool-a@sha256:01"'), reason: 'Pulling' },
      ],
    },
    { name: 'a successful run', given: { restartPolicy: 'Never', state: terminated(0, 'Completed') } },
    { name: 'a finished init container', given: { isInit: true, state: terminated(0, 'Completed') } },
  ] as readonly { name: string; given: Given; events?: CoreV1Event[] }[]) {
    test(`a healthy pod is not reported as faulty: ${name}`, () =>
      assert.equal(podFault(podOf(given), events), null));
  }
});

test('if a controller of the cluster may not create a pod, the push names the reason, such as an exceeded quota', () => {
  const message =
    'Error creating: pods "b-" is forbidden: exceeded quota: q, requested: pods=1, used: pods=10, limited: pods=10';
  const { code, words, mayPass } = creationFault(message);
  assert.deepEqual([code, mayPass], ['QUOTA', true]);
  assert.equal(words, 'finds no room in the quota q (pods: 1 more asked for, 10 of 10 in use)');
});

test('a pod refused for a missing service account is a fault that may pass; a pod refused by Pod Security is a fault that stays', () => {
  const missing =
    'Error creating: pods "b-" is forbidden: error looking up service account builds/default: serviceaccount "default" not found';
  const { code, words, mayPass } = creationFault(missing);
  assert.deepEqual([code, mayPass], ['REFUSED', true]);
  assert.match(words, /cannot be made: .*serviceaccount "default" not found/);
  const refused =
    'Error creating: pods "b-" is forbidden: violates PodSecurity "restricted:latest": privileged';
  assert.equal(creationFault(refused).mayPass, false);
});
