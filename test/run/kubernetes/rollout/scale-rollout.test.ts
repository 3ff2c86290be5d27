import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { V1Pod } from '@kubernetes/client-node';
import { pino } from 'pino';
import { progressTo } from '../../../../src/core/progress.ts';
import type { Process } from '../../../../src/core/types.ts';
import { CONTAINER, LABELS } from '../../../../src/run/kubernetes/manifests/object-names.ts';
import { ToolPods } from '../../../../src/run/kubernetes/pods/tool-pods.ts';
import { grow } from '../../../../src/run/kubernetes/rollout/scale-rollout.ts';
import { answerJson, answerKinds, fakeApi } from '../../../kubernetes/fake-api.ts';
import { rolloutOf } from '../a-rollout.ts';
import { manifestConfig } from '../manifests/manifest-config.ts';

const worker: Process = { type: 'worker', command: ['work'], isDefault: false };
const namespace = 'tool-wikibot';
const rollout = rolloutOf([worker], { version: 4, replicas: { worker: 2 } });
const labels = {
  [LABELS.tool]: 'wikibot',
  [LABELS.process]: 'worker',
  [LABELS.rollout]: rollout.id,
  [LABELS.version]: '4',
};

/** A running pod. `lastState` belongs to a container that was restarted. */
function podOf(uid: string, lastState: object = {}): V1Pod {
  return {
    metadata: { uid, name: uid, namespace, labels, resourceVersion: '1' },
    status: {
      conditions: [{ type: 'Ready', status: 'True' }],
      containerStatuses: [{ name: CONTAINER, state: { running: {} }, lastState }],
    } as V1Pod['status'] & object,
  };
}

test('an earlier crash of a removed process does not fail the start of the process that replaces it', async () => {
  const log = pino({ enabled: false });
  const old = podOf('old', { terminated: { exitCode: 1 } });
  let tell: (type: string, pod: V1Pod) => void = () => {};
  let replicas = 1;
  const api = await fakeApi((url, response, { method }) => {
    const isOfPods = url.pathname === '/api/v1/pods';
    if (answerKinds(url, response)) return;
    if (method === 'PATCH') {
      replicas = 2;
      tell('ADDED', podOf('new'));
      answerJson(response, {});
    } else if (url.searchParams.has('watch')) {
      response.writeHead(200).flushHeaders();
      if (!isOfPods) return;
      tell = (type, object) => void response.write(`${JSON.stringify({ type, object })}\n`);
      tell('MODIFIED', {
        ...old,
        metadata: { ...old.metadata, deletionTimestamp: new Date(), resourceVersion: '2' },
      });
    } else {
      const deployment = { metadata: { labels }, spec: { replicas } };
      const items = isOfPods
        ? [podOf('first'), old]
        : url.pathname.endsWith('/deployments')
          ? [deployment]
          : [];
      answerJson(response, { items, metadata: { resourceVersion: '1' } });
    }
  });
  const stop = new AbortController();
  try {
    const pods = new ToolPods('tool-');
    pods.watch(api.cluster, log, stop.signal);
    const signal = AbortSignal.timeout(10_000);
    while (!pods.of('wikibot').some(({ isTerminating }) => isTerminating)) await pods.change(1000, signal);
    const parts = {
      cluster: api.cluster,
      pods,
      config: { ...manifestConfig, settle_time: 300 },
      closing: stop.signal,
    };
    const said: string[] = [];
    const progress = progressTo((text) => said.push(text));
    await grow(parts, { rollout, toolNumber: 1, progress, signal });
    assert.match(said.join(''), /worker\.2 started/);
  } finally {
    stop.abort();
    await api.close();
  }
});
