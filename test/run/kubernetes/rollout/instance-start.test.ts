import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ToolName } from '../../../../src/core/names.ts';
import { progressTo } from '../../../../src/core/progress.ts';
import type { Artifact, Process } from '../../../../src/core/types.ts';
import type { Cluster } from '../../../../src/kubernetes/cluster.ts';
import { NamespaceEvents } from '../../../../src/run/kubernetes/pods/namespace-events.ts';
import { type ToolPod, ToolPods } from '../../../../src/run/kubernetes/pods/tool-pods.ts';
import { type InstanceParts, InstanceStart } from '../../../../src/run/kubernetes/rollout/instance-start.ts';
import { releaseOf } from '../../contract-steps.ts';
import { web } from '../../tool-sources.ts';

test('while the cluster creates no pod, the push says so', async () => {
  const artifact: Artifact = {
    ...{ id: 'b1', kind: 'image', reference: 'r/x@sha256:0', buildpacks: [], bytes: 1 },
    processes: [web()],
    service: { healthCheckPath: null },
  };
  const release = releaseOf('wikibot' as ToolName, 1, artifact);
  const told: string[] = [];
  const parts: InstanceParts = {
    cluster: {} as Cluster,
    pods: new ToolPods('tool-'),
    events: new NamespaceEvents(() => {}),
    config: { settle_time: 500, pod_start_time: 60_000 } as InstanceParts['config'],
  };
  const start = new InstanceStart(parts, {
    rollout: { release, id: 'k3x9q', namespace: 'tool-wikibot', replicas: {} },
    process: web(),
    name: 'web.1',
    progress: progressTo((text) => told.push(text)),
    signal: AbortSignal.timeout(6500),
  });
  await assert.rejects(start.untilHealthy(), { name: 'TimeoutError' });
  assert.match(told.join(''), /^ +web\.1: the cluster has not made its pod yet\n$/);
});

/**
 * The start of a worker whose pod does not become ready because of its health check script.
 *
 * @param message - What the cluster says about the health check of the pod. Null if the cluster says nothing.
 */
function unready(message: string | null): InstanceStart {
  const process: Process = {
    ...{ type: 'worker', command: ['x'], isDefault: false },
    settings: { healthCheckScript: './check' },
  };
  const release = releaseOf(
    'wikibot' as ToolName,
    1,
    {
      ...{ id: 'b1', kind: 'image', reference: 'r/x@sha256:0', buildpacks: [], bytes: 1 },
      processes: [process],
      service: { healthCheckPath: null },
    },
    { API_KEY: 'very-secret-value' },
  );
  const pod = {
    ...{ uid: 'u1', name: 'worker.1', podName: 'p', namespace: 'tool-wikibot', tool: 'wikibot', pod: {} },
    ...{ isReady: false, isTerminating: false, container: { state: { running: {} } } },
  } as ToolPod;
  class OnePod extends ToolPods {
    override ofRollout = () => [pod];
  }
  class OneEvent extends NamespaceEvents {
    override ofPod = () => (message === null ? [] : [{ reason: 'Unhealthy', message }]) as never;
  }
  const parts: InstanceParts = {
    cluster: { core: { readNamespacedPodLog: async () => '' } } as unknown as Cluster,
    pods: new OnePod('tool-'),
    events: new OneEvent(() => {}),
    config: { settle_time: 500, pod_start_time: 60_000, health_time: 100 } as InstanceParts['config'],
  };
  return new InstanceStart(parts, {
    rollout: { release, id: 'k3x9q', namespace: 'tool-wikibot', replicas: {} },
    ...{ process, name: 'worker.1', progress: progressTo(() => {}) },
    signal: AbortSignal.timeout(30_000),
  });
}

test('threat 63: config vars in the output of a health check script, which the cluster quotes, are masked', async () => {
  await assert.rejects(unready('Startup probe failed:\nvery-secret-value\n').untilHealthy(), {
    message: /own check: Startup probe failed: \[config var API_KEY\]/,
  });
});

test('if no event of the cluster says why a worker is not healthy, the hint names the worker’s health_check_script, not PORT', async () => {
  await assert.rejects(unready(null).untilHealthy(), {
    message: /^worker\.1 did not become healthy/,
    hint: 'The last output of the process is above. Its health_check_script must end with 0 in time.',
  });
});
