import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { pushFixture } from '../../e2e/tools/push-fixture.ts';
import { builderImage } from '../images.ts';
import { ClusterServer } from '../pushes/cluster-server.ts';

/** A part of the page of each sample tool. */
const pages: Readonly<Record<string, RegExp>> = {
  'c-extension': /^Hello from a C extension: MariaDB client \d/m,
  'go-vendored': /^Hello from a vendored module\nanother command\n error: <nil>$/m,
  'java-jar': /^Hello from Java, heap below 400 MiB: true$/m,
  'java-spring': /Hello/,
  'node-bare': /^Node v22\.\d+\.\d+, without a package\.json$/m,
  'node-express': /Hello|Express/i,
  'node-native': /^compiled C answers 42$/m,
  'node-pnpm': /two days are 172800000 ms\npruned: true$/m,
  'node-yarn': /two days are 172800000 ms\npruned: true$/m,
  'perl-cgi': /Pages beside CGI scripts/,
  'perl-psgi': /^Hello from PSGI and a module of the cpanfile, deployment$/m,
  'perl-python-node': /^Perl greets three languages\nPython greets three languages as three languages\nNode/m,
  'php-apache': /A page without PHP/,
  'php-nginx': /^nginx and PHP answer \/, memory 160M$/m,
  'php-python-perl': /^PHP says hello\nPython says hello, venv: True\nPerl says Hello$/m,
  'pipenv-bottle': /Hello/,
  'poetry-fastapi': /^Hello from FastAPI and poetry, development packages: False$/m,
  'rust-workspace': /^SQLite 3\.\d+\.\d+\nanother program of the workspace$/m,
  'ruby-sinatra': /^Hello from Sinatra in production$/m,
  'ruby-vendored': /^A program of the gem: Hello from Bundler and a gem of vendor\/cache$/m,
  'rust-http': /^Hello from Rust, \/$/m,
  'seed-example': /^Hello from uWSGI at \/$/m,
  'static-build': /<title>Site<\/title>/,
  'uv-flask': /^Hello from Flask and uv, development packages: False$/m,
};

/** The sample tools that are always built. All others take many minutes on two processors. */
const always: ReadonlySet<string> = new Set([
  'go-vendored',
  'java-jar',
  'node-pnpm',
  'perl-psgi',
  'perl-python-node',
  'php-nginx',
  'php-python-perl',
  'poetry-fastapi',
  'ruby-sinatra',
  'ruby-vendored',
  'rust-http',
  'static-build',
]);
const skip =
  process.env['TOOLFORGE_PUSH_TEST_ALL_SAMPLES'] === undefined &&
  'TOOLFORGE_PUSH_TEST_ALL_SAMPLES is not set';

// The second push would take minutes for all tools together, and restores layers by the same rules as on one machine.
const once = { isTwice: false };

describe('sample tools in a cluster', { concurrency: 2 }, () => {
  let there: ClusterServer;
  before(async () => {
    there = await ClusterServer.start(await builderImage(), {
      TOOLFORGE_PUSH_POD_CPU_RESERVED: '10m',
    });
  });
  after(async () => there[Symbol.asyncDispose]());

  for (const [fixture, page] of Object.entries(pages)) {
    test(`in a cluster, the sample tool ${fixture} is built and answers`, {
      skip: !always.has(fixture) && skip,
    }, async () => {
      await pushFixture(there.server, fixture, once);
      const { status, body } = await there.get(fixture);
      assert.equal(status, 200, body);
      assert.match(body, page);
      await there.server.command('stop', fixture);
    });
  }

  test('the sample tool own-buildpack is built by a buildpack in its own repository, and its pods have the number, CPU and memory that its toolforge.yaml sets', async () => {
    const name = 'own-buildpack';
    await pushFixture(there.server, name, once);
    const { body } = await there.get(name);
    const [hello, built, running, authorities] = body.split('\n');
    assert.equal(hello, 'Hello from a buildpack of this repository');
    const store = 'with the authorities of /etc/ssl/certs/ca-certificates.crt';
    assert.deepEqual([built, running], [`built ${store}`, `runs ${store}`]);
    assert.match(authorities ?? '', /^authorities: [1-9]\d+$/);
    const { items } = await there.cluster.core.listNamespacedPod({ namespace: `${there.prefix}${name}` });
    const limits = items.map(({ spec }) => {
      const { cpu, memory } = spec?.containers[0]?.resources?.limits ?? {};
      return `${cpu} ${memory}`;
    });
    assert.deepEqual(limits.sort(), ['1 100Mi', '1 100Mi', '200m 128Mi', '200m 128Mi']);
    await there.server.command('stop', name);
  });

  test('the sample tool web-and-worker runs the worker that app.json asks for', async () => {
    await pushFixture(there.server, 'web-and-worker', once);
    const { stdout } = await there.server.command('ps', 'web-and-worker', '--json');
    const rows = JSON.parse(stdout) as { process: string; state: string }[];
    assert.deepEqual(rows.map(({ process, state }) => `${process} ${state}`).sort(), [
      'web.1 up',
      'worker.1 up',
    ]);
  });

  test('the sample tool commands-and-schedules is live without a process, and its commands run by name', async () => {
    const name = 'commands-and-schedules';
    await pushFixture(there.server, name, once);
    const { stdout } = await there.server.command('run', name, 'update-statistics');
    assert.equal(stdout, 'statistics updated');
  });
});
