import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import type { Process } from '../../../../src/core/types.ts';
import { LABELS } from '../../../../src/run/kubernetes/manifests/object-names.ts';
import { ToolPods } from '../../../../src/run/kubernetes/pods/tool-pods.ts';
import { LiveRollouts } from '../../../../src/run/kubernetes/rollout/live-rollouts.ts';
import { answerJson, answerKinds, fakeApi } from '../../../kubernetes/fake-api.ts';
import { rolloutOf } from '../a-rollout.ts';
import { manifestConfig } from '../manifests/manifest-config.ts';

const worker: Process = { type: 'worker', command: ['work'], isDefault: false };
const namespace = 'tool-wikibot';

test('stopping a tool does not end a rollout that begins during the stop', async () => {
  const log = pino({ enabled: false });
  const there = ['old'];
  const ended: string[] = [];
  const next = rolloutOf([worker], { id: 'next', version: 2 });
  let onUnrouted: () => void = () => {};
  const api = await fakeApi((url, response, { method }) => {
    if (answerKinds(url, response)) return;
    if (method === 'PATCH') {
      answerJson(response, {});
      onUnrouted();
    } else if (method === 'DELETE') {
      if (url.pathname.endsWith('/deployments')) ended.push(url.searchParams.get('labelSelector') ?? '');
      answerJson(response, {});
    } else if (url.searchParams.has('watch')) response.writeHead(200).flushHeaders();
    else if (url.pathname.endsWith('/services/wikibot'))
      answerJson(response, { spec: { selector: { [LABELS.rollout]: 'old' } } });
    else {
      const deployments = there.map((id) => ({ metadata: { labels: { [LABELS.rollout]: id } } }));
      const items = url.pathname.endsWith('/deployments') ? deployments : [];
      answerJson(response, { items, metadata: { resourceVersion: '1' } });
    }
  });
  const stop = new AbortController();
  try {
    const pods = new ToolPods('tool-');
    const config = { ...manifestConfig, ingress_time: 500 };
    const parts = { cluster: api.cluster, pods, config, closing: stop.signal };
    const live = new LiveRollouts({ parts, drainMs: 0, log });
    live.resume(rolloutOf([worker], { id: 'old', version: 1 }), 7);
    onUnrouted = () => {
      live.start(next);
      there.push('next');
    };
    await live.stop('wikibot', namespace);
    assert.deepEqual(ended, [`${LABELS.rollout}=old`]);
  } finally {
    stop.abort();
    await api.close();
  }
});
