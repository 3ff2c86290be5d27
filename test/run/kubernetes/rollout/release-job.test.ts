import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { V1ContainerState } from '@kubernetes/client-node';
import { pino } from 'pino';
import { progressTo } from '../../../../src/core/progress.ts';
import type { Process } from '../../../../src/core/types.ts';
import { CONTAINER, LABELS } from '../../../../src/run/kubernetes/manifests/object-names.ts';
import { ToolPods } from '../../../../src/run/kubernetes/pods/tool-pods.ts';
import { runReleaseJob } from '../../../../src/run/kubernetes/rollout/release-job.ts';
import { ToolLogs } from '../../../../src/run/logs/log-folder.ts';
import { answerJson, answerKinds, fakeApi, refuse } from '../../../kubernetes/fake-api.ts';
import { rolloutOf } from '../a-rollout.ts';
import { manifestConfig } from '../manifests/manifest-config.ts';

const process: Process = { type: 'release', command: ['migrate'], isDefault: false };
const namespace = 'tool-wikibot';
const rollout = rolloutOf([process], { version: 4 });

function podIn(state: V1ContainerState, resourceVersion: string) {
  const labels = {
    [LABELS.tool]: 'wikibot',
    [LABELS.process]: 'release',
    [LABELS.rollout]: rollout.id,
    [LABELS.version]: '4',
  };
  return {
    metadata: { uid: 'u', name: 'release-v4-k3x9q-1', namespace, labels, resourceVersion },
    spec: { restartPolicy: 'Never' },
    status: { phase: 'Running', containerStatuses: [{ name: CONTAINER, restartCount: 0, state }] },
  };
}

test('if the server may not read the output of a release command, the release phase fails with CLUSTER_FORBIDDEN', async () => {
  const log = pino({ enabled: false });
  const api = await fakeApi((url, response, { method }) => {
    if (answerKinds(url, response)) return;
    if (method !== 'GET') return answerJson(response, {});
    if (url.pathname.includes('/pods/')) return refuse(response, 403, 'Forbidden', 'pods is forbidden');
    if (!url.searchParams.has('watch')) {
      const items = url.pathname === '/api/v1/pods' ? [podIn({ running: {} }, '1')] : [];
      return answerJson(response, { items, metadata: { resourceVersion: '1' } });
    }
    response.writeHead(200).flushHeaders();
    if (url.pathname !== '/api/v1/pods') return;
    const object = podIn({ terminated: { exitCode: 0 } }, '2');
    const tell = (type: string) => void response.write(`${JSON.stringify({ type, object })}\n`);
    setTimeout(tell, 500, 'MODIFIED');
    setTimeout(tell, 1500, 'DELETED');
  });
  const stop = new AbortController();
  try {
    const pods = new ToolPods('tool-');
    pods.watch(api.cluster, log, stop.signal);
    await pods.known(stop.signal, 5000);
    const config = { ...manifestConfig, release_time: 10_000 };
    const toolLog = new ToolLogs({ config: { data: '/nowhere', log_size: 1 }, log }).of('wikibot');
    const parts = { cluster: api.cluster, pods, config, closing: stop.signal };
    const phase = {
      step: 'release' as const,
      release: rollout.release,
      toolNumber: 1,
      progress: progressTo(() => {}),
    };
    await assert.rejects(
      runReleaseJob(parts, { rollout, process, toolLog }, { ...phase, signal: AbortSignal.timeout(20_000) }),
      { code: 'CLUSTER_FORBIDDEN' },
    );
  } finally {
    stop.abort();
    await api.close();
  }
});
