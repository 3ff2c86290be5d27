import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { until } from '../../support/server.ts';
import { WorkTree, webTool } from '../../support/work-tree.ts';
import { builderWithScript } from '../installation/images.ts';
import { kubectl } from '../installation/kubectl.ts';
import { NarrowRights } from '../installation/narrow-rights.ts';
import { ClusterServer } from './cluster-server.ts';

const TOOL = 'base';
const BOOT_MS = 120_000;
const BACK_MS = 30_000;
/** The server checks each tool again within this time, so a repeated log line would appear by then. */
const PASSES_MS = 25_000;
const DELETED = 'namespace of a live release was deleted: nothing of the tool runs';

describe('the namespace of a live tool is deleted together with the server’s rights in it', {
  concurrency: 1,
}, () => {
  let folder: string;
  let rights: NarrowRights;
  let there: ClusterServer;
  let tree: WorkTree;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'lost-namespace-'));
    rights = await NarrowRights.create(folder);
    there = await ClusterServer.start(await builderWithScript(), {
      KUBECONFIG: rights.kubeconfig,
      TOOLFORGE_PUSH_MAKE_NAMESPACES: 'false',
      TOOLFORGE_PUSH_POD_CPU_RESERVED: '10m',
      TOOLFORGE_PUSH_GRACE_TIME: '1',
      TOOLFORGE_PUSH_DRAIN_TIME: '0',
    });
    await rights.letBuild(there.builds);
    await there.server.addTool(TOOL);
    await there.server.addTool('never');
    await makeNamespace();
    await rights.letRun(namespace());
    tree = await WorkTree.create(there.server, 'ssh', TOOL);
    await tree.commit('one', {
      ...webTool('one'),
      Procfile: 'web: python3 server.py\nworker: sleep 100000\n',
      'app.json': '{"formation": {"worker": {"quantity": 1}}}',
    });
    const pushed = await tree.push();
    assert.equal(pushed.exitCode, 0, pushed.stderr);
  });
  after(async () => {
    await there?.[Symbol.asyncDispose]();
    await rights?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  const namespace = () => `${there.prefix}${TOOL}`;
  const makeNamespace = () => kubectl('create', 'namespace', namespace());
  const deleteNamespace = () => kubectl('delete', 'namespace', namespace(), '--wait=true');
  const errors = (from: number) => there.server.lines.slice(from).filter(({ level }) => level === 'error');
  const ps = async () => {
    const { exitCode, stdout, stderr } = await there.server.command('ps', TOOL);
    assert.equal(exitCode, 0, stderr);
    return stdout;
  };
  /** Whether the tool answers with this text, and all its processes run. */
  const isBack = async (answer: string) => {
    const { status, body } = await there.get(TOOL);
    return status === 200 && body === answer && !/crashed|starting/.test(await ps());
  };

  test('if a tool’s namespace was deleted, `ps` and a push say so, the server’s log says so once, and no push claims that a release is live', async () => {
    // Earlier errors are about the rights for builds, which this test gives only after the start of the server.
    const from = there.server.lines.length;
    await deleteNamespace();
    const told = await until(
      async () => errors(from).find(({ msg }) => msg === DELETED) ?? false,
      'the log says so',
      BACK_MS,
    );
    const { tool, version, namespace: name, hint } = told;
    assert.deepEqual([tool, version, name], [TOOL, 1, namespace()]);
    assert.match(String(hint), /^Create the namespace again, with the rights of this server in it/);
    const shown = await ps();
    assert.match(shown, /v1 does not run: its namespace \S+-base (was|is being) deleted\./);
    assert.match(shown, /Ask the operator to make the namespace again/);
    assert.match(shown, /^web\.1 +v1 +crashed/m);
    assert.match(shown, /^worker\.1 +v1 +crashed/m);
    await tree.commit('two', webTool('two'));
    const pushed = await tree.push();
    assert.equal(pushed.exitCode, 1, pushed.stderr);
    assert.match(
      pushed.stderr,
      /rejected\] main -> main \(the tool's namespace (\S+-base) does not exist; no process of base runs, although v1 is its release: its namespace \1 was deleted\)/,
    );
    assert.match(pushed.stderr, /create it and the rights again\. Then push, or type `restart`/);
    assert.doesNotMatch(pushed.stderr, /still live/);
    for (const words of [['restart'], ['scale', 'web=2'], ['run', 'true']]) {
      const [name = '', ...more] = words;
      const { exitCode, stdout, stderr } = await there.server.command(name, TOOL, ...more);
      assert.notEqual(exitCode, 0, `${name}: ${stdout}${stderr}`);
      assert.match(stdout + stderr, /namespace \S+-base does not exist/, name);
    }
    const listed = await there.server.command('tools');
    assert.match(listed.stdout, /base +v1 +crashed/);
    await wait(PASSES_MS);
    assert.deepEqual(
      errors(from).map(({ msg }) => msg),
      [DELETED],
    );
  });

  test('when an operator has created a deleted namespace again and given the server its rights there, the live release is back within 30 s', async (t) => {
    const from = there.server.lines.length;
    await makeNamespace();
    await until(
      async () => /deleted and made again/.test(await ps()),
      'ps says that the namespace was made again',
      BACK_MS,
    );
    // About as long as an operator takes to give rights in the new namespace.
    await wait(5000);
    const givenAt = performance.now();
    await rights.letRun(namespace());
    await until(() => isBack('one'), 'v1 answers again', BACK_MS);
    t.diagnostic(`back after ${((performance.now() - givenAt) / 1000).toFixed(1)} s`);
    assert.match(await ps(), /^worker\.1 +v1 +up/m);
    assert.deepEqual(errors(from), []);
    const pushed = await tree.push();
    assert.equal(pushed.exitCode, 0, pushed.stderr);
    assert.equal((await there.get(TOOL)).body, 'two');
  });

  test('if a tool’s namespace is missing when the server starts, the server says so once, and starts the release when the namespace is back', async () => {
    const never = await WorkTree.create(there.server, 'ssh', 'never');
    await never.commit('one', webTool('never'));
    assert.match(
      (await never.push()).stderr,
      /the tool's namespace \S+-never does not exist; nothing is live yet/,
    );
    await deleteNamespace();
    await there.server.kill('SIGTERM');
    const from = there.server.lines.length;
    await there.server.boot(BOOT_MS);
    await until(async () => errors(from).length > 0, 'the log says so', BACK_MS);
    assert.match(await ps(), /v\d does not run: its namespace \S+-base was deleted\./);
    assert.match((await there.server.command('ps', 'never')).stdout, /^Nothing of never is live yet/);
    await wait(PASSES_MS);
    assert.deepEqual(
      errors(from).map(({ msg }) => msg),
      [DELETED],
    );
    const warnings = there.server.lines.slice(from).filter(({ level }) => level === 'warn');
    assert.deepEqual(
      warnings.filter(({ tool }) => tool !== undefined),
      [],
      'the log warns about this tool, or about one that was never deployed',
    );
    await makeNamespace();
    await rights.letRun(namespace());
    await until(() => isBack('two'), 'the tool answers again', BACK_MS);
  });

  test('a tool that has lost its namespace can be stopped, and started again in a new namespace', async () => {
    await deleteNamespace();
    const stopped = await there.server.command('stop', TOOL);
    assert.equal(stopped.exitCode, 0, stopped.stderr);
    assert.match(await ps(), /base is stopped at v/);
    await makeNamespace();
    await rights.letRun(namespace());
    const restarted = await there.server.command('restart', TOOL);
    assert.equal(restarted.exitCode, 0, restarted.stdout + restarted.stderr);
    assert.equal((await there.get(TOOL)).body, 'two');
  });
});
