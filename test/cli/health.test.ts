import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer as createHttp, type RequestListener } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { type AddressInfo, createServer as createTcp, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { askHealth } from '../../src/cli/health.ts';

const folder = mkdtempSync(join(tmpdir(), 'health-'));
after(() => rmSync(folder, { recursive: true }));
const [certificate, key] = [join(folder, 'tls.pem'), join(folder, 'tls.key')];
execFileSync(
  'openssl',
  [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1'],
    ...['-subj', '/CN=push.example.org', '-keyout', key, '-out', certificate],
  ],
  { stdio: 'ignore' },
);

for (const { name, open, more } of [
  { name: 'HTTP', open: createHttp, more: {} },
  {
    name: 'HTTPS with a certificate for its public name',
    open: (answer: RequestListener) =>
      createHttps({ cert: readFileSync(certificate), key: readFileSync(key) }, answer),
    more: { TOOLFORGE_PUSH_TLS_CERTIFICATE: certificate, TOOLFORGE_PUSH_TLS_KEY: key },
  },
]) {
  test(`the health check reports the state of a server that speaks ${name}`, async () => {
    let status = 200;
    const server: Server = open((request, response) => {
      response.statusCode = request.url === '/healthz' ? status : 404;
      response.end(status === 200 ? 'ok\n' : 'the disk is full\n');
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const environment = { ...more, TOOLFORGE_PUSH_HTTP: `127.0.0.1:${port}` };
    assert.equal(await askHealth(environment), null);
    status = 503;
    assert.equal(await askHealth(environment), 'the disk is full');
    server.close();
    await once(server, 'close');
    assert.equal(await askHealth(environment), `no server listens at 127.0.0.1:${port}`);
  });
}

test('the health check says that the server cannot be asked if a program at the server’s port ends the connection', async () => {
  const other = createTcp((socket) => socket.destroy()).listen(0, '127.0.0.1');
  await once(other, 'listening');
  const { port } = other.address() as AddressInfo;
  const complaint = await askHealth({ TOOLFORGE_PUSH_HTTP: `127.0.0.1:${port}` });
  assert.match(complaint ?? '', /^the server cannot be asked: (socket hang up|.*ECONNRESET)/);
  other.close();
});
