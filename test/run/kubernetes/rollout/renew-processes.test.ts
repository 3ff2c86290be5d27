import assert from 'node:assert/strict';
import { json } from 'node:stream/consumers';
import { test } from 'node:test';
import type { V1Pod } from '@kubernetes/client-node';
import { pino } from 'pino';
import { progressTo } from '../../../../src/core/progress.ts';
import type { Process } from '../../../../src/core/types.ts';
import { CONTAINER, LABELS } from '../../../../src/run/kubernetes/manifests/object-names.ts';
import { ToolPods } from '../../../../src/run/kubernetes/pods/tool-pods.ts';
import { LiveRollouts } from '../../../../src/run/kubernetes/rollout/live-rollouts.ts';
import { renewProcesses } from '../../../../src/run/kubernetes/rollout/renew-processes.ts';
import { answerJson, answerKinds, fakeApi } from '../../../kubernetes/fake-api.ts';
import { rolloutOf } from '../a-rollout.ts';
import { manifestConfig } from '../manifests/manifest-config.ts';

const worker: Process = { type: 'worker', command: ['work'], isDefault: false };
const rollout = rolloutOf([worker], { version: 4, replicas: { worker: 1 } });
const labels = {
  [LABELS.tool]: 'wikibot',
  [LABELS.process]: 'worker',
  [LABELS.rollout]: rollout.id,
  [LABELS.version]: '4',
};

function podOf(uid: string): V1Pod {
  return {
    metadata: { uid, name: uid, namespace: 'tool-wikibot', labels, resourceVersion: '1' },
    status: {
      conditions: [{ type: 'Ready', status: 'True' }],
      containerStatuses: [{ name: CONTAINER, state: { running: {} } }],
    } as V1Pod['status'] & object,
  };
}

test('to renew a process, the server adds a pod, marks the old pod as the first to remove, and then scales down again', async () => {
  const changes: unknown[] = [];
  let replicas = 1;
  let tell: (pod: V1Pod) => void = () => {};
  const api = await fakeApi((url, response, request) => {
    const isOfPods = url.pathname === '/api/v1/pods';
    if (answerKinds(url, response)) return;
    if (request.method === 'PATCH') {
      void json(request).then((body) => {
        const { kind, metadata, spec } = body as {
          kind: string;
          metadata: { name: string; annotations?: object };
          spec?: { replicas: number };
        };
        changes.push(kind === 'Pod' ? [metadata.name, metadata.annotations] : spec?.replicas);
        if (spec !== undefined) replicas = spec.replicas;
        if (spec?.replicas === 2) tell(podOf('new'));
        answerJson(response, {});
      });
    } else if (url.searchParams.has('watch')) {
      response.writeHead(200).flushHeaders();
      if (isOfPods) tell = (object) => void response.write(`${JSON.stringify({ type: 'ADDED', object })}\n`);
    } else {
      const deployment = { metadata: { labels }, spec: { replicas } };
      const isOfDeployments = url.pathname.endsWith('/deployments');
      const items = isOfPods ? [podOf('first')] : isOfDeployments ? [deployment] : [];
      answerJson(response, { items, metadata: { resourceVersion: '1' } });
    }
  });
  const stop = new AbortController();
  try {
    const log = pino({ enabled: false });
    const pods = new ToolPods('tool-');
    pods.watch(api.cluster, log, stop.signal);
    await pods.known(stop.signal, 5000);
    const config = { ...manifestConfig, settle_time: 100 };
    const live = new LiveRollouts({
      parts: { cluster: api.cluster, pods, config, closing: stop.signal },
      ...{ drainMs: 0, log },
    });
    let seen = '';
    await renewProcesses(live, rollout, {
      ...{ release: rollout.release, toolNumber: 1, replicas: rollout.replicas, renewed: 'worker' },
      progress: progressTo((text) => {
        seen += text;
      }),
      signal: AbortSignal.timeout(10_000),
      beforeSwitch: async () => void changes.push('recorded'),
    });
    assert.match(seen, /worker\.2 started/);
    const cost = { 'controller.kubernetes.io/pod-deletion-cost': '-100' };
    assert.deepEqual(changes, [2, ['first', cost], 'recorded', 1]);
  } finally {
    stop.abort();
    await api.close();
  }
});
