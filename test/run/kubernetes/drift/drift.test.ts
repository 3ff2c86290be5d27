import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { pino } from 'pino';
import { Drift } from '../../../../src/run/kubernetes/drift/drift.ts';
import { LostNamespaces } from '../../../../src/run/kubernetes/drift/lost-namespaces.ts';
import { type ToolPod, ToolPods } from '../../../../src/run/kubernetes/pods/tool-pods.ts';
import { LiveRollouts } from '../../../../src/run/kubernetes/rollout/live-rollouts.ts';
import { answerJson, answerKinds, fakeApi, refuse } from '../../../kubernetes/fake-api.ts';
import { rolloutOf } from '../a-rollout.ts';
import { manifestConfig } from '../manifests/manifest-config.ts';

const namespace = 'tool-wikibot';
const rollout = rolloutOf([{ type: 'worker', command: ['work'], isDefault: false }]);

/** A pod that waits for a missing Secret, so that the server checks the objects of the pod’s rollout. */
const waitingPod = {
  ...{ tool: 'wikibot', rolloutId: rollout.id, namespace },
  container: { state: { waiting: { reason: 'CreateContainerConfigError' } } },
} as ToolPod;

test('if others have deleted a tool’s namespace, the server does not create the namespace again to restore its NetworkPolicy', async () => {
  const changed: string[] = [];
  const api = await fakeApi((url, response, { method }) => {
    if (answerKinds(url, response)) return;
    const isDryRun = url.searchParams.has('dryRun');
    if (method !== 'GET' && !isDryRun) {
      changed.push(url.pathname);
      answerJson(response, {});
    } else if (isDryRun) refuse(response, 404, 'NotFound', `"${url.pathname}" not found`);
    else if (url.pathname.endsWith(`/namespaces/${namespace}`))
      refuse(response, 404, 'NotFound', `namespaces "${namespace}" not found`);
    else answerJson(response, { items: [], metadata: { resourceVersion: '1' } });
  });
  const stop = new AbortController();
  try {
    const log = pino({ enabled: false });
    const config = { ...manifestConfig, make_namespaces: true };
    const pods = new ToolPods('tool-');
    const parts = { cluster: api.cluster, pods, config, closing: stop.signal };
    const live = new LiveRollouts({ parts, drainMs: 0, log });
    const lost = new LostNamespaces(live, (tool) => `tool-${tool}`);
    live.resume(rollout, 1);
    new Drift(live, lost).pod(waitingPod);
    const end = performance.now() + 10_000;
    while (lost.of('wikibot') === null && changed.length === 0 && performance.now() < end) await wait(50);
    assert.deepEqual(changed, []);
    assert.equal(lost.of('wikibot')?.state, 'gone');
  } finally {
    stop.abort();
    await api.close();
  }
});
