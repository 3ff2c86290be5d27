import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pino } from 'pino';
import type { ToolName } from '../../../src/core/names.ts';
import type { Process } from '../../../src/core/types.ts';
import { LABELS } from '../../../src/run/kubernetes/names.ts';
import { KubernetesRuntime } from '../../../src/run/kubernetes/runtime.ts';
import { answerJson, answerKinds, fakeApi, refuse } from '../../kubernetes/fake-api.ts';
import { imageRelease } from './a-rollout.ts';
import { manifestConfig } from './manifest-config.ts';

const worker: Process = { type: 'worker', command: ['work'], isDefault: false };
const tool = 'wikibot' as ToolName;
const release = imageRelease([worker], 4);

test('a tool that is stopped while a server that starts takes it over stays stopped', async () => {
  const deployments = new Map<string, object>();
  const asked = Promise.withResolvers<void>();
  const api = await fakeApi((url, response, { method }) => {
    const [, name] = /\/deployments\/?(.*)$/.exec(url.pathname) ?? [];
    if (answerKinds(url, response)) return;
    if (url.searchParams.has('watch')) return response.writeHead(200).flushHeaders();
    if (url.pathname.endsWith('/services/wikibot')) {
      asked.resolve();
      return void setTimeout(() => refuse(response, 404, 'NotFound', 'services "wikibot" not found'), 300);
    }
    if (method === 'DELETE' && name === '') deployments.clear();
    if (method === 'PATCH' && name !== undefined) {
      const [, rollout = ''] = /-v4-(.*)$/.exec(name) ?? [];
      const labels = { [LABELS.rollout]: rollout, [LABELS.process]: 'worker', [LABELS.version]: '4' };
      deployments.set(name, { metadata: { labels }, spec: { replicas: 1 } });
    }
    const items = name === undefined ? [] : [...deployments.values()];
    answerJson(response, method === 'GET' ? { items, metadata: { resourceVersion: '1' } } : {});
  });
  const data = await mkdtemp(join(tmpdir(), 'toolforge-push-runtime-'));
  const times = { settle_time: 500, release_time: 1000, drain_time: 0, one_off_time: 1000 };
  const runtime = new KubernetesRuntime({
    cluster: api.cluster,
    config: { ...manifestConfig, ...times, data, log_size: 1000, concurrent_one_offs: 1 },
    httpOrigin: () => 'http://127.0.0.1:1',
    log: pino({ enabled: false }),
  });
  try {
    const resuming = runtime.resume(release, 1, {});
    await asked.promise;
    await runtime.stop(tool);
    await resuming;
    assert.deepEqual([...deployments.keys()], []);
  } finally {
    await runtime.close();
    await api.close();
    await rm(data, { recursive: true });
  }
});
