import assert from 'node:assert/strict';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { createLog } from '../../src/core/log/log.ts';
import type { Principal } from '../../src/core/types.ts';
import { RequestShares } from '../../src/http/request-shares.ts';
import { alice } from '../support/alice.ts';
import { basic, openDoor } from '../support/http/http-door.ts';
import { nameOf } from '../support/store-records.ts';

/** An HTTP server that allows few simultaneous requests: 40 to the server itself. */
const openSmallDoor = (context: TestContext) =>
  openDoor(context, { limits: { connections: 400, toolRequests: 360, lingerMs: 60_000 } });

/** Begins a request from one of many addresses of this machine, and does not send its body. */
function begin(context: TestContext, port: number, number: number, authorization: string): Socket {
  const socket = connect({ port, host: '127.0.0.1', localAddress: `127.9.${number}.1` });
  socket.on('error', () => {});
  socket.write(
    `POST /-/command HTTP/1.1\r\nHost: x\r\n${authorization}Content-Type: text/plain\r\nContent-Length: 1000\r\n\r\n`,
  );
  context.after(() => socket.destroy());
  return socket;
}

function statusOf(port: number, path: string, authorization: string = ''): Promise<number> {
  const headers = authorization === '' ? {} : { authorization };
  return new Promise((resolve, reject) => {
    const asked = request({
      port,
      host: '127.0.0.1',
      path,
      headers,
      localAddress: '127.8.0.1',
      agent: false,
    });
    asked.on('response', (answer) => {
      answer.resume();
      resolve(answer.statusCode ?? 0);
    });
    asked.on('error', reject).end();
  });
}

const ADVERTISEMENT = '/other.git/info/refs?service=git-upload-pack';

/** Waits 500 ms, in which the server sees all requests that have begun. */
const seen = () => new Promise((resolve) => setTimeout(resolve, 500));

test('threat 26: a person who begins 60 HTTP requests, each from another address, and never sends their bodies takes only 4 of 40 places for requests', async (context) => {
  const door = await openSmallDoor(context);
  const answers: string[] = [];
  for (let number = 0; number < 60; number += 1) {
    const socket = begin(context, door.port, number, `Authorization: ${basic()}\r\n`);
    socket.on('data', (chunk: Buffer) => answers.push(chunk.toString()));
  }
  for (const end = Date.now() + 20_000; answers.length < 56 && Date.now() < end; ) await seen();
  assert.equal(answers.length, 56);
  for (const answer of answers) assert.match(answer, /^HTTP\/1\.1 429 [\s\S]*You \(alice\) have too many/);
  assert.equal(await statusOf(door.port, ADVERTISEMENT, basic('bob')), 200);
  assert.equal(await statusOf(door.port, ADVERTISEMENT.replace('other', 'hello'), basic()), 429);
});

test('threat 26: a refused HTTP request without a login no longer counts for the limit of requests, even if the client never sends its body', async (context) => {
  const door = await openSmallDoor(context);
  let refused = 0;
  for (let number = 0; number < 80; number += 1)
    begin(context, door.port, number, '').on('data', (chunk: Buffer) => {
      if (/^HTTP\/1\.1 401 /.test(chunk.toString())) refused += 1;
    });
  for (const end = Date.now() + 20_000; refused < 80 && Date.now() < end; ) await seen();
  assert.equal(refused, 80);
  assert.equal(await statusOf(door.port, ADVERTISEMENT, basic('bob')), 200);
});

test('threat 26: if HTTP clients of a person disconnect while the server checks their password, they no longer count for this person’s limit of requests', async (context) => {
  const door = await openSmallDoor(context);
  const check = door.directory.identifyByPassword.bind(door.directory);
  let checked = 0;
  door.directory.identifyByPassword = async (login, password) => {
    await new Promise((resolve) => setTimeout(resolve, 100));
    checked += 1;
    return await check(login, password);
  };
  for (let number = 0; number < 10; number += 1) {
    const socket = begin(context, door.port, number, `Authorization: ${basic()}\r\n`);
    setTimeout(() => socket.destroy(), 20);
  }
  for (const end = Date.now() + 20_000; checked === 0 && Date.now() < end; ) await seen();
  await seen();
  assert.equal(await statusOf(door.port, ADVERTISEMENT.replace('other', 'hello'), basic()), 200);
});

test('threats 9, 26: HTTP logins that wait for the check of their password do not count for the limit of requests, so others are still served', async (context) => {
  const door = await openSmallDoor(context);
  const check = door.directory.identifyByPassword.bind(door.directory);
  door.directory.identifyByPassword = (login, password) =>
    login === 'alice' ? new Promise(() => {}) : check(login, password);
  for (let number = 0; number < 60; number += 1)
    begin(context, door.port, number, `Authorization: ${basic()}\r\n`);
  await seen();
  assert.equal(await statusOf(door.port, ADVERTISEMENT, basic('bob')), 200);
});

test('threat 26: health checks and pages are answered even if the limit of simultaneous HTTP requests to the server is reached', async (context) => {
  const door = await openSmallDoor(context);
  door.directory.identifyByPassword = async (uid) => ({ uid, onlyTool: null });
  let refused = 0;
  for (let number = 0; number < 60; number += 1)
    begin(context, door.port, number, `Authorization: ${basic(`person${number}`)}\r\n`).on(
      'data',
      (chunk: Buffer) => {
        if (/^HTTP\/1\.1 503 /.test(chunk.toString())) refused += 1;
      },
    );
  for (const end = Date.now() + 20_000; refused < 20 && Date.now() < end; ) await seen();
  assert.equal(refused, 20);
  assert.equal(await statusOf(door.port, ADVERTISEMENT, basic('bob')), 503);
  for (const path of ['/livez', '/readyz', '/healthz', '/', '/-/style.css'])
    assert.equal(await statusOf(door.port, path), 200, path);
});

test('threat 145: after a hundred HTTP requests of a person, 30 more requests of this person take about a second, and a request of another person is answered', async (context) => {
  const door = await openSmallDoor(context);
  const startedAt = performance.now();
  const ask = async () => {
    for (let count = 0; count < 65; count += 1)
      assert.equal(await statusOf(door.port, '/none.git/info/refs?service=git-upload-pack', basic()), 404);
  };
  const busy = Promise.all([ask(), ask()]);
  assert.equal(await statusOf(door.port, ADVERTISEMENT, basic('bob')), 200);
  await busy;
  assert.ok(performance.now() - startedAt > 950);
});

test('threat 165: a deploy token takes about half of the simultaneous requests that its maker may have', () => {
  const shares = new RequestShares({ toolRequests: 360, ownRequests: 500, log: createLog('silent') });
  const token = { ...alice, credential: 'token ci (abcdefghij)', onlyTool: nameOf('hello') };
  const places = (principal: Principal) => {
    let taken = 0;
    while (shares.enterAs(principal, `127.0.0.${taken}`).kind === 'admitted') taken += 1;
    return taken;
  };
  assert.equal(places(token), 24);
  assert.deepEqual(shares.enterAs(token, '127.0.1.1'), {
    ...{ kind: 'refused', status: 429 },
    sentence: 'The token ci (abcdefghij) has too many requests under way.',
  });
  assert.equal(places(alice), 22);
});
