import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { type TestContext, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { pino } from 'pino';
import { LABELS } from '../../../../src/run/kubernetes/manifests/object-names.ts';
import { ToolPods } from '../../../../src/run/kubernetes/pods/tool-pods.ts';
import { RolloutRetirement } from '../../../../src/run/kubernetes/rollout/rollout-retirement.ts';
import { answerJson, fakeApi, refuse } from '../../../kubernetes/fake-api.ts';
import { manifestConfig } from '../manifests/manifest-config.ts';

const namespace = 'tool-wikibot';

function podOf(type: string, metadata: object) {
  const labels = {
    [LABELS.tool]: 'wikibot',
    [LABELS.process]: type,
    [LABELS.rollout]: 'k3x9q',
    [LABELS.version]: '4',
  };
  return { metadata: { uid: type, name: type, namespace, labels, resourceVersion: '1', ...metadata } };
}

/** Retires a rollout with a web process and a worker. `onDelete` answers the requests that delete them. */
async function leavingOf(
  t: TestContext,
  drainMs: number,
  onDelete: (response: ServerResponse, endPods: () => void) => void,
  metadata: object = {},
) {
  const said: string[] = [];
  const log = pino(
    {},
    { write: (line: string) => void said.push((JSON.parse(line) as { msg: string }).msg) },
  );
  const items = ['web', 'worker'].map((type) => podOf(type, metadata));
  let tell: (text: string) => void = () => {};
  const endPods = () => {
    for (const object of items) tell(`${JSON.stringify({ type: 'DELETED', object })}\n`);
  };
  const api = await fakeApi((url, response, { method }) => {
    const isOfPods = url.pathname === '/api/v1/pods';
    if (method === 'DELETE') onDelete(response, endPods);
    else if (!url.searchParams.has('watch'))
      answerJson(response, { items: isOfPods ? items : [], metadata: { resourceVersion: '1' } });
    else {
      response.writeHead(200).flushHeaders();
      tell = (text) => response.write(text);
    }
  });
  const stop = new AbortController();
  t.after(async () => {
    stop.abort();
    await api.close();
  });
  const pods = new ToolPods('tool-');
  pods.watch(api.cluster, log, stop.signal);
  await pods.known(stop.signal, 5000);
  const parts = { cluster: api.cluster, pods, config: manifestConfig, closing: stop.signal };
  const gone = Promise.withResolvers<string>();
  const leaving = new RolloutRetirement({ parts, drainMs, log, onGone: gone.resolve });
  leaving.retire('wikibot', namespace, 'k3x9q');
  return { leaving, gone: gone.promise, said, pods };
}

for (const { apiClock, leavesAt } of [
  { apiClock: 'an hour slow', leavesAt: Date.now() - 3600_000 },
  { apiClock: 'an hour fast', leavesAt: Date.now() + 3600_000 },
]) {
  const name = `a stop of a tool waits at most 45 s for pods that stay Terminating on a lost node, and the server’s log then says so; the API server’s clock is ${apiClock}`;
  test(name, { timeout: 30_000 }, async (t) => {
    const now = performance.now.bind(performance);
    let aheadMs = 0;
    t.mock.method(performance, 'now', () => now() + aheadMs);
    const { leaving, said } = await leavingOf(t, 60_000, (response) => answerJson(response, {}), {
      deletionTimestamp: new Date(leavesAt).toISOString(),
      deletionGracePeriodSeconds: 15,
    });
    aheadMs = 40_000;
    const hurried = leaving.hurry('wikibot');
    await wait(300);
    assert.deepEqual(said, []);
    aheadMs = 45_000;
    await hurried;
    assert.deepEqual(said, ['pods of a lost node stay Terminating']);
  });
}

const forbid = (response: ServerResponse) =>
  refuse(response, 403, 'Forbidden', 'deployments.apps is forbidden');

test('if the worker of an old release cannot be ended, the server’s log says so only after the drain time of the release’s web process', async (t) => {
  const { gone, said } = await leavingOf(t, 500, forbid);
  await wait(300);
  assert.deepEqual(said, []);
  assert.equal(await gone, 'k3x9q');
  assert.deepEqual(said, ['cluster does not allow what this server needs', 'cannot end an old release']);
});

test('if the cluster’s API refuses to end an old rollout, the wait for the end of the rollout fails with this refusal', async (t) => {
  const { leaving } = await leavingOf(t, 60_000, forbid);
  await assert.rejects(leaving.hurry('wikibot'), { code: 'CLUSTER_FORBIDDEN' });
});

test('an old rollout is ended even if the cluster does not answer for minutes', async (t) => {
  const now = performance.now.bind(performance);
  t.mock.method(performance, 'now', () => now() * 200);
  const backAt = Date.now() + 1500;
  const { gone, said, pods } = await leavingOf(t, 0, (response, endPods) => {
    if (Date.now() < backAt) return refuse(response, 503, 'ServiceUnavailable', 'it starts');
    answerJson(response, {});
    endPods();
  });
  assert.equal(await gone, 'k3x9q');
  assert.deepEqual(pods.of('wikibot'), []);
  assert.deepEqual(said, []);
});
