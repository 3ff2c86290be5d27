import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { pino } from 'pino';
import { CONTAINER } from '../../../../src/run/kubernetes/manifests/object-names.ts';
import { LineGathering, PodLogs } from '../../../../src/run/kubernetes/pods/pod-logs.ts';
import type { ToolPod } from '../../../../src/run/kubernetes/pods/tool-pods.ts';
import { ToolLogs } from '../../../../src/run/logs/log-folder.ts';
import type { ToolLog } from '../../../../src/run/logs/tool-log.ts';
import { answerJson, fakeApi } from '../../../kubernetes/fake-api.ts';

const POD: ToolPod = {
  ...{ uid: 'u', pod: {}, podName: 'worker-v4-k3x9q-1', namespace: 'tool-wikibot', tool: 'wikibot' },
  ...{ type: 'worker', name: 'worker.1', version: 4, rolloutId: 'k3x9q', container: undefined },
  ...{ isReady: false, isTerminating: false, terminatingSince: null, isScheduled: false, isOver: true },
};

test('if a node reports an evicted pod several times, each line of its output is in the tool’s log once, with the release of the pod', async () => {
  const log = pino({ enabled: false });
  const data = await mkdtemp(join(tmpdir(), 'toolforge-push-logs-'));
  const printed = ['2026-11-26T00:00:00.000000001Z one', '2026-11-26T00:00:00.000000002Z two'];
  const api = await fakeApi((url, response) => {
    if (url.pathname.endsWith('/log')) response.end(`${printed.join('\n')}\n`);
    else {
      const containerStatuses = [
        { name: CONTAINER, restartCount: 0, state: { terminated: { exitCode: 137 } } },
      ];
      answerJson(response, { status: { phase: 'Failed', containerStatuses } });
    }
  });
  const signal = AbortSignal.timeout(10_000);
  try {
    const toolLogs = new ToolLogs({ config: { data, log_size: 10_000 }, log });
    const toolLog = toolLogs.of('wikibot');
    const podLogs = new PodLogs({
      ...{ cluster: api.cluster, log, signal },
      toolLog: () => toolLog,
      isKnown: () => true,
    });
    for (const more of ['2026-11-26T00:00:00.000000003Z three', '2026-11-26T00:00:00.001000000Z four']) {
      podLogs.pod(POD, false);
      await podLogs.written(POD.uid);
      printed.push(more);
    }
    podLogs.pod(POD, false);
    await podLogs.written(POD.uid);
    const query = { process: null, lines: 100, follow: false, signal };
    const lines = (await Array.fromAsync(toolLog.read(query))).flat();
    assert.deepEqual(
      lines.map(({ version, text }) => `v${version} ${text}`),
      ['v4 one', 'v4 two', 'v4 three', 'v4 four'],
    );
  } finally {
    await api.close();
    await rm(data, { recursive: true });
  }
});

test('threat 197: if the lines of a pod cannot be written, no more than some megabytes of them wait', async () => {
  const { promise: written, resolve } = Promise.withResolvers<void>();
  const toolLog = { appendLines: () => written } as Pick<ToolLog, 'appendLines'>;
  const lines = new LineGathering(toolLog, POD);
  const add = (text: string) => lines.add({ at: '2026-11-26T00:00:00.000Z', text });
  add('x');
  await lines.room();
  for (let count = 0; count < 50_000; count += 1) add('');
  let hasRoom = false;
  const room = lines.room().then(() => {
    hasRoom = true;
  });
  await wait(50);
  assert.equal(hasRoom, false);
  resolve();
  await room;
});
