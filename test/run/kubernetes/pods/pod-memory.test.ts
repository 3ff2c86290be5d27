import assert from 'node:assert/strict';
import { test } from 'node:test';
import { podMemory } from '../../../../src/run/kubernetes/pods/pod-memory.ts';
import { answerJson, fakeApi, refuse } from '../../../kubernetes/fake-api.ts';

test('the memory of a tool’s pods comes from the metrics server, and is unknown if the cluster has none', async () => {
  let hasMetrics = true;
  const api = await fakeApi((_url, response) => {
    if (!hasMetrics)
      return refuse(response, 404, 'NotFound', 'the server could not find the requested resource');
    const podOf = (name: string, memory: string) => ({
      metadata: { name },
      containers: [
        { name: 'other', usage: { memory: '1Gi' } },
        { name: 'job', usage: { cpu: '1m', memory } },
      ],
    });
    answerJson(response, { items: [podOf('web-1', '61440Ki'), podOf('web-2', '?')] });
  });
  try {
    assert.deepEqual(
      [...(await podMemory(api.cluster, 'wikibot', 'tool-wikibot'))],
      [['web-1', 60 * 2 ** 20]],
    );
    assert.match(
      api.asked[0] ?? '',
      /^\/apis\/metrics\.k8s\.io\/v1beta1\/namespaces\/tool-wikibot\/pods\?labelSelector=.*wikibot$/,
    );
    hasMetrics = false;
    assert.equal((await podMemory(api.cluster, 'wikibot', 'tool-wikibot')).size, 0);
  } finally {
    await api.close();
  }
});
