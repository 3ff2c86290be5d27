import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { pushFixture } from '../../e2e/tools/push-fixture.ts';
import { builderImage } from '../images.ts';
import { ClusterServer } from './cluster-server.ts';

/** A part of the page of each sample tool. */
const pages: Readonly<Record<string, RegExp>> = {
  'c-extension': /^Hello from a C extension: MariaDB client \d/m,
  'node-bare': /^Node v22\.\d+\.\d+, without a package\.json$/m,
  'node-express': /Hello|Express/i,
  'node-native': /^compiled C answers 42$/m,
  'node-pnpm': /two days are 172800000 ms\npruned: true$/m,
  'node-yarn': /two days are 172800000 ms\npruned: true$/m,
  'pipenv-bottle': /^Hello from Bottle and pipenv, development packages: False$/m,
  'poetry-fastapi': /^Hello from FastAPI and poetry, development packages: False$/m,
  'python-node-assets': /^Python serves: \/\* built by Node, picocolors: boolean/m,
  'seed-example': /^Hello from uWSGI at \/$/m,
  'setup-py': /^Hello from setup\.py$/m,
  'static-build': /<title>Site<\/title>/,
  'static-site': /<h1>/,
  'uv-flask': /^Hello from Flask and uv, development packages: False$/m,
};

describe('sample tools in a cluster', { concurrency: 3 }, () => {
  let there: ClusterServer;
  before(async () => {
    there = await ClusterServer.start(await builderImage(), {
      TOOLFORGE_PUSH_POD_CPU_RESERVED: '10m',
    });
  });
  after(async () => there[Symbol.asyncDispose]());

  for (const [fixture, page] of Object.entries(pages)) {
    test(`the sample tool ${fixture} is built and answers`, async () => {
      await pushFixture(there.server, fixture);
      const { status, body } = await there.get(fixture);
      assert.equal(status, 200, body);
      assert.match(body, page);
      await there.server.command('stop', fixture);
    });
  }

  test('the sample tool web-and-worker runs the worker that app.json asks for', async () => {
    await pushFixture(there.server, 'web-and-worker');
    const { stdout } = await there.server.command('ps', 'web-and-worker', '--json');
    const rows = JSON.parse(stdout) as { process: string; state: string }[];
    assert.deepEqual(rows.map(({ process, state }) => `${process} ${state}`).sort(), [
      'web.1 up',
      'worker.1 up',
    ]);
  });

  test('the sample tool commands-and-schedules is live without a process, and its commands run by name', async () => {
    const name = 'commands-and-schedules';
    await pushFixture(there.server, name);
    const { stdout } = await there.server.command('run', name, 'update-statistics');
    assert.equal(stdout, 'statistics updated');
  });
});
