import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { NEWEST } from '../../../src/builder/kubernetes/images/tool-images.ts';
import { applyObject } from '../../../src/kubernetes/apply.ts';
import { type Run, until } from '../../support/server.ts';
import { type Files, WorkTree, webTool } from '../../support/work-tree.ts';
import { registry } from '../images.ts';
import { builderWithScript } from '../installation/images.ts';
import { ClusterServer } from './cluster-server.ts';

const TOOL = 'base';
const { signal } = new AbortController();
const usual = {
  TOOLFORGE_PUSH_POD_CPU: '1',
  TOOLFORGE_PUSH_POD_CPU_RESERVED: '10m',
};

/** A web tool that runs this Python code. */
const running = (source: string): Files => ({ ...webTool('new'), 'server.py': source });
// Process 1 of a container gets a signal only if it has a handler for it.
const ENDS_AT_ONCE = 'import os, signal\nsignal.signal(signal.SIGTERM, lambda *_: os._exit(0))\n';
const hungry = 'held = []\nwhile True: held.append(bytearray(4 * 1024 * 1024))\n';
const elsewhere = `
import http.server
print('Running on http://0.0.0.0:5000', flush=True)
http.server.HTTPServer(('', 5000), http.server.SimpleHTTPRequestHandler).serve_forever()
`;
const ill = `
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self): self.send_error(500)
http.server.HTTPServer(('', int(os.environ['PORT'])), Handler).serve_forever()
`;

