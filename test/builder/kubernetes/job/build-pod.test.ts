import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { V1Job, V1Pod } from '@kubernetes/client-node';
import { BuildPod } from '../../../../src/builder/kubernetes/job/build-pod.ts';
import { fakeApi } from '../../../kubernetes/fake-api.ts';

const failed: V1Job = {
  metadata: { name: 'build-wikibot-1', uid: 'j' },
  status: {
    conditions: [
      {
        type: 'Failed',
        status: 'True',
        reason: 'BackoffLimitExceeded',
        message: 'Job has reached the specified backoff limit',
      },
    ],
  },
};
const ended: V1Pod = {
  metadata: { name: 'build-wikibot-1-x', uid: 'p' },
  status: {
    phase: 'Failed',
    initContainerStatuses: [
      {
        ...{ name: 'build', image: '', imageID: '', ready: false, restartCount: 0 },
        state: { terminated: { exitCode: 3 } },
      },
    ],
  },
};

/** Returns the first fault that is seen of a failed Job, if the cluster lists the Job's pods only after 300 ms. */
async function faultOf(pods: readonly V1Pod[]) {
  const lists: Readonly<Record<string, readonly object[]>> = { pods, jobs: [failed] };
  const api = await fakeApi((url, response) => {
    if (url.searchParams.has('watch')) return;
    const kind = url.pathname.split('/').at(-1) ?? '';
    response.setHeader('content-type', 'application/json');
    const list = JSON.stringify({ metadata: { resourceVersion: '1' }, items: lists[kind] ?? [] });
    setTimeout(() => response.end(list), kind === 'pods' ? 300 : 0);
  });
  try {
    await using pod = new BuildPod(api.cluster, {
      namespace: 'builds',
      name: 'build-wikibot-1',
      labels: 'a=b',
    });
    await pod.until(() => pod.fault !== null, AbortSignal.timeout(10_000));
    return pod.fault;
  } finally {
    await api.close();
  }
}

test('if a build failed while the server was away, the server reads the reason from the build’s pod, even if the server sees the failed Job first', async () => {
  const fault = await faultOf([ended]);
  assert.deepEqual([fault?.code, fault?.container, fault?.exitCode], ['EXITED', 'build', 3]);
});

test('if a failed build’s Job has no pod any more, the server reads the reason from the Job', async () => {
  assert.match((await faultOf([]))?.words ?? '', /backoff limit/);
});
