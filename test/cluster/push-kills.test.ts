import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { until } from '../support/server.ts';
import { type Files, WorkTree, webTool } from '../support/work-tree.ts';
import { ClusterServer } from './cluster-server.ts';
import { builderWithScript } from './installation/images.ts';

const TOOL = 'killed';
const FRESH = 'fresh';
const ENDED = ['live', 'failed', 'interrupted', 'superseded', 'cancelled'];
const LIMIT_MS = 120_000;

// Process 1 of a container hears a signal only if it has asked for it.
const ENDS_AT_ONCE = 'import os, signal\nsignal.signal(signal.SIGTERM, lambda *_: os._exit(0))\n';

/** @param first - What its web process does before it listens. */
function politeTool(answer: string, { first = '' } = {}): Files {
  const { 'server.py': server = '', ...files } = webTool(answer, 'echo built');
  return { ...files, 'server.py': `${ENDS_AT_ONCE}${first}\n${server}` };
}
const forever = 'import time; time.sleep(600)';

// In mid build: builder-taken-up.test.ts.
describe('a server that is killed in mid push on a cluster', { concurrency: 1 }, () => {
  let there: ClusterServer;
  let tree: WorkTree;
  /** What each commit answers. */
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

  /** Pushes, kills the server when `isMidway` says so, and starts it again. */
  async function killIn(what: WorkTree, isMidway: () => Promise<boolean>, where: string): Promise<void> {
    const pushing = what.push('-f', 'toolforge', 'main');
    await until(isMidway, where, LIMIT_MS);
    await there.server.kill('SIGKILL');
    await there.server.boot(LIMIT_MS);
    assert.notEqual((await pushing).exitCode, 0, 'nobody is told that it is live');
  }

  /** Waits until no deployment is under way, and looks whether main is what answers. @returns that. */
  async function mainAnswers(): Promise<string> {
    await until(
      async () => {
        const { stdout } = await there.server.command('deployments', TOOL, '--json');
        return (JSON.parse(stdout) as { state: string }[]).every(({ state }) => ENDED.includes(state));
      },
      'every deployment has ended',
      LIMIT_MS,
    );
    // A release is recorded a moment before the branch moves, and the ingress controller may follow a moment later.
    return await until(
      async () => {
        const [main = ''] = (await tree.git('ls-remote', 'toolforge', 'refs/heads/main')).stdout.split('\t');
        const answer = answers.get(main);
        assert.ok(answer !== undefined, `main is ${main}`);
        const { status, body } = await there.get(TOOL);
        assert.equal(status, 200, body);
        return body === answer && answer;
      },
      'main to be what answers',
      30_000,
    );
  }

  const namespace = (tool: string) => `${there.prefix}${tool}`;
  const typesOf = async (tool: string) =>
    (await there.cluster.core.listNamespacedPod({ namespace: namespace(tool) })).items.map(
      ({ metadata }) => metadata?.labels?.['push.toolforge.org/process'],
    );

  /** Names of Jobs, Deployments, pods and Secrets. */
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

  /** Only one release's Deployment, pod and Secret are there. */
  async function onlyOneIsLeft(): Promise<void> {
    await until(
      async () => {
        const names = (await objectsIn(namespace(TOOL))).map((name) => name.replace(/-v\d+-.*/, ''));
        return names.sort().join(' ') === 'config web web';
      },
      'what was begun to be gone',
      LIMIT_MS,
    );
  }

  test('in the release phase: its Job and its Secret go, and the old release answers', async () => {
    const before = await mainAnswers();
    const files = politeTool('three');
    await commit({ ...files, Procfile: `release: python3 -c "${forever}"\n${files['Procfile']}` }, 'three');
    await killIn(tree, async () => (await typesOf(TOOL)).includes('release'), 'the release phase');
    assert.equal(await mainAnswers(), before);
    await onlyOneIsLeft();
  });

  test('in mid rollout: the new pods go, and the old release answers', async () => {
    const before = await mainAnswers();
    await commit({ ...politeTool('four', { first: forever }) }, 'four');
    await killIn(tree, async () => (await typesOf(TOOL)).length === 2, 'the new pod');
    assert.equal(await mainAnswers(), before);
    await onlyOneIsLeft();
  });

  test('in the first rollout of a tool: nothing of it is left', async () => {
    await there.server.addTool(FRESH);
    const fresh = await WorkTree.create(there.server, 'ssh', FRESH);
    await fresh.commit('never', politeTool('never', { first: forever }));
    await killIn(
      fresh,
      async () => (await typesOf(FRESH).catch(() => [])).length === 1,
      'the first pod of the tool',
    );
    const isEmpty = async () => (await objectsIn(namespace(FRESH))).length === 0;
    await until(isEmpty, 'what was begun to be gone', LIMIT_MS);
    assert.equal((await fresh.git('ls-remote', 'toolforge')).stdout, '');
  });

  test('and a push goes live as ever', async () => {
    await commit(politeTool('five'), 'five');
    const pushed = await tree.push('-f', 'toolforge', 'main');
    assert.equal(pushed.exitCode, 0, pushed.stderr);
    assert.equal(await mainAnswers(), 'five');
  });
});