describe('a failing push on a cluster gives the reason, and the old release still answers', {
  concurrency: 1,
}, () => {
  let there: ClusterServer;
  let tree: WorkTree;
  let first: string;

  before(async () => {
    there = await ClusterServer.start(await builderWithScript(), {
      TOOLFORGE_PUSH_SOURCES_LISTEN: `${process.env['CLUSTER_NODE_IP']}:0`,
      TOOLFORGE_PUSH_MAKE_NAMESPACES: 'false',
      TOOLFORGE_PUSH_BUILD_MEMORY: '512',
      TOOLFORGE_PUSH_RUN_MEMORY: '128',
      TOOLFORGE_PUSH_HEALTH_TIME: '20',
      TOOLFORGE_PUSH_GRACE_TIME: '1',
      TOOLFORGE_PUSH_DRAIN_TIME: '0',
      ...usual,
    });
    await there.cluster.core.createNamespace({ body: { metadata: { name: namespace() } } });
    await there.server.addTool(TOOL);
    tree = await WorkTree.create(there.server, 'ssh', TOOL);
    const { 'server.py': server = '', ...files } = webTool('one');
    first = await tree.commit('one', { ...files, 'server.py': `${ENDS_AT_ONCE}${server}` });
    const pushed = await tree.push();
    assert.equal(pushed.exitCode, 0, pushed.stderr);
  });
  after(() => there?.[Symbol.asyncDispose]());

  const namespace = () => `${there.prefix}${TOOL}`;

  /** A commit on top of the live one. @param without - Files that it removes. */
  async function commitOnFirst(files: Files, without: readonly string[] = []): Promise<void> {
    await tree.git('checkout', '--quiet', '-B', 'main', first);
    if (without.length > 0) await tree.git('rm', '--quiet', ...without);
    await tree.commit('next', files);
  }

  /** Makes a push that must fail, and checks the live release. @returns the reason in git's report, and the whole run. */
  async function refused(): Promise<{ reason: string; pushed: Run }> {
    const pushed = await tree.push();
    assert.equal(pushed.exitCode, 1, pushed.stderr);
    const reason = reasonOf(pushed);
    assert.match(reason, /; v1 is still live$/);
    assert.deepEqual(await there.get(TOOL), { status: 200, body: 'one' });
    assert.match(
      (await tree.git('ls-remote', 'toolforge', 'refs/heads/main')).stdout,
      new RegExp(`^${first}`),
    );
    const { items } = await there.cluster.apps.listNamespacedDeployment({ namespace: namespace() });
    assert.deepEqual(
      items.map(({ metadata }) => metadata?.labels?.['push.toolforge.org/version']),
      ['1'],
    );
    return { reason, pushed };
  }

  async function restart(settings: Readonly<Record<string, string>>): Promise<void> {
    await there.server.kill('SIGTERM');
    there.server.change(settings);
    await there.server.boot(120_000);
  }

  test('builds in the cluster fetch their source from a separate port, not from the HTTP server', async () => {
    const ready = there.server.lines.findLast(({ msg }) => msg === 'ready');
    const sources = `http://${ready?.['sources']}`;
    for (const path of ['/', '/-/command', `/${TOOL}.git/info/refs?service=git-receive-pack`]) {
      assert.equal((await fetch(`${sources}${path}`)).status, 404, path);
    }
    const asked = there.server.lines.filter(({ msg, status }) => msg === 'source request' && status === 200);
    assert.equal(asked.length, 1, 'the source was not requested exactly once');
    const headers = { Authorization: `Bearer ${'a'.repeat(43)}` };
    const main = await fetch(`http://${there.server.http}/-/source`, { headers });
    assert.match(await main.text(), /^No sources of builds are handed out here/);
  });

  test('a failing push to a cluster names the reason: a requirement that does not exist', async () => {
    await commitOnFirst({ 'requirements.txt': 'flask==999.0\n', 'app.py': '' }, ['build.sh']);
    const { reason, pushed } = await refused();
    assert.match(reason, /^build failed: pip exited \d+: /);
    assert.match(pushed.stderr, /flask==999\.0/);
  });

  test('a failing push to a cluster names the reason: a build that needs too much memory', async () => {
    await commitOnFirst(webTool('new', `python3 -c "${hungry}"`));
    assert.match(
      (await refused()).reason,
      /^build failed: .* needs more than the build’s limit of 512 MiB of memory/,
    );
  });

  test('a failing push to a cluster names the reason: a process that needs too much memory', async () => {
    await commitOnFirst(running(hungry));
    const { reason, pushed } = await refused();
    assert.match(reason, /^rollout failed: web\.1 was ended because it needed more than 128 MiB of memory/);
    assert.match(pushed.stderr, /mem in service\.template/);
  });

  test('a failing push to a cluster names the reason: a process that crashes at every start', async () => {
    await commitOnFirst(running("raise SystemExit('no database here')"));
    const { reason, pushed } = await refused();
    assert.match(reason, /^rollout failed: web\.1 exited with code 1/);
    assert.match(pushed.stderr, /web\.1 \| no database here/);
  });

  test('a failing push to a cluster names the reason: the web process never opens a port', async () => {
    await commitOnFirst(running('import time\ntime.sleep(600)'));
    const { reason } = await refused();
    assert.match(reason, /^rollout failed: web\.1 never opened a port that others can reach; waited 20 s/);
  });

  test('a failing push to a cluster names the reason within 17 s: the web process listens on another port than PORT', async () => {
    await commitOnFirst(running(elsewhere));
    const { reason, pushed } = await refused();
    const [, seconds = ''] =
      /^rollout failed: web\.1 listens on port 5000, not on PORT \(8000\); waited (\d+) s/.exec(reason) ?? [];
    assert.ok(Number(seconds) >= 10 && Number(seconds) <= 17, reason);
    assert.match(pushed.stderr, /not on PORT \(8000\); the push waits until it listens on PORT/);
  });

  test('a failing push to a cluster names the reason: the health check path answers 500', async () => {
    await commitOnFirst({ ...running(ill), 'service.template': 'health-check-path: /health\n' });
    assert.match((await refused()).reason, /^rollout failed: GET \/health answered 500; waited 20 s/);
  });

  test('a failing push to a cluster names the reason: the tool’s namespace is missing', async () => {
    await there.server.addTool('nowhere');
    const other = await WorkTree.create(there.server, 'ssh', 'nowhere');
    await other.commit('one', webTool('nowhere'));
    const pushed = await other.push();
    assert.equal(pushed.exitCode, 1, pushed.stderr);
    assert.match(
      reasonOf(pushed),
      /the tool's namespace push-\w+-nowhere does not exist; nothing is live yet$/,
    );
    assert.equal((await other.git('ls-remote', 'toolforge')).stdout, '');
    assert.doesNotMatch(pushed.stderr, /Detecting|Building/, 'a build ran although it cannot be started');
  });

  test('a failing push to a cluster names the reason: the quota of the tool’s namespace is used up', async () => {
    await applyObject(
      there.cluster,
      {
        apiVersion: 'v1',
        kind: 'ResourceQuota',
        metadata: { name: 'tool-quota', namespace: namespace() },
        spec: { hard: { pods: '1' } },
      },
      { signal },
    );
    const quota = { name: 'tool-quota', namespace: namespace() };
    await until(async () => {
      const { status } = await there.cluster.core.readNamespacedResourceQuota(quota);
      return status?.used?.['pods'] === '1';
    }, 'the quota is counted');
    await commitOnFirst(webTool('new'));
    const { reason } = await refused();
    assert.match(reason, /the tool's quota tool-quota is used up \(pods: 1 more asked for, 1 of 1 in use\)/);
    await there.cluster.core.deleteNamespacedResourceQuota(quota);
  });

  // The next two tests build nothing, because they push the commit of the test above again.
  test('a failing push to a cluster names the reason: no node has room for the process', async () => {
    await restart({ TOOLFORGE_PUSH_POD_CPU: '500', TOOLFORGE_PUSH_POD_CPU_RESERVED: '400' });
    const { reason, pushed } = await refused();
    assert.match(pushed.stderr, /Using the earlier build of /);
    assert.match(pushed.stderr, /waits a little for that to change/);
    assert.match(
      reason,
      /^rollout failed: web\.1 finds no room in the cluster: it asks for 400 of cpu, .* of memory; of \d+ nodes?: .* too little cpu left/,
    );
    await restart(usual);
  });

  test('a failing push to a cluster names the reason: the registry has lost the image', async () => {
    const repository = `${there.prefix}images/tool-${TOOL}/tool-${TOOL}`;
    const digest = await registry.digestOf(repository, NEWEST, signal);
    await registry.delete(repository, digest ?? '', signal);
    const { reason } = await refused();
    assert.match(
      reason,
      /^rollout failed: web\.1 cannot start: the image \S+ cannot be pulled \(the registry does not have it\)/,
    );
  });

  test('a failing push to a cluster names the reason: the registry does not answer', async () => {
    await restart({ TOOLFORGE_PUSH_REGISTRY: '127.0.0.1:59999/none' });
    await commitOnFirst(webTool('newer'));
    assert.match((await refused()).reason, /127\.0\.0\.1:59999 .*ECONNREFUSED/);
  });
});

/** The reason in git's rejection of main. */
function reasonOf({ stderr }: Run): string {
  return /\[remote rejected\] main -> main \((.*)\)/.exec(stderr)?.[1] ?? stderr;
}
