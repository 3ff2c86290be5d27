import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { until } from '../../support/server.ts';
import { type Files, WorkTree, webTool } from '../../support/work-tree.ts';
import { builderWithScript } from '../installation/images.ts';
import { ClusterServer } from './cluster-server.ts';

const TOOL = 'killed';
const FRESH = 'fresh';
const ENDED = ['live', 'failed', 'interrupted', 'superseded', 'cancelled'];
const LIMIT_MS = 120_000;

// Process 1 of a container gets a signal only if it has a handler for it.
const ENDS_AT_ONCE = 'import os, signal\nsignal.signal(signal.SIGTERM, lambda *_: os._exit(0))\n';

/** A web tool that ends at once on SIGTERM. @param first - Code that its web process runs before it listens. */
function politeTool(answer: string, { first = '' } = {}): Files {
  const { 'server.py': server = '', ...files } = webTool(answer, 'echo built');
  return { ...files, 'server.py': `${ENDS_AT_ONCE}${first}\n${server}` };
}
const forever = 'import time; time.sleep(600)';

// For kills during a build, see resumed-builds.test.ts.
describe('a server that is killed during a push on a cluster', { concurrency: 1 }, () => {
  let there: ClusterServer;
  let tree: WorkTree;
  /** For each commit, the text with which its tool answers. */
  const answers = new Map<string, string>();

  before(async () => {
    there = await ClusterServer.start(await builderWithScript(), {
      TOOLFORGE_PUSH_GRACE_TIME: '1',
      TOOLFORGE_PUSH_DRAIN_TIME: '0',
      TOOLFORGE_PUSH_POD_CPU_RESERVED: '10m',
    });
    await there.server.addTool(TOOL);
    tree = await WorkTree.create(there.server, 'ssh', TOOL);
    await commit(politeTool('one'), 'one');
    const pushed = await tree.push();
    assert.equal(pushed.exitCode, 0, pushed.stderr);
  });
  after(() => there?.[Symbol.asyncDispose]());

  async function commit(files: Files, answer: string): Promise<void> {
    answers.set(await tree.commit(answer, files), answer);
  }

  /** Pushes, kills the server when `isMidway` returns true, and starts it again. */
  async function killIn(what: WorkTree, isMidway: () => Promise<boolean>, where: string): Promise<void> {
    const pushing = what.push('-f', 'toolforge', 'main');
    await until(isMidway, where, LIMIT_MS);
    await there.server.kill('SIGKILL');
    await there.server.boot(LIMIT_MS);
    assert.notEqual((await pushing).exitCode, 0, 'the push was told that it is live');
  }

  /** Waits until no deployment runs and the tool answers as the commit of main should. @returns this answer. */
  async function mainAnswers(): Promise<string> {
    await until(
      async () => {
        const { stdout } = await there.server.command('deployments', TOOL, '--json');
        return (JSON.parse(stdout) as { state: string }[]).every(({ state }) => ENDED.includes(state));
      },
      'every deployment has ended',
      LIMIT_MS,
    );
    // The branch moves a moment after the release is recorded, and the ingress controller a moment later.
    return await until(
      async () => {
        const [main = ''] = (await tree.git('ls-remote', 'toolforge', 'refs/heads/main')).stdout.split('\t');
        const answer = answers.get(main);
        assert.ok(answer !== undefined, `main is ${main}`);
        const { status, body } = await there.get(TOOL);
        assert.equal(status, 200, body);
        return body === answer && answer;
      },
      'the tool answers as main',
      30_000,
    );
  }

  const namespace = (tool: string) => `${there.prefix}${tool}`;
  const typesOf = async (tool: string) =>
    (await there.cluster.core.listNamespacedPod({ namespace: namespace(tool) })).items.map(
      ({ metadata }) => metadata?.labels?.['push.toolforge.org/process'],
    );

  /** The names of Jobs, Deployments, pods and Secrets. */
  async function objectsIn(name: string): Promise<string[]> {
    const { core, apps, batch } = there.cluster;
    const lists = await Promise.all([
      batch.listNamespacedJob({ namespace: name }),
      apps.listNamespacedDeployment({ namespace: name }),
      core.listNamespacedPod({ namespace: name }),
      core.listNamespacedSecret({ namespace: name }),
    ]);
    return lists.flatMap(({ items }) => items.map(({ metadata }) => metadata?.name ?? ''));
  }

  /** Waits until only one release's Deployment, pod and Secret exist. */
  async function onlyOneIsLeft(): Promise<void> {
    await until(
      async () => {
        const names = (await objectsIn(namespace(TOOL))).map((name) => name.replace(/-v\d+-.*/, ''));
        return names.sort().join(' ') === 'config web web';
      },
      'the begun rollout is gone',
      LIMIT_MS,
    );
  }

  test('if the server is killed in a release phase, its next start deletes the phase’s Job and Secret, and the old release answers', async () => {
    const before = await mainAnswers();
    const files = politeTool('three');
    await commit({ ...files, Procfile: `release: python3 -c "${forever}"\n${files['Procfile']}` }, 'three');
    await killIn(tree, async () => (await typesOf(TOOL)).includes('release'), 'the release phase');
    assert.equal(await mainAnswers(), before);
    await onlyOneIsLeft();
  });

  test('if the server is killed during a rollout, its next start deletes the new pods, and the old release answers', async () => {
    const before = await mainAnswers();
    await commit({ ...politeTool('four', { first: forever }) }, 'four');
    await killIn(tree, async () => (await typesOf(TOOL)).length === 2, 'the new pod');
    assert.equal(await mainAnswers(), before);
    await onlyOneIsLeft();
  });

  test('if the server is killed in a tool’s first rollout, its next start deletes all objects of the rollout', async () => {
    await there.server.addTool(FRESH);
    const fresh = await WorkTree.create(there.server, 'ssh', FRESH);
    await fresh.commit('never', politeTool('never', { first: forever }));
    await killIn(
      fresh,
      async () => (await typesOf(FRESH).catch(() => [])).length === 1,
      'the first pod of the tool',
    );
    const isEmpty = async () => (await objectsIn(namespace(FRESH))).length === 0;
    await until(isEmpty, 'the begun rollout is gone', LIMIT_MS);
    assert.equal((await fresh.git('ls-remote', 'toolforge')).stdout, '');
  });

  test('after servers were killed during pushes, the next push goes live', async () => {
    await commit(politeTool('five'), 'five');
    const pushed = await tree.push('-f', 'toolforge', 'main');
    assert.equal(pushed.exitCode, 0, pushed.stderr);
    assert.equal(await mainAnswers(), 'five');
  });
});
