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

test('when the signal fires, attaching to a container ends, even if the cluster does not answer', {
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
