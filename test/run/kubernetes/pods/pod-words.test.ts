import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { CoreV1Event, V1ContainerStatus, V1Deployment, V1Pod } from '@kubernetes/client-node';
import type { Release } from '../../../../src/core/types.ts';
import { labelValue } from '../../../../src/run/kubernetes/manifests/pod-manifest.ts';
import { endHint, exitOf, pauseWords } from '../../../../src/run/kubernetes/pods/container-exit.ts';
import { eventWords } from '../../../../src/run/kubernetes/pods/namespace-events.ts';
import { Restarts } from '../../../../src/run/kubernetes/pods/pod-restarts.ts';
import { foreignChange, missingStatus, podStatus } from '../../../../src/run/kubernetes/pods/pod-status.ts';
import type { ToolPod } from '../../../../src/run/kubernetes/pods/tool-pods.ts';
import type { Crash } from '../../../../src/run/runtime.ts';

const parts = { runMemory: 512 * 1024 * 1024, release: () => null, isDraining: (id: string) => id === 'old' };

function podOf(container: Partial<V1ContainerStatus>, change: Partial<ToolPod> = {}): ToolPod {
  const status = { name: 'job', image: '', imageID: '', ready: false, restartCount: 0, ...container };
  const pod: V1Pod = {
    spec: { containers: [], restartPolicy: 'Always' },
    status: { containerStatuses: [status] },
  };
  return {
    uid: 'u',
    pod,
    podName: 'p',
    namespace: 'tool-a',
    tool: 'a',
    type: 'web',
    name: 'web.1',
    version: 3,
    rolloutId: 'new',
    container: status,
    isReady: false,
    isTerminating: false,
    terminatingSince: null,
    isScheduled: false,
    isOver: false,
    ...change,
  };
}

const ended = (exitCode: number, containerID = 'c1') => ({
  terminated: { exitCode, reason: 'Error', containerID },
});
const backOff = (pause: string) => ({
  waiting: { reason: 'CrashLoopBackOff', message: `back-off ${pause} restarting failed container=job` },
});

describe('the state of a pod', () => {
  test('the status shows a process’s command from its release, or no command if the release is unknown', () => {
    const process = { type: 'web-', command: ['bash', '-c', 'python app.py'], isDefault: true };
    const release = () => ({ artifact: { processes: [process] } }) as unknown as Release;
    const pod = podOf({ state: { running: {} } }, { type: labelValue('web-') });
    assert.equal(podStatus(pod, null, { ...parts, release }).command, 'python app.py');
    assert.equal(podStatus(pod, null, parts).command, null);
  });

  for (const { name, pod, state, detail } of [
    { name: 'ready', pod: podOf({ state: { running: {} } }, { isReady: true }), state: 'up', detail: null },
    {
      name: 'running but not answering',
      pod: podOf({ state: { running: {} }, started: true }),
      state: 'starting',
      detail: 'does not pass its health check',
    },
    {
      name: 'crashed',
      pod: podOf({ state: backOff('1m20s'), lastState: ended(3), restartCount: 4 }),
      state: 'crashed',
      detail: 'exited with code 3; starting again in 80 s',
    },
    {
      name: 'being ended',
      pod: podOf({ state: { running: {} } }, { isTerminating: true }),
      state: 'stopping',
      detail: null,
    },
    {
      name: 'draining, because its release is old',
      pod: podOf({ state: { running: {} } }, { isReady: true, rolloutId: 'old' }),
      state: 'stopping',
      detail: null,
    },
    {
      name: 'being made',
      pod: podOf({ state: { waiting: { reason: 'ContainerCreating' } } }),
      state: 'starting',
      detail: null,
    },
  ]) {
    test(`the status shows the state of a pod with the right detail: ${name}`, () => {
      const status = podStatus(pod, null, parts);
      assert.equal(status.state, state);
      assert.equal(status.detail, detail);
    });
  }

  test('the status says why a Deployment has no pod', () => {
    const deployment: V1Deployment = {
      metadata: { labels: { 'push.toolforge.org/process': 'web', 'push.toolforge.org/version': '3' } },
      status: {
        conditions: [
          {
            type: 'ReplicaFailure',
            status: 'True',
            message:
              'pods "x" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2',
          },
        ],
      },
    };
    const { state, detail } = missingStatus(deployment, parts);
    assert.equal(state, 'crashed');
    assert.match(detail ?? '', /quota q is used up \(pods: 1 more asked for, 2 of 2 in use\)/);
  });

  test('the status of a Deployment that an operator has scaled to 0 is off, not crashed', () => {
    const deployment: V1Deployment = {
      metadata: { labels: {}, managedFields: [{ manager: 'kubectl-scale', fieldsV1: { 'f:spec': {} } }] },
      spec: { replicas: 0, selector: {}, template: {} },
    };
    const { state, detail } = missingStatus(deployment, parts);
    assert.equal(state, 'off');
    assert.equal(detail, 'set to run 0 times; changed outside of this server by kubectl-scale');
  });
});

