import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import type { ToolName } from '../../../../src/core/names.ts';
import { addressList } from '../../../../src/run/local/router/forwarded-headers.ts';
import { releaseOf, rollOut } from '../../contract-steps.ts';
import { web } from '../../tool-sources.ts';
import { type LocalBench, localBench } from '../local-bench.ts';

/**
 * A WSGI program under Python's own server. It answers with the HTTP_ variables of its environ, and with CONTENT_LENGTH as
 * HTTP_CONTENT_LENGTH if the request has a length, one per line.
 */
const environTool = `
import os
from wsgiref.simple_server import make_server
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    if environ.get('CONTENT_LENGTH'): environ['HTTP_CONTENT_LENGTH'] = environ['CONTENT_LENGTH']
    names = sorted(name for name in environ if name.startswith('HTTP_'))
    return [''.join(f'{name}={environ[name]}\\n' for name in names).encode()]
make_server('', int(os.environ['PORT']), application).serve_forever()
`;

let bench: LocalBench;
before(async () => {
  bench = await localBench({ mode: 'trusted' });
  const artifact = await bench.artifact({ 'web.py': environTool }, [web()]);
  await rollOut(bench.runtime, releaseOf('environ' as ToolName, 1, artifact));
});
after(() => bench.close());

/** Returns the HTTP_ variables that the tool sees for a request with these lines. */
async function environOf(...lines: string[]): Promise<Record<string, string>> {
  const socket = connect(bench.port, '127.0.0.1');
  socket.setTimeout(10_000, () => socket.destroy());
  socket.write(`${['GET / HTTP/1.1', 'Host: environ.localhost', ...lines].join('\r\n')}\r\n\r\n`);
  let answer = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    answer += chunk;
  });
  await once(socket, 'close');
  assert.match(answer, /^HTTP\/1\.[01] 200 /);
  return Object.fromEntries(
    [...answer.matchAll(/^(HTTP_\w+)=(.*)$/gm)].map(([, name, value]) => [name ?? '', value ?? '']),
  );
}

const webSocket = ['Upgrade: websocket', 'Sec-WebSocket-Key: x', 'Sec-WebSocket-Version: 13'];

const forged = [
  'X_Forwarded_For: 6.6.6.6',
  'X_Forwarded_Proto: https',
  'X_Forwarded_Host: evil.example',
  'X_Real_IP: 6.6.6.6',
  'X.Forwarded.For: 6.6.6.6',
  'X-Forwarded-Ssl: on',
  'X-Forwarded-Prefix: /evil',
  'Proxy: http://evil.example:1',
  'X_Anything: 6.6.6.6',
  'X-Honest: yes',
];

for (const { name, lines } of [
  { name: 'a request', lines: ['Connection: close'] },
  {
    name: 'a request for a WebSocket',
    lines: ['Connection: Upgrade', ...webSocket],
  },
]) {
  test(`httpoxy: a Proxy field or a field with underscores in ${name} forges no variable of a WSGI tool`, async () => {
    const seen = await environOf(...forged, ...lines);
    assert.equal(seen['HTTP_X_FORWARDED_FOR'], '127.0.0.1');
    assert.equal(seen['HTTP_X_FORWARDED_PROTO'], 'http');
    assert.equal(seen['HTTP_X_FORWARDED_HOST'], 'environ.localhost');
    assert.equal(seen['HTTP_X_HONEST'], 'yes');
    assert.equal(seen['HTTP_PROXY'], undefined);
    const text = JSON.stringify(seen);
    assert.doesNotMatch(text, /6\.6\.6\.6|evil|FORWARDED_SSL|ANYTHING/);
  });
}

for (const { name, lines } of [
  { name: 'Content-Length', lines: ['Content-Length: 4'] },
  { name: 'Transfer-Encoding', lines: ['Transfer-Encoding: chunked'] },
  { name: 'Trailer', lines: ['Trailer: X-After', 'TE: trailers'] },
  { name: 'Expect', lines: ['Expect: 100-continue'] },
]) {
  test(`threats 23 and 24: a WebSocket request with ${name} reaches the tool without this field; of the hop-by-hop fields, only Connection and Upgrade stay`, async () => {
    const seen = await environOf(
      'Connection: Upgrade, X-Forwarded-For, X-Forwarded-Host, Host, X-Private',
      'X-Private: 1',
      'Keep-Alive: timeout=5',
      'Proxy-Authorization: Basic eDp5',
      ...lines,
      ...webSocket,
    );
    assert.deepEqual(seen, {
      HTTP_CONNECTION: 'Upgrade',
      HTTP_HOST: 'environ.localhost',
      HTTP_SEC_WEBSOCKET_KEY: 'x',
      HTTP_SEC_WEBSOCKET_VERSION: '13',
      HTTP_UPGRADE: 'websocket',
      HTTP_X_FORWARDED_FOR: '127.0.0.1',
      HTTP_X_FORWARDED_HOST: 'environ.localhost',
      HTTP_X_FORWARDED_PROTO: 'http',
    });
  });
}

test('if the server runs tools itself, a host name in trusted_proxies is refused', () => {
  assert.throws(() => addressList(['192.0.2.7', 'proxy.example.org']), { code: 'BAD_SETTING' });
  assert.ok(addressList(['192.0.2.7']).check('192.0.2.7'));
});
