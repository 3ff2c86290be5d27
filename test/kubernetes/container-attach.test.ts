import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
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
