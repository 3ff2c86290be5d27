import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { after, before, test } from 'node:test';
import { pino } from 'pino';
import { type Sources, serveSource } from '../../../src/http/sources/serve-source.ts';

const token = 'a'.repeat(43);
let taken: string[] = [];
let make: () => Readable = () => Readable.from(['archive']);
const sources: Sources = {
  take: (text) => {
    taken.push(text);
    return text === token ? () => make() : null;
  },
};
let server: Server;
let url = '';
before(async () => {
  server = createServer((request, response) => {
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    const log = pino({ level: 'silent' });
    void serveSource({ request, response, log, signal: gone.signal, lingerMs: 0, leave: () => {} }, sources);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/-/source`;
});
after(() => server.close());

const get = (authorization?: string) =>
  fetch(url, { headers: authorization === undefined ? {} : { Authorization: authorization } });

test('a request with the token of a build gets an archive with the source of this build', async () => {
  const answer = await get(`Bearer ${token}`);
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get('content-type'), 'application/x-tar');
  assert.equal(answer.headers.get('cache-control'), 'no-store');
  assert.equal(await answer.text(), 'archive');
});

for (const authorization of [
  undefined,
  '',
  'Bearer ',
  'Bearer short',
  `Basic ${token}`,
  `Bearer ${'b'.repeat(43)}`,
  `Bearer ${'b'.repeat(5000)}`,
  `Bearer ${token} ${token}`,
]) {
  test(`a request for a source with Authorization ${JSON.stringify(authorization)?.slice(0, 40)} is refused`, async () => {
    const answer = await get(authorization);
    assert.equal(answer.status, 404);
    assert.match(await answer.text(), /no source for this token/);
  });
}

test('a malformed token for a source is refused before the server looks the token up', async () => {
  taken = [];
  await get('Bearer short');
  await get(`Basic ${token}`);
  assert.deepEqual(taken, []);
});

test('if the archive of a source cannot be completed, the connection is closed', async () => {
  make = () =>
    Readable.from(
      (async function* () {
        yield 'the beginning';
        throw new Error('tar has failed');
      })(),
    );
  const answer = await get(`Bearer ${token}`);
  await assert.rejects(answer.text());
});
