import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { ContainerAttachment } from '../../src/kubernetes/container-attach.ts';
import { fakeApi } from './fake-api.ts';

const PLACE = { namespace: 'tool-wikibot', pod: 'run', container: 'tool' };

/** A cluster whose node is gone accepts the request and never answers. */
async function silentCluster(t: TestContext) {
  const { promise: closed, resolve } = Promise.withResolvers<void>();
  const api = await fakeApi((_url, _response, { socket }) => void socket.once('close', resolve));
  t.after(() => api.close());
  return { cluster: api.cluster, closed };
}

test('when its abort signal fires, attaching to a container ends, even if the cluster does not answer', {
  timeout: 5000,
}, async (t) => {
  const { cluster } = await silentCluster(t);
  const options = { isTerminal: false, timeoutMs: 60_000, signal: AbortSignal.timeout(300) };
  await assert.rejects(ContainerAttachment.open(cluster, PLACE, options), { name: 'TimeoutError' });
});

test('when the time limit is over, attaching to a container ends, even if the cluster does not answer', {
  timeout: 5000,
}, async (t) => {
  const { cluster, closed } = await silentCluster(t);
  const options = { isTerminal: false, timeoutMs: 300, signal: new AbortController().signal };
  await assert.rejects(ContainerAttachment.open(cluster, PLACE, options), { code: 'ATTACH_FAILED' });
  await closed;
});

for (const { command, path, right } of [
  { command: undefined, path: /\/attach\?/, right: /may not attach to pods .*RBAC\) lacks pods\/attach/ },
  {
    command: ['ls', '-l', 'a b&c'],
    path: /\/exec\?.*command=ls&command=-l&command=a\+b%26c$/,
    right: /may not run commands in pods .*RBAC\) lacks pods\/exec/,
  },
]) {
  test(`${command === undefined ? 'attaching to a container' : 'a command in a pod'} fails if the server lacks the right, and the error names this right`, async (t) => {
    const api = await fakeApi((_url, response) => void response.writeHead(403).end());
    t.after(() => api.close());
    const { signal } = new AbortController();
    const options = { isTerminal: false, timeoutMs: 5000, signal, ...(command && { command }) };
    await assert.rejects(
      ContainerAttachment.open(api.cluster, PLACE, options),
      (error: Error & { code: string; hint: string }) =>
        error.code === 'CLUSTER_FORBIDDEN' && right.test(`${error.message} ${error.hint}`),
    );
    assert.match(api.asked.join(), path);
  });
}

/** A cluster that sends one byte on each of these channels, in order, as soon as somebody attaches to a container. */
async function attachedCluster(t: TestContext, channels: readonly number[]) {
  const api = await fakeApi(() => {});
  t.after(() => api.close());
  api.server.on('upgrade', ({ headers }, socket) => {
    const key = `${headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
    const accept = createHash('sha1').update(key).digest('base64');
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    );
    socket.write(Buffer.from(channels.flatMap((channel) => [0x82, 2, channel, 0x78])));
  });
  return api.cluster;
}

test('threat 198: bytes that a command writes one by one are joined into few messages for a slow client', async (t) => {
  const cluster = await attachedCluster(
    t,
    Array.from({ length: 2000 }, (_, index) => 1 + (index % 2)),
  );
  const options = { isTerminal: false, timeoutMs: 5000, signal: new AbortController().signal };
  using attachment = await ContainerAttachment.open(cluster, PLACE, options);
  const sizes: Record<string, number> = { output: 0, errors: 0 };
  let chunks = 0;
  for await (const { stream, bytes } of attachment.chunks()) {
    chunks += 1;
    sizes[stream] = (sizes[stream] ?? 0) + bytes.length;
    if (sizes['output'] === 1000 && sizes['errors'] === 1000) break;
    await wait(20);
  }
  assert.ok(chunks < 20, `${chunks} chunks`);
});
