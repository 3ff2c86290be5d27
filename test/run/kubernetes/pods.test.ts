import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { V1Pod } from '@kubernetes/client-node';
import { pino } from 'pino';
import { LABELS } from '../../../src/run/kubernetes/names.ts';
import { ToolPods } from '../../../src/run/kubernetes/pods.ts';
import { answerJson, fakeApi } from '../../kubernetes/fake-api.ts';

function podOf(uid: string, namespace: string, tool: string): V1Pod {
  const labels = {
    [LABELS.tool]: tool,
    [LABELS.process]: 'web',
    [LABELS.rollout]: 'k3x9q',
    [LABELS.version]: '4',
  };
  const conditions = [{ type: 'Ready', status: 'True' }];
  return { metadata: { uid, name: uid, namespace, labels }, status: { conditions } };
}

test('threat 72: a pod with the labels of another tool’s rollout is not taken for one of its', async () => {
  const items = [
    podOf('own', 'tool-victim', 'victim'),
    podOf('twin', 'tool-evil', 'evil'),
    podOf('liar', 'tool-evil', 'victim'),
  ];
  const api = await fakeApi((url, response) => {
    if (url.searchParams.has('watch')) response.writeHead(200).flushHeaders();
    else answerJson(response, { items, metadata: { resourceVersion: '1' } });
  });
  const stop = new AbortController();
  try {
    const pods = new ToolPods('tool-');
    pods.watch(api.cluster, pino({ enabled: false }), stop.signal);
    await pods.known(stop.signal, 5000);
    const names = (namespace: string) =>
      pods.ofRollout({ id: 'k3x9q', namespace }).map(({ uid, name }) => [uid, name]);
    assert.deepEqual(names('tool-victim'), [['own', 'web.1']]);
    assert.deepEqual(names('tool-evil'), [['twin', 'web.1']]);
    assert.deepEqual(
      pods.of('victim').map(({ uid }) => uid),
      ['own'],
    );
  } finally {
    stop.abort();
    await api.close();
  }
});
