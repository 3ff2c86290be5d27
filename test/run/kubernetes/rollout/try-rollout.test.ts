import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import { DeployError } from '../../../../src/core/errors.ts';
import type { ToolName } from '../../../../src/core/names.ts';
import type { Process } from '../../../../src/core/types.ts';
import { LABELS } from '../../../../src/run/kubernetes/manifests/object-names.ts';
import { ToolPods } from '../../../../src/run/kubernetes/pods/tool-pods.ts';
import { LiveRollouts } from '../../../../src/run/kubernetes/rollout/live-rollouts.ts';
import { assertRoomForTool, tryRollout } from '../../../../src/run/kubernetes/rollout/try-rollout.ts';
import { answerJson, answerKinds, fakeApi, refuse } from '../../../kubernetes/fake-api.ts';
import { rolloutOf } from '../a-rollout.ts';
import { manifestConfig } from '../manifests/manifest-config.ts';

const worker: Process = { type: 'worker', command: ['work'], isDefault: false };
const scheduled: Process = {
  ...{ type: 'nightly', command: ['x'], isDefault: false },
  schedule: { text: '@daily', cron: '0 0 * * *', retry: 0, timeoutSeconds: null },
};
const config = manifestConfig;
const { signal } = new AbortController();

interface Answers {
  /** The quotas of the namespace. Null if the server may not read them. */
  readonly quotas?: readonly object[] | null;
  /** The Deployments of the tool, as the ids of their rollouts. */
  readonly deployments?: readonly string[];
}

/** Live rollouts in a cluster that accepts every object. */
async function aCluster({ quotas = [], deployments = [] }: Answers) {
  const api = await fakeApi((url, response, { method }) => {
    if (answerKinds(url, response)) return;
    if (url.pathname.endsWith('/resourcequotas')) {
      if (quotas === null)
        refuse(response, 403, 'Forbidden', 'User "x" cannot list resource "resourcequotas"');
      else answerJson(response, { items: quotas });
    } else if (url.searchParams.has('dryRun') && !url.searchParams.has('force'))
      refuse(response, 404, 'NotFound', 'not found');
    else if (method === 'PATCH') answerJson(response, {});
    // No answer, so a rollout that drains does not end.
    else if (method === 'DELETE' && url.pathname.endsWith('/deployments')) return;
    else if (method === 'DELETE') answerJson(response, {});
    else {
      const items = deployments.map((id) => ({
        metadata: { name: `worker-${id}`, labels: { [LABELS.rollout]: id, [LABELS.process]: 'worker' } },
      }));
      answerJson(response, { items: url.pathname.endsWith('/deployments') ? items : [] });
    }
  });
  const stop = new AbortController();
  const parts = { cluster: api.cluster, pods: new ToolPods('tool-'), config, closing: stop.signal };
  const live = new LiveRollouts({ parts, drainMs: 60_000, log: pino({ enabled: false }) });
  return {
    live,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await api.close();
    },
  };
}

const quota = (hard: Record<string, string>, used: Record<string, string>, spec = {}) => ({
  metadata: { name: 'one' },
  spec: { hard, ...spec },
  status: { hard, used },
});
const wanted = (processes: readonly Process[]) => ({
  rollout: rolloutOf(processes, { id: 'new', version: 43 }),
  toolNumber: 1,
  config,
});

test('a dry run does not list the Deployments of a rollout that already drains among the objects that the push would remove', async () => {
  await using cluster = await aCluster({ deployments: ['draining', 'live'] });
  const { live } = cluster;
  live.resume(rolloutOf([worker], { id: 'draining', version: 41 }), 1);
  await live.switchTo(rolloutOf([worker], { id: 'live' }), 1);
  assert.equal(live.isRetiring('draining'), true);
  const { objects } = await tryRollout(live, wanted([worker]), signal);
  const removed = objects
    .filter(({ change }) => change === 'removed')
    .map(({ kind, name }) => `${kind} ${name}`);
  assert.deepEqual(removed, ['Secret config', 'Deployment worker', 'PodDisruptionBudget worker']);
});

for (const { title, processes, quotas, expected } of [
  { title: 'a rollout that fits', processes: [worker], quotas: [], expected: 'has-room' },
  { title: 'a rollout that keeps nothing running', processes: [scheduled], quotas: [], expected: null },
  { title: 'a server that may not read quotas', processes: [worker], quotas: null, expected: null },
  {
    title: 'as many pods as the quota has',
    processes: [worker],
    quotas: [quota({ pods: '4' }, { pods: '3' })],
    expected: 'has-room',
  },
  {
    title: 'more pods than the quota has',
    processes: [worker],
    quotas: [quota({ pods: '4' }, { pods: '4' })],
    expected: /quota one is used up \(pods: 1 more asked for, 4 of 4 in use\)/,
  },
  {
    title: 'a quota for other pods',
    processes: [worker],
    quotas: [quota({ pods: '4' }, { pods: '4' }, { scopes: ['BestEffort'] })],
    expected: 'has-room',
  },
  {
    title: 'a quota that may count these pods',
    processes: [worker],
    quotas: [quota({ pods: '4' }, { pods: '4' }, { scopes: ['NotTerminating'] })],
    expected: null,
  },
  {
    title: 'a quota of no pods',
    processes: [worker],
    quotas: [quota({ 'count/pods': '0' }, { 'count/pods': '0' })],
    expected: /pods: 1 more asked for, 0 of 0 in use/,
  },
]) {
  test(`a dry run says whether the quota of the namespace has room, but only if the server can tell: ${title}`, async () => {
    await using cluster = await aCluster({ quotas });
    const tried = await tryRollout(cluster.live, wanted(processes), signal);
    if (expected instanceof RegExp) {
      assert.ok(tried.quota instanceof DeployError);
      assert.match(tried.quota.message, expected);
    } else assert.equal(tried.quota, expected);
  });
}

test('a preview that leaves too few pods for the next rollout of its tool is refused, and its dry run says so', async () => {
  const tool = 'wikibot' as ToolName;
  await using cluster = await aCluster({ quotas: [quota({ pods: '4' }, { pods: '2' })] });
  const { live } = cluster;
  live.resume(rolloutOf([worker], { id: 'live', replicas: { worker: 2 } }), 1);
  await assertRoomForTool(live, tool, { signal });
  const options = wanted([worker]);
  const preview = { ...options, rollout: { ...options.rollout, previewOf: tool } };
  const { quota: said } = await tryRollout(live, preview, signal);
  assert.ok(said instanceof DeployError);
  assert.match(
    said.message,
    /would leave no room for the next rollout of wikibot: .*pods: 3 more asked for, 2 of 4/,
  );
  await using full = await aCluster({ quotas: [quota({ pods: '4' }, { pods: '3' })] });
  full.live.resume(rolloutOf([worker], { id: 'live', replicas: { worker: 2 } }), 1);
  await assert.rejects(assertRoomForTool(full.live, tool, { signal }), {
    code: 'QUOTA_EXCEEDED',
    message: /would leave no room for the next rollout of wikibot: .*pods: 2 more asked for, 3 of 4/,
  });
});