describe('the manager who has changed a Deployment', () => {
  const by = (manager: string, subresource?: string, fields: object = { 'f:spec': {} }) => ({
    manager,
    fieldsV1: fields,
    ...(subresource === undefined ? {} : { subresource }),
  });
  for (const { name, managedFields, expected } of [
    { name: 'this server', managedFields: [by('toolforge-push')], expected: null },
    { name: 'the cluster itself', managedFields: [by('kube-controller-manager', 'status')], expected: null },
    {
      name: 'somebody who changed only labels',
      managedFields: [by('kubectl-label', undefined, { 'f:metadata': {} })],
      expected: null,
    },
    {
      name: 'kubectl edit',
      managedFields: [by('toolforge-push'), by('kubectl-edit')],
      expected: 'changed outside of this server by kubectl-edit',
    },
    {
      name: 'kubectl scale',
      managedFields: [by('kubectl', 'scale')],
      expected: 'changed outside of this server by kubectl (scale)',
    },
    {
      name: 'a scale that is not listed, for example by kubectl after a server-side apply',
      managedFields: [
        by('toolforge-push', undefined, { 'f:spec': { 'f:template': {} } }),
        by('toolforge-push', undefined, { 'f:metadata': {} }),
      ],
      expected: 'changed outside of this server by somebody (scale)',
    },
    {
      name: 'a scale by this server after a scale that is not listed',
      managedFields: [
        by('toolforge-push', undefined, { 'f:spec': { 'f:template': {} } }),
        by('toolforge-push', undefined, { 'f:spec': { 'f:replicas': {} } }),
      ],
      expected: null,
    },
  ]) {
    test(`the status names who else has changed a Deployment: ${name}`, () =>
      assert.equal(foreignChange({ metadata: { managedFields } }), expected));
  }
});

describe('how a container ended', () => {
  for (const { name, end, exit } of [
    { name: 'an exit code', end: { exitCode: 3 }, exit: { code: 3, signal: null, isOutOfMemory: false } },
    {
      name: 'a signal',
      end: { exitCode: 143 },
      exit: { code: null, signal: 'SIGTERM', isOutOfMemory: false },
    },
    {
      name: 'lack of memory',
      end: { exitCode: 137, reason: 'OOMKilled' },
      exit: { code: null, signal: 'SIGKILL', isOutOfMemory: true },
    },
    {
      name: 'an exit code above all signals',
      end: { exitCode: 255 },
      exit: { code: 255, signal: null, isOutOfMemory: false },
    },
  ]) {
    test(`the server reads from a container’s status how the container ended: ${name}`, () =>
      assert.deepEqual(exitOf(end), exit));
  }

  test('if the launcher of Cloud Native Buildpacks does not find a command, the push says that the command was not found', () => {
    const exit = { code: 82, signal: null, isOutOfMemory: false };
    const line = 'ERROR: failed to launch: path lookup: exec: "gunicorn": executable file not found in $PATH';
    assert.match(endHint(exit, [line]), /not found/);
    assert.doesNotMatch(endHint(exit, ['something else']), /not found/);
  });

  for (const [pause, words] of [
    ['10s', '10 s'],
    ['2m40s', '160 s'],
  ] as const) {
    test(`the status says how long the node waits before it restarts a container: ${pause}`, () =>
      assert.equal(pauseWords(podOf({ state: backOff(pause) }).container), words));
  }
});

test('a crash of a pod of the live release is logged once, unless it happened before this server started', () => {
  const said: string[] = [];
  const crashes: Crash[] = [];
  const restarts = new Restarts({
    isLive: ({ rolloutId }) => rolloutId === 'new',
    memoryBytes: () => 0,
    say: (_tool, text) => void said.push(text),
    onCrash: (crash) => void crashes.push(crash),
  });
  const crashed = podOf({ state: backOff('10s'), lastState: ended(3, 'c2') });
  restarts.pod(podOf({ state: { running: {} }, lastState: ended(1, 'c1') }), true);
  restarts.pod(podOf({ state: ended(3, 'c2') }), false);
  restarts.pod(crashed, false);
  restarts.pod(crashed, false);
  restarts.pod(
    podOf({ state: { running: {} }, lastState: ended(9, 'c3') }, { uid: 'v', rolloutId: 'other' }),
    false,
  );
  assert.deepEqual(said, ['web.1 exited with code 3; starting again in 10 s']);
  assert.deepEqual(
    crashes.map(({ process, words }) => `${process} ${words}`),
    ['web.1 exited with code 3'],
  );
});

test('the push shows how long the pull of an image took', () => {
  const event = (reason: string, message: string) => ({ reason, message }) as CoreV1Event;
  const pulled = (duration: string) =>
    `Successfully pulled image "r/t@sha256:0" in ${duration} (${duration} including waiting). Image size: 5 bytes.`;
  for (const [duration, words] of [
    ['1.234s', '1.2 s'],
    ['408ms', '0.4 s'],
    ['50ms', '0.1 s'],
    ['1m2.5s', '1 min 2 s'],
    ['950.123µs', '0.0 s'],
  ] as const)
    assert.equal(eventWords(event('Pulled', pulled(duration))), `has its image after ${words}`);
  assert.equal(eventWords(event('Pulled', 'Container image "r/t" already present on machine')), null);
  assert.equal(eventWords(event('Started', 'Started container job')), null);
});
