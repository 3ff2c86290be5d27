import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import type { ToolName } from '../../../src/core/names.ts';
import { applyObject } from '../../../src/kubernetes/apply.ts';
import { LIVE } from '../../../src/run/kubernetes/manifests/object-names.ts';
import { ingress, rolloutObjects, service } from '../../../src/run/kubernetes/manifests/rollout-manifests.ts';
import { releaseOf, rollOut, until } from '../../run/contract-steps.ts';
import { web, webTool } from '../../run/tool-sources.ts';
import { kubectl } from '../installation/kubectl.ts';
import { type ClusterBench, clusterBench } from './runtime-bench.ts';

interface Labelled {
  readonly metadata: { labels?: Record<string, string>; annotations?: Record<string, string> };
}

describe('objects of an earlier server version', { concurrency: 1 }, () => {
  let bench: ClusterBench;
  before(async () => {
    bench = await clusterBench();
  });
  after(() => bench.close());

  /**
   * Returns the object as an earlier server version made it: its label `app.kubernetes.io/name` is the process type. It
   * has no liveness probe and no disk request.
   */
  function asBefore<Kind extends object>(object: Kind): Kind {
    const old = structuredClone(object) as Kind & Labelled;
    const relabel = ({ labels = {} }: Labelled['metadata']) => {
      const type = labels['push.toolforge.org/process'];
      if (type === undefined) delete labels['app.kubernetes.io/name'];
      else labels['app.kubernetes.io/name'] = type;
      delete labels['app.kubernetes.io/instance'];
      delete labels['app.kubernetes.io/version'];
    };
    relabel(old.metadata);
    const { template } = (old as { spec?: { template?: Labelled & { spec: PodSpec } } }).spec ?? {};
    if (template === undefined) return old;
    relabel(template.metadata);
    const [container] = template.spec.containers;
    delete container?.livenessProbe;
    delete container?.resources.requests['ephemeral-storage'];
    old.metadata.annotations = { ...old.metadata.annotations, [LIVE]: 'true' };
    return old;
  }

  test('a release that an earlier version of the server rolled out is resumed and still answers with the same pods, and the next release replaces it', async () => {
    const tool = 'older' as ToolName;
    const namespace = `${bench.prefix}${tool}`;
    const [one, two] = await Promise.all(
      ['one', 'two'].map((word) => bench.artifact({ 'web.py': webTool(word) }, [web()])),
    );
    assert.ok(one !== undefined && two !== undefined);
    const release = releaseOf(tool, 1, one, { API_KEY: 'secret' });
    const rollout = { release, id: 'abcdefghij', namespace, replicas: {} };
    const { config: secret, deployments } = rolloutObjects({ rollout, toolNumber: 1, config: bench.config });
    const way = [
      service({ tool, namespace, rolloutId: rollout.id }),
      ingress({ tool, namespace }, bench.config),
    ];
    await kubectl('create', 'namespace', namespace);
    const { signal } = new AbortController();
    assert.ok(secret !== null);
    for (const object of [secret, ...deployments, ...way]) {
      await applyObject(bench.cluster, asBefore(object), { signal });
    }
    const pods = async () => (await kubectl('-n', namespace, 'get', 'pods', '-o', 'name')).split('\n');
    const answer = async () => (await bench.request(tool, '/').catch(() => null))?.body;
    await until(async () => (await answer()) === 'one', 'the old pod serves');
    const before = await pods();

    const next = bench.startAnother('upgraded');
    await next.resume(release, 1, {});
    const budget = ['-n', namespace, 'get', 'poddisruptionbudgets', '-o', 'name'];
    await until(async () => (await kubectl(...budget)) !== '', 'its budget', 40);
    await wait(2000);
    assert.deepEqual(await pods(), before);
    assert.equal(await answer(), 'one');
    assert.deepEqual(
      (await next.status(tool)).map(({ name, state, restarts }) => [name, state, restarts]),
      [['web.1', 'up', 0]],
    );
    assert.equal(await kubectl('-n', namespace, 'get', 'resourcequota', '-o', 'name'), '');

    await rollOut(next, releaseOf(tool, 2, two));
    assert.equal(await answer(), 'two');
    await until(async () => {
      const left = await kubectl('-n', namespace, 'get', 'deployment,secret,pod,pdb', '-o', 'name');
      return !left.includes('-v1-');
    }, 'the old release is gone');
    await next.close();
  });
});

interface PodSpec {
  readonly containers: { livenessProbe?: object; resources: { requests: Record<string, string> } }[];
}
