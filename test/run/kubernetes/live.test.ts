import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import type { ToolName } from '../../../src/core/names.ts';
import type { Process } from '../../../src/core/types.ts';
import { LiveRollouts } from '../../../src/run/kubernetes/live.ts';
import { LABELS } from '../../../src/run/kubernetes/names.ts';
import { ToolPods } from '../../../src/run/kubernetes/pods.ts';
import { answerJson, answerKinds, fakeApi } from '../../kubernetes/fake-api.ts';
import { releaseOf } from '../contract-steps.ts';
import { manifestConfig } from './manifest-config.ts';

const worker: Process = { type: 'worker', command: ['work'], isDefault: false };
const namespace = 'tool-wikibot';
const rolloutOf = (id: string, version: number) => ({
  release: releaseOf('wikibot' as ToolName, version, {
    ...{ id: 'b', kind: 'image', reference: 'r/t@sha256:0', buildpacks: [], bytes: 1 },
    processes: [worker],
    service: { healthCheckPath: null },
  }),
  ...{ id, namespace, replicas: {} },
});

test('a rollout that begins while its tool is stopped is not ended by that', async () => {
  const log = pino({ enabled: false });
  const there = ['old'];
  const ended: string[] = [];
  const next = rolloutOf('next', 2);
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
    live.adopt(rolloutOf('old', 1));
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
