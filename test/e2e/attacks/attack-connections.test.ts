import assert from 'node:assert/strict';
import { request } from 'node:http';
import { after, before, test } from 'node:test';
import { HTTP_LIMITS } from '../../../src/http/listener/listener.ts';
import { HeldConnections, requestTo } from '../../support/hostile/connections.ts';
import { hostileTool } from '../../support/hostile/tool.ts';
import { TestServer, until } from '../../support/server.ts';
import { liveTool, type WorkTree } from '../../support/work-tree.ts';

const MANY = 2_050;
/** How many requests one tool may have in progress while no other tool has any. */
const PLACES = HTTP_LIMITS.toolRequests / 3;
/** The longest time that an ordinary request may take during the attack. */
const DOOR_LIMIT_MS = 5_000;

let server: TestServer;
let port: number;
let overSsh: WorkTree;
before(async () => {
  server = await TestServer.start();
  port = Number(server.http.split(':')[1]);
  await liveTool(server, 'hostile', hostileTool);
  overSsh = (await liveTool(server, 'neighbour')).tree;
});
after(async () => server[Symbol.asyncDispose]());

/** Asserts that /healthz, another tool's page and git over HTTP and SSH each answer within DOOR_LIMIT_MS. */
async function assertAllAnswer(): Promise<void> {
  const signal = AbortSignal.timeout(DOOR_LIMIT_MS);
  assert.deepEqual(await get('localhost', '/healthz', signal), { status: 200, body: 'ok\n' });
  assert.deepEqual(await get('neighbour.localhost', '/', signal), { status: 200, body: 'one' });
  for (const remote of [server.remote('http', 'neighbour'), 'toolforge']) {
    const startedAt = performance.now();
    const listed = await overSsh.git('ls-remote', remote);
    assert.equal(listed.exitCode, 0, listed.stderr);
    assert.ok(performance.now() - startedAt < DOOR_LIMIT_MS);
  }
}

/** Sends a request over a new connection. */
function get(host: string, path: string, signal: AbortSignal): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const headers = { host };
    const asked = request(`http://${server.http}${path}`, { headers, agent: false, signal }, (answer) => {
      let body = '';
      answer.setEncoding('utf8').on('data', (chunk: string) => {
        body += chunk;
      });
      answer.once('end', () => resolve({ status: answer.statusCode ?? 0, body }));
      answer.once('error', reject);
    });
    asked.once('error', reject).end();
  });
}

test('of 2,050 requests that a tool never answers, those above the tool’s limit get 503, and another tool’s page, /healthz and git over HTTP and SSH still answer', async (context) => {
  using held = new HeldConnections(port);
  await held.open(MANY, { text: requestTo('hostile.localhost', '/never') });
  const refusals = () => held.answers.filter((answer) => answer.startsWith('HTTP/1.1 503 '));
  // Wait until the tool has as many requests as it may have. On a busy machine, the server needs seconds to read them.
  await until(async () => refusals().length >= MANY - PLACES, 'the other requests are refused');
  await assertAllAnswer();
  const refused = refusals();
  context.diagnostic(`${refused.length} refused, ${held.closed} closed`);
  for (const answer of refused) assert.match(answer, /\r\nretry-after: \d+\r\n/i);
  assert.ok(refused.some((answer) => answer.includes('The tool hostile has too many requests under way.')));
});

test('2,050 silent connections of one address do not keep out clients of another address', async () => {
  using held = new HeldConnections(port);
  await held.open(MANY, { address: '127.0.0.9' });
  await assertAllAnswer();
});

test('2,050 connections that stop inside a request do not keep out other clients of the same address', async () => {
  using held = new HeldConnections(port);
  await held.open(MANY, { text: 'GET / HTTP/1.1\r\nHost: ' });
  await assertAllAnswer();
});

test('eight requests to a tool that sends 102 Processing without end get 502, and together cost the server less than 0.8 s of processor time', async (context) => {
  using held = new HeldConnections(port);
  const before = server.processorSeconds;
  await held.open(8, { text: requestTo('hostile.localhost', '/interim') });
  const answered = () => held.answers.filter((answer) => answer.startsWith('HTTP/1.1 502 ')).length;
  await until(async () => answered() === 8, 'all requests are answered');
  const seconds = server.processorSeconds - before;
  context.diagnostic(`${seconds.toFixed(2)} s of the processor`);
  // When the server read every interim answer, four such requests took 1.7 s of processor time.
  assert.ok(seconds < 0.8, `${seconds} s`);
  await assertAllAnswer();
});
