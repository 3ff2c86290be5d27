import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { test } from 'node:test';
import { PodProbe, type ProbeResult } from '../../../../src/run/kubernetes/pods/probe-pod.ts';
import type { ToolPod } from '../../../../src/run/kubernetes/pods/tool-pods.ts';
import { fakeApi, refuse } from '../../../kubernetes/fake-api.ts';
import { web } from '../../tool-sources.ts';
import { imageRelease } from '../a-rollout.ts';

type Answer = (response: ServerResponse) => void;

const unreachable: Answer = (response) =>
  refuse(
    response,
    503,
    'ServiceUnavailable',
    'error trying to reach service: dial tcp 10.88.0.7:8000: i/o timeout',
  );
const refused: Answer = (response) =>
  refuse(response, 503, 'ServiceUnavailable', 'error trying to reach service: connect: connection refused');
const forbidden: Answer = (response) =>
  refuse(response, 403, 'Forbidden', 'User "x" cannot get resource "pods/proxy" in API group ""');

/** Looks at a pod once for each of these answers of the API. @returns the results. */
async function looks(
  answers: readonly Answer[],
  { isReady = true, answerMs = 5000 } = {},
): Promise<ProbeResult[]> {
  const left = [...answers];
  const api = await fakeApi((url, response) => {
    if (url.pathname.includes('/log')) {
      response.writeHead(200, { 'content-type': 'text/plain' });
      response.end('Worker (pid:7) was sent SIGKILL! Perhaps out of memory?\n');
    } else (left.shift() ?? (() => {}))(response);
  });
  try {
    const pod = { uid: 'u', name: 'web.1', podName: 'web', namespace: 'tool-wikibot', isReady } as ToolPod;
    const { signal } = new AbortController();
    const release = imageRelease([web()]);
    const pods = new PodProbe({ cluster: api.cluster, release, podUid: 'u', answerMs, signal });
    const seen: ProbeResult[] = [];
    for (const _ of answers) seen.push(await pods.look(pod));
    return seen;
  } finally {
    await api.close();
  }
}

const kinds = async (...options: Parameters<typeof looks>) =>
  (await looks(...options)).map(({ kind }) => kind);

test('if the API server forbids this server to send requests to a pod, this server does not judge the pod’s health', async () => {
  assert.deepEqual(await kinds([forbidden]), ['unknown']);
});

test('if the API server cannot reach a pod, the pod counts as unhealthy only if the kubelet does not call it ready either', async () => {
  assert.deepEqual(await kinds([unreachable]), ['unknown']);
  assert.deepEqual(await kinds([unreachable], { isReady: false }), ['not-yet']);
});

test('promise 2: the server does not mistake a pod whose queue of connections is full for an unreachable pod', async () => {
  assert.deepEqual(await kinds([refused, unreachable]), ['no-port', 'not-yet']);
});

test('a pod that does not answer in time is not healthy; if its log says that workers are killed, this is the reason', async () => {
  const [look] = await looks([() => {}], { answerMs: 500 });
  assert.ok(look?.kind === 'not-yet');
  assert.match(look.seen.message, /^web\.1 does not answer GET \/: its workers are killed/);
});
