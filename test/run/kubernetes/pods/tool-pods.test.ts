import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { V1Pod } from '@kubernetes/client-node';
import { pino } from 'pino';
import type { ToolName } from '../../../../src/core/names.ts';
import { LABELS } from '../../../../src/run/kubernetes/manifests/object-names.ts';
import { ToolPods } from '../../../../src/run/kubernetes/pods/tool-pods.ts';
import { answerJson, fakeApi, refuse } from '../../../kubernetes/fake-api.ts';

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

test('threat 72: a pod that carries the labels of another tool’s rollout does not count as that tool’s pod', async () => {
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

test('pods of a preview a--b count only in the namespace of b, and pods of a tool a--b only in its own; until the server knows whether a--b is a preview or a tool, pods in both namespaces count', async () => {
  const items = [
    podOf('preview', 'tool-wikibot', 'fix--wikibot'),
    podOf('stray', 'tool-fix--wikibot', 'fix--wikibot'),
    podOf('tool', 'tool-a--b', 'a--b'),
    podOf('liar', 'tool-b', 'a--b'),
    podOf('other', 'tool-evil', 'fix--wikibot'),
  ];
  for (const isOpen of [true, false]) {
    const api = await fakeApi((url, response) => {
      if (url.searchParams.has('watch')) response.writeHead(200).flushHeaders();
      else answerJson(response, { items, metadata: { resourceVersion: '1' } });
    });
    const stop = new AbortController();
    try {
      const previewOf = (name: ToolName) => (name === 'fix--wikibot' ? ('wikibot' as ToolName) : null);
      const pods = new ToolPods('tool-', isOpen ? previewOf : () => undefined);
      pods.watch(api.cluster, pino({ enabled: false }), stop.signal);
      await pods.known(stop.signal, 5000);
      const uids = (tool: string) => pods.of(tool).map(({ uid }) => uid);
      assert.deepEqual(uids('fix--wikibot'), isOpen ? ['preview'] : ['preview', 'stray']);
      assert.deepEqual(uids('a--b'), isOpen ? ['tool'] : ['tool', 'liar']);
    } finally {
      stop.abort();
      await api.close();
    }
  }
});

test('if the cluster’s API refuses the watch of pods, the server reports the reason; when the API allows the watch again, the server knows the pods again', async () => {
  let isRefusing = false;
  let watches = 0;
  let items = [podOf('old', 'tool-wikibot', 'wikibot')];
  const api = await fakeApi((url, response) => {
    if (isRefusing) refuse(response, 401, 'Unauthorized', 'Unauthorized');
    else if (!url.searchParams.has('watch'))
      answerJson(response, { items, metadata: { resourceVersion: '1' } });
    else {
      watches += 1;
      response.writeHead(200).flushHeaders();
      if (watches > 1) return;
      isRefusing = true;
      response.end();
    }
  });
  const stop = new AbortController();
  const signal = AbortSignal.any([stop.signal, AbortSignal.timeout(10_000)]);
  try {
    const pods = new ToolPods('tool-');
    pods.watch(api.cluster, pino({ enabled: false }), stop.signal);
    await pods.known(signal, 5000);
    while (await isKnown(pods, signal)) await pods.change(100, signal);
    await assert.rejects(pods.known(signal, 5000), { code: 'CLUSTER_FORBIDDEN' });
    items = [podOf('new', 'tool-wikibot', 'wikibot')];
    isRefusing = false;
    while (!(await isKnown(pods, signal))) await pods.change(100, signal);
    assert.deepEqual(
      pods.of('wikibot').map(({ uid }) => uid),
      ['new'],
    );
  } finally {
    stop.abort();
    await api.close();
  }
});

async function isKnown(pods: ToolPods, signal: AbortSignal): Promise<boolean> {
  return await pods.known(signal, 0).then(
    () => true,
    () => false,
  );
}
