import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { type TestContext, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import type { V1ContainerState } from '@kubernetes/client-node';
import { outputTime } from '../../src/core/fair-share/time-shares.ts';
import { followContainerLog } from '../../src/kubernetes/container-log.ts';
import { answerJson, type FakeApi, fakeApi, refuse } from './fake-api.ts';

const PLACE = { namespace: 'tool-wikibot', pod: 'web', container: 'tool' };
const RUNS: V1ContainerState = { running: {} };
const HAS_ENDED: V1ContainerState = { terminated: { exitCode: 0 } };

function answerPod(response: ServerResponse, state: V1ContainerState): void {
  const containerStatuses = [{ name: 'tool', restartCount: 0, state }];
  answerJson(response, { spec: { restartPolicy: 'Never' }, status: { phase: 'Running', containerStatuses } });
}

async function linesOf(t: TestContext, api: FakeApi): Promise<string[]> {
  t.after(() => api.close());
  const lines: string[] = [];
  await followContainerLog(
    api.cluster,
    PLACE,
    ({ text }) => void lines.push(text),
    AbortSignal.timeout(20_000),
  );
  return lines;
}

/** Makes the clock of the server run 200 times as fast. */
function hurry(t: TestContext): void {
  const now = performance.now.bind(performance);
  t.mock.method(performance, 'now', () => now() * 200);
}

test('the server continues to follow a container’s log after the API did not answer for minutes', async (t) => {
  hurry(t);
  let awayUntil: number | null = null;
  const api = await fakeApi((url, response) => {
    const isAway = awayUntil !== null && Date.now() < awayUntil;
    if (isAway) refuse(response, 503, 'ServiceUnavailable', 'it starts');
    else if (!url.pathname.endsWith('/log')) answerPod(response, awayUntil === null ? RUNS : HAS_ENDED);
    else if (awayUntil === null) {
      awayUntil = Date.now() + 1500;
      response.write('2026-11-26T00:00:00.000000001Z one\n', () => response.destroy());
    } else {
      response.end('2026-11-26T00:00:00.000000001Z one\n2026-11-26T00:00:01.000000001Z two\n');
    }
  });
  assert.deepEqual(await linesOf(t, api), ['one', 'two']);
});

// The kubelet writes lines without a time stamp: `failed to create fsnotify watcher: …`, `unable to retrieve container logs for …`.
test('the server continues to read a container’s log after a line without a time stamp, which the node itself writes', async (t) => {
  let answers = 0;
  const api = await fakeApi((url, response) => {
    if (!url.pathname.endsWith('/log')) answerPod(response, answers === 0 ? RUNS : HAS_ENDED);
    else if (answers++ === 0) {
      response.end(
        '2026-11-26T00:00:00.000000001Z one\nfailed to create fsnotify watcher: too many open files',
      );
    } else {
      response.end(
        '2026-11-26T00:00:00.000000001Z one\nunable to retrieve container logs for containerd://3f\n2026-11-26T00:00:01.000000001Z two\n',
      );
    }
  });
  assert.deepEqual(await linesOf(t, api), ['one', 'two']);
});

/** A container that prints without end. `bytes` tells how many bytes the server has taken of its log. */
async function endless(t: TestContext, piece: string) {
  const sent = { bytes: 0 };
  const api = await fakeApi((url, response) => {
    if (!url.pathname.endsWith('/log')) return answerPod(response, RUNS);
    response.write('2026-11-26T00:00:00.000000001Z ');
    const send = () => {
      while (response.write(piece, () => (sent.bytes += piece.length)));
    };
    response.on('drain', send);
    send();
  });
  t.after(() => api.close());
  const stop = new AbortController();
  t.after(() => stop.abort());
  return { api, sent, signal: stop.signal };
}

test('threat 197: while the server cannot write the lines of a container’s log, it stops reading this log', async (t) => {
  const { api, sent, signal } = await endless(
    t,
    `\n2026-11-26T00:00:00.000000001Z ${'x'.repeat(1000)}`.repeat(60),
  );
  void followContainerLog(
    api.cluster,
    PLACE,
    () => {},
    signal,
    () => wait(3000),
  );
  await wait(1000);
  assert.ok(sent.bytes < 16 * 2 ** 20, `${sent.bytes} bytes were read`);
});

for (const [kind, piece] of [
  ['an endless line', 'x'.repeat(65_536)],
  ['empty lines', '\n2026-11-26T00:00:00.000000001Z '.repeat(2000)],
] as const) {
  test(`threat 196: if other output has used up the time that the server may spend on output, the server stops reading ${kind} of a container for a while`, async (t) => {
    const { api, sent, signal } = await endless(t, piece);
    // Uses so much of the time for output that none is left for the next seconds.
    await outputTime.run('other', () => {
      for (const end = performance.now() + 600; performance.now() < end; );
    });
    void followContainerLog(api.cluster, PLACE, () => {}, signal);
    await wait(1000);
    assert.ok(sent.bytes < 16 * 2 ** 20, `${sent.bytes} bytes were read`);
  });
}
