import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import type { Process } from '../../../../src/core/types.ts';
import { LABELS } from '../../../../src/run/kubernetes/manifests/object-names.ts';
import { ToolPods } from '../../../../src/run/kubernetes/pods/tool-pods.ts';
import { resumeRollout } from '../../../../src/run/kubernetes/resume/resume-rollout.ts';
import { LiveRollouts } from '../../../../src/run/kubernetes/rollout/live-rollouts.ts';
import { answerJson, fakeApi } from '../../../kubernetes/fake-api.ts';
import { rolloutOf } from '../a-rollout.ts';
import { manifestConfig } from '../manifests/manifest-config.ts';

const web: Process = { type: 'web', command: ['serve'], isDefault: true };
const labels = { [LABELS.rollout]: 'k3x9q', [LABELS.process]: 'web', [LABELS.version]: '42' };

for (const { whose, public_url, removed } of [
  {
    whose: "the server's own host",
    public_url: 'https://wikibot.toolforge.org',
    removed: ['/apis/networking.k8s.io/v1/namespaces/tool-wikibot/ingresses/wikibot-subdomain'],
  },
  { whose: 'another host', public_url: 'https://push.toolforge.org', removed: [] },
]) {
  const verb = removed.length > 0 ? 'deletes' : 'keeps';
  test(`a starting server deletes a tool’s Ingress only if the Ingress has the server’s own host: the server ${verb} an Ingress for ${whose}`, async () => {
    const deleted: string[] = [];
    const api = await fakeApi((url, response, { method }) => {
      if (method === 'DELETE') deleted.push(url.pathname);
      const deployment = { metadata: { name: 'wikibot-web', labels }, spec: { replicas: 1 } };
      if (url.pathname.endsWith('/services/wikibot')) answerJson(response, { spec: { selector: labels } });
      else answerJson(response, { items: url.pathname.endsWith('/deployments') ? [deployment] : [] });
    });
    const stop = new AbortController();
    try {
      const parts = {
        cluster: api.cluster,
        pods: new ToolPods('tool-'),
        config: { ...manifestConfig, public_url },
        closing: stop.signal,
      };
      const live = new LiveRollouts({ parts, drainMs: 0, log: pino({ enabled: false }) });
      const fresh = rolloutOf([web], { id: 'fresh' });
      const { later } = await resumeRollout(live, { fresh, toolNumber: 1, onKnown: () => {} });
      assert.equal(later, null);
      assert.equal(live.of('wikibot')?.id, 'k3x9q');
      assert.deepEqual(deleted, removed);
    } finally {
      stop.abort();
      await api.close();
    }
  });
}
