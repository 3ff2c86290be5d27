import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { TestServer, until } from '../../support/server.ts';
import { assertSampleTool, pushFixture } from './push-fixture.ts';

let server: TestServer;
before(async () => {
  server = await TestServer.start();
});
after(async () => server[Symbol.asyncDispose]());

test('the sample tool static-site is built twice and answers', async () => {
  await assertSampleTool(server, {
    fixture: 'static-site',
    says: /static site \(index\.html\)[\s\S]*Serving 5 files/,
    again: /Serving 6 files/,
    answers: /<h1>Hello from a static site/,
  });
});

test('the sample tool web-and-worker is built twice and runs the worker that app.json asks for, with a log of its own', async () => {
  const { first, second } = await pushFixture(server, 'web-and-worker', { door: 'http' });
  assert.match(
    first,
    /python 3\.\d+ · Procfile \(web worker\)[\s\S]*web: python3 app\.py[\s\S]*worker: python3 -u worker\.py --every 1/,
  );
  assert.match(second, /Using Python 3\.\d+/);
  const states = async () =>
    (
      JSON.parse((await server.command('ps', 'web-and-worker', '--json')).stdout) as {
        process: string;
        state: string;
      }[]
    ).map(({ process, state }) => `${process} ${state}`);
  await until(
    async () => !(await states()).some((line) => line.endsWith(' stopping')),
    'the end of the first release',
  );
  assert.deepEqual((await states()).sort(), ['web.1 up', 'worker.1 up']);
  assert.equal((await server.get('web-and-worker')).status, 200);
  await until(
    async () => (await server.command('logs', 'web-and-worker', '-p', 'worker')).stdout.includes('worker.1'),
    'a line of the worker',
  );
});

test('the sample tool commands-and-schedules is live without a process, and its commands run by name', async () => {
  const name = 'commands-and-schedules';
  await pushFixture(server, name, { isTwice: false });
  const { stdout } = await server.command('ps', name, '--json');
  assert.deepEqual(
    (JSON.parse(stdout) as { process: string; state: string }[]).map(({ process, state }) => [
      process,
      state,
    ]),
    [['nightly.1', 'scheduled']],
  );
  assert.equal((await server.command('run', name, 'update-statistics')).stdout, 'statistics updated');
  assert.equal((await server.command('scale', name)).stdout.match(/ 0 +0 /gm)?.length, 2);
});
