import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import type { Duplex } from 'node:stream';
import { after, before, test } from 'node:test';
import { TestServer } from '../../support/server.ts';
import { assertSampleTool, pushFixture } from './push-fixture.ts';

let server: TestServer;
before(async () => {
  server = await TestServer.start();
});
after(async () => server[Symbol.asyncDispose]());

for (const { fixture, says, answers } of [
  {
    fixture: 'node-yarn',
    says: /yarn run build[\s\S]*Removing packages for development/,
    answers: /^built with picocolors: boolean\ntwo days are 172800000 ms\npruned: true$/m,
  },
  {
    fixture: 'node-yarn-pnp',
    says: /yarn 4\.9\.4 \(packageManager in package\.json\)/,
    answers: /two days are 172800000 ms\npruned: true\nno node_modules: true$/m,
  },
  {
    fixture: 'node-pnpm',
    says: /Installing pnpm 9\.15\.9/,
    answers: /two days are 172800000 ms\npruned: true$/m,
  },
  { fixture: 'node-native', says: /npm install/, answers: /^compiled C answers 42$/m },
  {
    fixture: 'node-bare',
    says: /node 22 \(\.nvmrc\)/,
    answers: /^Node v22\.\d+\.\d+, without a package\.json$/m,
  },
  { fixture: 'node-program', says: /web: http-server/, answers: /^Served by a program of an npm package$/m },
  {
    fixture: 'node-webservice',
    says: /node 20 \(service\.template\)/,
    answers: /^Node v20\.\d+\.\d+ in \/workspace\/www\/js$/m,
  },
  {
    fixture: 'python-node-assets',
    says: /python 3\.\d+ · node 24 · npm/,
    answers: /^Python serves: \/\* built by Node, picocolors: boolean/m,
  },
]) {
  test(`the sample tool ${fixture} is built and answers`, async () => {
    const { first: pushed } = await pushFixture(server, fixture);
    assert.match(pushed, says);
    const { status, body } = await server.get(fixture);
    assert.equal(status, 200, body);
    assert.match(body, answers);
  });
}

test('the sample tool node-express is built with packages of the real registry and answers, and a second build reuses them', async () => {
  await assertSampleTool(server, {
    fixture: 'node-express',
    says: /node >=22 \(package\.json\) · npm[\s\S]*web: npm start/,
    again: /Reusing Node 24\.\d+\.\d+[\s\S]*Reusing the installed packages: the lock file has not changed/,
    answers: /Hello|Express/i,
    runs: { command: 'echo $NODE_ENV', prints: /^production$/m },
  });
});

test('a static site that a build script makes is served with its scripts, addresses without .html and its own 404 page', async () => {
  assert.match((await pushFixture(server, 'static-build')).first, /Serving 4 files of dist/);
  const home = await server.get('static-build');
  const script = /src="([^"]+)"/.exec(home.body)?.[1] ?? '';
  assert.match((await server.get('static-build', script)).body, /"built"/);
  assert.match((await server.get('static-build', '/about')).body, /About/);
  const lost = await server.get('static-build', '/nowhere');
  assert.equal(lost.status, 404);
  assert.match(lost.body, /Lost/);
});

test('a tool whose start script runs a TypeScript file serves WebSockets', async () => {
  await pushFixture(server, 'node-websocket');
  const key = randomBytes(16).toString('base64');
  const asking = request(`http://${server.http}/`, {
    headers: {
      host: 'node-websocket.localhost',
      Connection: 'Upgrade',
      Upgrade: 'websocket',
      'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': key,
    },
  });
  asking.end();
  const [response, socket] = (await once(asking, 'upgrade')) as [IncomingMessage, Duplex];
  const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  assert.equal(response.headers['sec-websocket-accept'], accept);
  // A text frame whose mask is zero.
  socket.write(Buffer.concat([Buffer.from([0x81, 0x82, 0, 0, 0, 0]), Buffer.from('hi')]));
  const [frame] = (await once(socket, 'data')) as [Buffer];
  assert.equal(frame.subarray(2).toString(), 'echo: hi');
  socket.destroy();
});

for (const fixture of ['node-yarn', 'node-pnpm']) {
  test(`when the sample tool ${fixture} is stopped, its own program gets SIGTERM, although a package manager started the program`, async () => {
    await server.command('stop', fixture);
    assert.match((await server.command('logs', fixture, '-p', 'web')).stdout, /ends when it is asked to/);
  });
}
