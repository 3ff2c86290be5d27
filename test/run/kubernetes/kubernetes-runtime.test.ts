import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pino } from 'pino';
import type { ToolName } from '../../../src/core/names.ts';
import type { Process } from '../../../src/core/types.ts';
import { KubernetesRuntime } from '../../../src/run/kubernetes/kubernetes-runtime.ts';
import { LABELS } from '../../../src/run/kubernetes/manifests/object-names.ts';
import { answerJson, answerKinds, fakeApi, refuse } from '../../kubernetes/fake-api.ts';
import { imageRelease } from './a-rollout.ts';
import { manifestConfig } from './manifests/manifest-config.ts';

const worker: Process = { type: 'worker', command: ['work'], isDefault: false };
const tool = 'wikibot' as ToolName;
const release = imageRelease([worker], 4);

function runtimeOf({ cluster }: Awaited<ReturnType<typeof fakeApi>>, data: string): KubernetesRuntime {
  const times = { settle_time: 500, release_time: 1000, drain_time: 0, one_off_time: 1000 };
  return new KubernetesRuntime({
    cluster,
    config: {
      ...{ ...manifestConfig, ...times, data, log_size: 1000, concurrent_one_offs: 1 },
      build_namespace: 'tool-builds',
    },
    httpOrigin: () => 'http://127.0.0.1:1',
    log: pino({ enabled: false }),
  });
}

test('if a tool is stopped while a starting server resumes it, the tool stays stopped', async () => {
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
  const runtime = runtimeOf(api, data);
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

test('a tool whose namespace would have an invalid name, or the name of the build namespace, is refused', async () => {
  const api = await fakeApi((url, response) => {
    if (answerKinds(url, response)) return;
    if (url.searchParams.has('watch')) return response.writeHead(200).flushHeaders();
    answerJson(response, { items: [], metadata: { resourceVersion: '1' } });
  });
  const data = await mkdtemp(join(tmpdir(), 'toolforge-push-runtime-'));
  const runtime = runtimeOf(api, data);
  try {
    for (const [name, why] of [
      ['old_name', 'tool-old_name cannot be the name of a namespace'],
      ['builds', 'the server uses the namespace tool-builds itself'],
    ] as const) {
      await assert.rejects(runtime.assertReady(name as ToolName, AbortSignal.timeout(10_000)), {
        code: 'NO_NAMESPACE',
        message: `the tool ${name} cannot run on Kubernetes: ${why}`,
      });
    }
  } finally {
    await runtime.close();
    await api.close();
    await rm(data, { recursive: true });
  }
});
