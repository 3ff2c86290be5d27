import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import type { V1Pod } from '@kubernetes/client-node';
import { applyObject } from '../../../src/kubernetes/apply.ts';
import { followContainerLog, lastLines } from '../../../src/kubernetes/container-log.ts';
import { type ApiProxy, apiProxy } from '../api-proxy.ts';
import { deleteNamespaces } from './runtime-bench.ts';

const LINES = 6000;

describe('followContainerLog', { concurrency: 1 }, () => {
  const namespace = `log-${randomBytes(3).toString('hex')}`;
  const signal = AbortSignal.timeout(120_000);
  let api: ApiProxy;
  before(async () => {
    api = await apiProxy();
    await applyObject(
      api.cluster,
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } },
      { signal },
    );
  });
  after(async () => {
    await deleteNamespaces(api.cluster, namespace);
    await api.close();
  });

  const start = (name: string, script: string, restartPolicy: string) =>
    applyObject<V1Pod>(
      api.cluster,
      {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name, namespace },
        spec: {
          restartPolicy,
          terminationGracePeriodSeconds: 1,
          containers: [
            { name: 'job', image: 'docker.io/library/debian:bookworm-slim', command: ['bash', '-c', script] },
          ],
        },
      },
      { signal },
    );

  test('no line of a container’s log is lost or doubled, although the connection keeps breaking', async () => {
    await start(
      'chatty',
      `for ((i=1;i<=${LINES};i++)); do echo "line $i"; ((i%20)) || sleep 0.02; done`,
      'Never',
    );
    const lines: string[] = [];
    const cutting = setInterval(() => api.cut(), 400);
    try {
      const place = { namespace, pod: 'chatty', container: 'job' };
      await followContainerLog(api.cluster, place, ({ text }) => void lines.push(text), signal);
    } finally {
      clearInterval(cutting);
    }
    assert.deepEqual(
      lines,
      Array.from({ length: LINES }, (_, index) => `line ${index + 1}`),
    );
  });

  test('the log of a container that restarts is followed until its pod is deleted', async () => {
    await start('again', 'echo begin; sleep 1; echo end; exit 3', 'Always');
    const lines: string[] = [];
    const place = { namespace, pod: 'again', container: 'job' };
    const following = followContainerLog(
      api.cluster,
      place,
      ({ text }) => {
        lines.push(text);
        if (lines.length === 4) void api.cluster.core.deleteNamespacedPod({ name: 'again', namespace });
      },
      signal,
    );
    await following;
    assert.deepEqual(lines.slice(0, 4), ['begin', 'end', 'begin', 'end']);
  });

  test('following the log of a pod that does not exist returns no lines', async () => {
    const place = { namespace, pod: 'nobody', container: 'job' };
    await followContainerLog(api.cluster, place, () => assert.fail('a line'), signal);
    assert.deepEqual(await lastLines(api.cluster, place, 'current'), []);
  });
});
