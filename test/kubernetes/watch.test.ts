import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { describe, test } from 'node:test';
import { type Watched, watchObjects } from '../../src/kubernetes/watch.ts';
import { answerJson, fakeApi, refuse } from './fake-api.ts';

interface Thing extends Watched {
  readonly metadata: { readonly uid: string; readonly resourceVersion: string };
}

const thing = (uid: string, version: number): Thing => ({
  metadata: { uid, resourceVersion: String(version) },
});
const list = (version: number, ...items: Thing[]) => ({
  items,
  metadata: { resourceVersion: String(version) },
});
const event = (type: string, object: unknown) => `${JSON.stringify({ type, object })}\n`;

type Step = (response: ServerResponse) => void;

/** Watches an API that answers lists and watches by these steps. @returns what was reported until `done`. */
async function told(
  lists: Step[],
  watches: Step[],
  done: (log: string[]) => boolean,
  { isMetadata = false, goesOn = false } = {},
) {
  const api = await fakeApi((url, response) => {
    const steps = url.searchParams.get('watch') === null ? lists : watches;
    const step = steps.length > 1 ? steps.shift() : steps[0];
    step?.(response);
  });
  const stop = new AbortController();
  const limit = AbortSignal.any([stop.signal, AbortSignal.timeout(15_000)]);
  const log: string[] = [];
  const note = (text: string) => {
    log.push(text);
    if (done(log)) stop.abort();
  };
  try {
    await watchObjects<Thing>(api.cluster, {
      path: '/things',
      labels: 'a=b',
      signal: limit,
      ...(isMetadata ? { keep: (one: Thing) => one } : {}),
      ...(goesOn ? { onRefused: (error: unknown) => note(`refused: ${error instanceof Error}`) } : {}),
      onState: ({ metadata }) => note(`${metadata.uid}@${metadata.resourceVersion}`),
      onGone: ({ metadata }) => note(`gone ${metadata.uid}`),
    });
  } finally {
    await api.close();
  }
  assert.ok(stop.signal.aborted, `only this was told: ${log.join(', ')}`);
  return { log, asked: api.asked };
}

const ends =
  (...events: string[]): Step =>
  (response) =>
    void response.writeHead(200).end(events.join(''));
const stays =
  (...events: string[]): Step =>
  (response) => {
    response.writeHead(200).flushHeaders();
    response.write(events.join(''));
  };
const cut =
  (...events: string[]): Step =>
  (response) => {
    response.writeHead(200).write(`${events.join('')}{"type":"MODI`);
    setTimeout(() => response.destroy(), 50);
  };
const lists =
  (version: number, ...items: Thing[]): Step =>
  (response) =>
    answerJson(response, list(version, ...items));

describe('threat 76: watchObjects', () => {
  test('a watch of the cluster reports existing objects, then changes, then deletions', async () => {
    const { log, asked } = await told(
      [lists(5, thing('a', 3))],
      [
        stays(
          event('MODIFIED', thing('a', 6)),
          event('ADDED', thing('b', 7)),
          event('DELETED', thing('a', 8)),
        ),
      ],
      (seen) => seen.includes('gone a'),
    );
    assert.deepEqual(log, ['a@3', 'a@6', 'b@7', 'gone a']);
    assert.match(asked[1] ?? '', /labelSelector=a%3Db.*resourceVersion=5/);
  });

  test('a watch of the cluster that ends or is cut continues after the last change, without a new list', async () => {
    const { log, asked } = await told(
      [lists(5, thing('a', 3))],
      [
        ends(event('BOOKMARK', thing('', 9))),
        cut(event('MODIFIED', thing('a', 10))),
        stays(event('ADDED', thing('b', 11))),
      ],
      (seen) => seen.includes('b@11'),
    );
    assert.deepEqual(log, ['a@3', 'a@10', 'b@11']);
    assert.deepEqual(
      asked.map((path) => /resourceVersion=(\d+)/.exec(path)?.[1] ?? 'list'),
      ['list', '5', '9', '10'],
    );
  });

  test('a watch can ask the cluster for metadata only, and takes a list with `items: null` as empty', async () => {
    const accepts: unknown[] = [];
    const nothing: Step = (response) => {
      accepts.push(response.req.headers.accept);
      answerJson(response, { items: null, metadata: { resourceVersion: '5' } });
    };
    const isThere: Step = (response) => {
      accepts.push(response.req.headers.accept);
      stays(event('ADDED', thing('a', 6)))(response);
    };
    const { log } = await told([nothing], [isThere], (seen) => seen.includes('a@6'), {
      isMetadata: true,
    });
    assert.deepEqual(log, ['a@6']);
    assert.deepEqual(accepts, [
      'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1',
      'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1',
    ]);
  });

  for (const { name, gone } of [
    { name: 'in the stream', gone: ends(event('ERROR', { kind: 'Status', code: 410, reason: 'Expired' })) },
    { name: 'as an answer', gone: (response: ServerResponse) => refuse(response, 410, 'Expired', 'too old') },
  ]) {
    test(`if the cluster answers a watch with 410 Gone (${name}), the watch lists all objects anew and reports deleted objects`, async () => {
      const { log } = await told(
        [lists(5, thing('a', 3), thing('b', 4)), lists(20, thing('b', 4), thing('c', 15))],
        [gone, stays()],
        (seen) => seen.includes('c@15'),
      );
      assert.deepEqual(log, ['a@3', 'b@4', 'gone a', 'c@15']);
    });
  }

  test('a watch of the cluster asks again if the API is overloaded or restarts', async () => {
    const busy: Step = (response) => refuse(response, 429, 'TooManyRequests', 'later');
    const starting: Step = (response) => refuse(response, 403, 'Forbidden', 'things is forbidden: User "u"');
    const away: Step = (response) => response.destroy();
    const { log } = await told([busy, away, starting, lists(5, thing('a', 3))], [stays()], (seen) =>
      seen.includes('a@3'),
    );
    assert.deepEqual(log, ['a@3']);
  });

  test('if the server lacks the right to list the watched objects, the watch fails immediately, and the error names the objects', async () => {
    const forbidden: Step = (response) =>
      refuse(
        response,
        403,
        'Forbidden',
        'things is forbidden: User "u" cannot list resource "things" in API group ""',
      );
    await assert.rejects(
      told([forbidden], [stays()], () => false),
      { code: 'CLUSTER_FORBIDDEN', message: /may not list things/ },
    );
  });

  test('a watch of the cluster that reports its errors continues after an error page of a proxy and after a bug of its listener', async () => {
    const page: Step = (response) => void response.writeHead(200).end('<html>Maintenance</html>');
    let isBroken = true;
    const { log } = await told(
      [page, lists(5, thing('a', 3)), lists(20, thing('a', 3), thing('b', 7))],
      [stays(event('ADDED', thing('b', 6)))],
      (seen) => {
        if (!seen.includes('b@6') || !isBroken) return seen.includes('b@7');
        isBroken = false;
        throw new Error('our own bug');
      },
      { goesOn: true },
    );
    assert.deepEqual(log, ['refused: true', 'a@3', 'b@6', 'refused: true', 'b@7']);
  });

  test('a watch of the cluster whose listener throws an error fails with this error', async () => {
    await assert.rejects(
      told([lists(5)], [stays(event('ADDED', thing('a', 6)))], () => {
        throw new Error('our own bug');
      }),
      /our own bug/,
    );
  });
});
