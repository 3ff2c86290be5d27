import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { describe, test } from 'node:test';
import { askPod } from '../../../../src/run/kubernetes/pods/ask-pod.ts';
import { fakeApi, refuse } from '../../../kubernetes/fake-api.ts';

const pod = { namespace: 'tool-evil', podName: 'web' };
const signal = new AbortController().signal;
const proxy = '/api/v1/namespaces/tool-evil/pods/web:8000/proxy';

async function ask(path: string, answer: (response: ServerResponse) => void) {
  const api = await fakeApi((_url, response) => answer(response));
  try {
    const request = { port: 8000, path, answerMs: 5000 };
    return { answer: await askPod(api.cluster, pod, request, signal), asked: api.asked };
  } finally {
    await api.close();
  }
}

describe('a hostile pod cannot harm the server that asks it', () => {
  for (const path of [
    '/../../../../../../api/v1/namespaces/tool-other/pods/web:8000/proxy/delete',
    '/%2e%2e/%2E%2e/.%2e/secrets',
    '/..\\..\\..\\secrets',
    '/..%2f..%2F..%2f..%2fsecrets',
    '/..%5c..%5c..%5csecrets',
    '/a%2f.%2e%2f%2e.%2fsecrets',
  ]) {
    test(`threat 72: a health check path with “..” leads to no other pod and no API object: ${path}`, async () => {
      const { asked } = await ask(path, (response) => response.end());
      const [raw = ''] = asked;
      assert.ok(raw.startsWith(`${proxy}/`), raw);
      // The API server decodes the path like this.
      assert.doesNotMatch(decodeURIComponent(raw), /[/\\]\.{1,2}(?=[/\\]|$)/);
    });
  }

  test('a health check path without `..` is sent to the pod unchanged', async () => {
    const { asked } = await ask('/a//b/.well-known/x..y/?q=../%2f', (response) => response.end());
    assert.deepEqual(asked, [`${proxy}/a//b/.well-known/x..y/?q=../%2f`]);
  });

  test('the server reads only the beginning of a pod’s endless answer', async () => {
    let sent = 0;
    const began = performance.now();
    const { answer } = await ask('/', (response) => {
      response.writeHead(503);
      void (async () => {
        const piece = Buffer.alloc(64 * 1024, 'x');
        while (!response.destroyed) {
          sent += piece.length;
          if (!response.write(piece)) await Promise.race([once(response, 'drain'), once(response, 'close')]);
        }
      })();
    });
    assert.equal(answer, 503);
    assert.ok(performance.now() - began < 2000);
    assert.ok(sent < 8 * 1024 * 1024, `${sent} bytes were sent`);
  });

  test('a pod’s answer with 100,000 bytes of headers counts as a closed connection, not as a fault of the API server', async () => {
    const { answer } = await ask('/', (response) => {
      response.writeHead(200, { 'x-long': 'x'.repeat(100_000) }).end();
    });
    assert.equal(answer, 'closed');
  });

  test('if a pod switches protocols without being asked, its answer counts as status 101, and the server waits no longer', async () => {
    const { answer } = await ask('/', (response) => {
      response.socket?.end('HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n');
    });
    assert.equal(answer, 101);
  });

  test('if the API server reports that a pod switches protocols without being asked, the pod’s answer is 101', async () => {
    const said = 'backend tried to switch protocol "websocket" when "" was requested';
    const { answer } = await ask('/', (response) => refuse(response, 500, '', said));
    assert.equal(answer, 101);
  });

  for (const [said, meant] of [
    ['dial tcp 10.88.0.7:8000: connect: connection refused', 'refused'],
    ['dial tcp 10.88.0.7:8000: i/o timeout', 'unreached'],
    ['dial tcp 10.88.0.7:8000: connect: no route to host', 'unreached'],
    ['EOF', 'closed'],
    ['read tcp 10.88.0.1:4->10.88.0.7:8000: read: connection reset by peer', 'closed'],
    ['net/http: HTTP/1.x transport connection broken: malformed HTTP response "\\x00"', 'not HTTP'],
    ['net/http: timeout awaiting response headers', 'late'],
  ] as const) {
    test(`the server recognises why the API server cannot send a request to a pod: ${said}`, async () => {
      const { answer } = await ask('/', (response) =>
        refuse(response, 503, 'ServiceUnavailable', `error trying to reach service: ${said}`),
      );
      assert.equal(answer, meant);
    });
  }

  test('a redirect of a pod counts as its answer, and the server does not follow it', async () => {
    const { answer, asked } = await ask('/', (response) =>
      response.writeHead(302, { location: '/api/v1/secrets' }).end(),
    );
    assert.deepEqual([answer, asked.length], [302, 1]);
  });
});

for (const [code, reason] of [
  [401, 'Unauthorized'],
  [404, 'NotFound'],
  [429, 'TooManyRequests'],
  [500, 'InternalError'],
] as const) {
  test(`the status ${code} from the API server itself is not taken for an answer of the pod`, async () => {
    await assert.rejects(
      ask('/', (response) => refuse(response, code, reason, 'the API is meant')),
      { code },
    );
    const { answer } = await ask('/', (response) => {
      response.writeHead(code, { 'content-type': 'application/json' }).end('{"error":"the tool is meant"}');
    });
    assert.equal(answer, code);
  });
}
