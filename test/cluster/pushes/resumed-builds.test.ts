import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { until as soon } from '../../support/server.ts';
import { type Files, WorkTree, webTool } from '../../support/work-tree.ts';
import { scriptBuilderImage } from '../builder/script-builder.ts';
import { builderImage } from '../images.ts';
import { ClusterServer } from './cluster-server.ts';

const LINES = 150;

/** A server that holds builds up: a build asks it from its pod until it is open. */
class Gate implements AsyncDisposable {
  readonly #server = createServer((_, response) => response.writeHead(this.#isOpen ? 200 : 503).end());
  #isOpen = false;

  static async shut(): Promise<Gate> {
    const gate = new Gate();
    gate.#server.listen(0, process.env['CLUSTER_NODE_IP'] ?? '127.0.0.1');
    await once(gate.#server, 'listening');
    return gate;
  }

  open(): void {
    this.#isOpen = true;
  }

  /** A shell command that ends when the gate is open. */
  get wait(): string {
    const { address, port } = this.#server.address() as AddressInfo;
    return `until curl --silent --fail --noproxy '*' http://${address}:${port}/; do sleep 0.2; done`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

/** Answers with `text`, and its build prints ten lines a second. @param wait - A command that runs before line 100. */
function countingTool(text: string, { lines = LINES, wait = 'true' } = {}): Files {
  const launch = '[[processes]]\\ntype = "web"\\ncommand = ["python3", "server.py"]\\ndefault = true\\n';
  return webTool(
    text,
    `printf '${launch}' >"$CNB_LAYERS_DIR/launch.toml"
for number in $(seq 1 ${lines}); do [ $number -ne 100 ] || ${wait}; echo "counted $number"; [ $((number % 7)) -gt 0 ] || echo "the same again"; sleep 0.1; done`,
  );
}

/** The output of `countingTool`. */
const printed = Array.from({ length: LINES }, (_, index) => [
  `counted ${index + 1}`,
  ...((index + 1) % 7 > 0 ? [] : ['the same again']),
]).flat();

const LIMIT_MS = 240_000;

/** Waits until `check` returns true. Asks rarely, because the test shares its processors with the cluster. */
async function until(check: () => Promise<boolean>, what: string): Promise<void> {
  await soon(
    async () => {
      await wait(250);
      return await check();
    },
    what,
    LIMIT_MS,
  );
}

describe('a build in the cluster whose server ends', { concurrency: 1 }, () => {
  let cluster: ClusterServer;
  before(async () => {
    cluster = await ClusterServer.start(await scriptBuilderImage());
  });
  after(() => cluster?.[Symbol.asyncDispose]());

  async function newTool(name: string): Promise<WorkTree> {
    await cluster.server.addTool(name);
    return await WorkTree.create(cluster.server, 'ssh', name);
  }

  /** The log of a tool's newest deployment. */
  async function logOf(tool: string): Promise<string> {
    const folder = join(cluster.server.folder, 'data/deployments', tool);
    const newest = (existsSync(folder) ? await readdir(folder) : []).sort().at(-1);
    return newest === undefined ? '' : await readFile(join(folder, newest), 'utf8');
  }

  async function hasCounted(tool: string, number: number): Promise<void> {
    const line = `       counted ${number}\n`;
    await until(async () => (await logOf(tool)).includes(line), `counted ${number}`);
  }

  const deployments = async (tool: string) =>
    JSON.parse((await cluster.server.command('deployments', tool, '--json')).stdout) as {
      id: string;
      state: string;
      version: number | null;
    }[];
  const isLive = (tool: string, version: number) =>
    until(
      async () => (await logOf(tool)).includes(`\n=====> v${version} is live`),
      `v${version} of ${tool} is live`,
    );
  const jobs = async () =>
    (await cluster.cluster.batch.listNamespacedJob({ namespace: cluster.builds })).items;

  /** Asserts that everything is as if the server had never ended. */
  async function assertWhole(tool: string, commit: string, text: string, version = 1): Promise<void> {
    const log = await logOf(tool);
    const lines = log.split('\n').map((line) => line.trim());
    assert.deepEqual(
      lines.filter((line) => /^counted|^the same again$/.test(line)),
      printed,
    );
    for (const once of [
      '-----> Detecting buildpacks',
      '-----> Storing the image',
      `-----> Releasing v${version}`,
    ]) {
      assert.equal(lines.filter((line) => line === once).length, 1, `${once} in ${log}`);
    }
    assert.match(log, /\n=====> v\d is live at .*\(build \d\d s, rollout .*\)\n$/);
    assert.equal(await cluster.server.inRepository(tool, 'rev-parse', 'refs/heads/main'), commit);
    assert.equal(await cluster.server.inRepository(tool, 'for-each-ref', 'refs/deployments'), '');
    await until(async () => (await cluster.get(tool)).body === text, `${tool} answers`);
    await until(async () => (await jobs()).length === 0, 'no Job is left');
    const all = await deployments(tool);
    assert.deepEqual([all[0]?.version, all.length], [version, version]);
    const builds = JSON.parse((await cluster.server.command('builds', tool, '--json')).stdout) as unknown[];
    assert.equal(builds.length, version);
  }

  test('if the server is killed during a build, its next start resumes the build, and a push of the same commit joins the build', async () => {
    const tree = await newTool('killed');
    await using gate = await Gate.shut();
    const commit = await tree.commit('one', countingTool('after the kill', gate));
    const cut = tree.push();
    await hasCounted('killed', 30);
    await cluster.server.kill('SIGKILL');
    assert.notEqual((await cut).exitCode, 0);
    await cluster.server.boot(LIMIT_MS);
    const joining = tree.push();
    await until(
      async () => (await logOf('killed')).includes('joined this deployment with a push'),
      'the push has joined',
    );
    gate.open();
    const again = await joining;
    assert.equal(again.exitCode, 0, again.stderr);
    assert.match(again.stderr, /joined this deployment with a push of the same commit/);
    assert.match(again.stderr, /remote: {8}counted 1 +\n/);
    await assertWhole('killed', commit, 'after the kill');
  });

  test('if the server is stopped twice during a build, the push says that the build continues, and its release goes live without another push', async () => {
    const tree = await newTool('stopped');
    await using gate = await Gate.shut();
    const commit = await tree.commit('one', countingTool('after the stop', gate));
    const cut = tree.push();
    await hasCounted('stopped', 30);
    await cluster.server.kill('SIGTERM');
    const { exitCode, stderr } = await cut;
    assert.notEqual(exitCode, 0);
    assert.match(stderr, /the build continues, and the server resumes it after its restart/);
    assert.match(
      stderr,
      /! \[remote rejected\] main -> main \(the server is being stopped; the build continues/,
    );
    await cluster.server.boot(LIMIT_MS);
    await hasCounted('stopped', 70);
    await cluster.server.kill('SIGTERM');
    await cluster.server.boot(LIMIT_MS);
    gate.open();
    await isLive('stopped', 1);
    await assertWhole('stopped', commit, 'after the stop');
  });

  test('if the server is down until a build has ended, its next start reads the result, and the release goes live', async () => {
    const tree = await newTool('away');
    await tree.commit('zero', countingTool('before', { lines: 0 }));
    assert.equal((await tree.push()).exitCode, 0);
    assert.equal((await cluster.get('away')).body, 'before');
    const commit = await tree.commit('one', countingTool('after all'));
    const cut = tree.push();
    await hasCounted('away', 5);
    await cluster.server.kill('SIGKILL');
    await cut;
    const hasEnded = async () => (await jobs()).some(({ status }) => (status?.succeeded ?? 0) > 0);
    await until(hasEnded, 'the Job has succeeded');
    await cluster.server.boot(LIMIT_MS);
    await isLive('away', 2);
    await assertWhole('away', commit, 'after all', 2);
  });

  test('if a build fails while the server is down, its deployment is reported as failed, with the reason', async () => {
    const tree = await newTool('failing');
    await tree.commit('one', webTool('never', 'echo begun; sleep 8; echo "no such luck"; exit 3'));
    const cut = tree.push();
    await until(async () => (await logOf('failing')).includes('       begun\n'), 'begun');
    await cluster.server.kill('SIGKILL');
    await cut;
    await cluster.server.boot(LIMIT_MS);
    await until(async () => (await logOf('failing')).includes('Nothing is live yet.'), 'failed');
    assert.equal((await deployments('failing'))[0]?.state, 'failed');
    assert.match(await logOf('failing'), /no such luck\n[\s\S]*build failed: script exited 3/i);
    await until(async () => (await jobs()).length === 0, 'no Job is left');
  });
});

test('if the server is killed before a build has its source, its next start marks the deployment as interrupted and deletes the build’s Job', async () => {
  await using cluster = await ClusterServer.start(await builderImage(), {
    // More CPU than any node has, so the build never starts.
    TOOLFORGE_PUSH_BUILD_CPU: '64000',
  });
  const { server, builds } = cluster;
  const tree = await WorkTree.create(server, 'ssh', 'hello');
  await tree.commit('one', webTool('never'));
  const cut = tree.push();
  const jobs = async () =>
    (await cluster.cluster.batch.listNamespacedJob({ namespace: builds })).items.length;
  await until(async () => (await jobs()) === 1, 'the Job exists');
  await server.kill('SIGKILL');
  assert.notEqual((await cut).exitCode, 0);
  await server.boot(LIMIT_MS);
  const { stdout } = await server.command('deployments', 'hello', '--json');
  assert.equal((JSON.parse(stdout) as { state: string }[])[0]?.state, 'interrupted');
  await until(async () => (await jobs()) === 0, 'no Job is left');
});
