import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { echoTool } from '../../support/hostile/echo-tool.ts';
import { sendRaw } from '../../support/http/http-raw.ts';
import { TestServer } from '../../support/server.ts';
import { liveTool } from '../../support/work-tree.ts';

/** A request inside the body of another. Some HTTP parsers read it as part of this body, others as a second request. */
const INNER = 'GET /inner HTTP/1.1\r\nHost: echo.localhost\r\n\r\n';

describe('threat 24: bytes that two HTTP parsers would split into requests differently', {
  concurrency: 1,
}, () => {
  let server: TestServer;
  let port: number;
  before(async () => {
    server = await TestServer.start();
    port = Number(server.http.split(':')[1]);
    await liveTool(server, 'echo', echoTool);
  });
  after(async () => server[Symbol.asyncDispose]());

  /** Sends bytes. @returns the statuses of the answers, and the requests that the tool has read since the last call. */
  async function send(...pieces: string[]): Promise<{ statuses: string[]; seen: string[]; text: string }> {
    const { text } = await sendRaw(
      port,
      pieces.map((piece) => Buffer.from(piece, 'latin1')),
      { limitMs: 1_500 },
    );
    const statuses = [...text.matchAll(/^HTTP\/1\.1 (\d{3}) /gm)].map(([, status = '']) => status);
    const { body } = await server.get('echo', '/seen');
    const seen = (JSON.parse(body) as string[]).map((one) => Buffer.from(one, 'base64').toString('latin1'));
    return { statuses, seen, text };
  }

  const post = (fields: string, body: string) =>
    `POST /outer HTTP/1.1\r\nHost: echo.localhost\r\n${fields}\r\n${body}`;

  for (const [name, bytes] of Object.entries({
    'Content-Length before Transfer-Encoding': post(
      `Content-Length: ${5 + INNER.length}\r\nTransfer-Encoding: chunked\r\n`,
      `0\r\n\r\n${INNER}`,
    ),
    'Transfer-Encoding before Content-Length': post(
      'Transfer-Encoding: chunked\r\nContent-Length: 4\r\n',
      `${INNER.length.toString(16)}\r\n${INNER}\r\n0\r\n\r\n`,
    ),
    'an unknown transfer encoding': post(
      'Transfer-Encoding: xchunked\r\nContent-Length: 4\r\n',
      `0\r\n\r\n${INNER}`,
    ),
    'another transfer encoding after chunked': post(
      'Transfer-Encoding: chunked, identity\r\n',
      `0\r\n\r\n${INNER}`,
    ),
    'two transfer encodings in two fields': post(
      'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n',
      `0\r\n\r\n${INNER}`,
    ),
    'a transfer encoding with a vertical tab after it': post(
      'Transfer-Encoding: chunked\u000b\r\n',
      `0\r\n\r\n${INNER}`,
    ),
    'a transfer encoding in quotes': post('Transfer-Encoding: "chunked"\r\n', `0\r\n\r\n${INNER}`),
    'a transfer encoding on a folded line': post(
      'Transfer-Encoding:\r\n chunked\r\nContent-Length: 4\r\n',
      `0\r\n\r\n${INNER}`,
    ),
    'a field name on a folded line': post(
      'X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: 0\r\n',
      INNER,
    ),
    'a space before the colon of a field': post(
      `Transfer-Encoding : chunked\r\nContent-Length: ${5 + INNER.length}\r\n`,
      `0\r\n\r\n${INNER}`,
    ),
    'two different lengths': post('Content-Length: 0\r\nContent-Length: 5\r\n', INNER),
    'the same length twice': post('Content-Length: 5\r\nContent-Length: 5\r\n', 'hello'),
    'two lengths in one field': post('Content-Length: 5, 5\r\n', 'hello'),
    'a length with a sign': post('Content-Length: +5\r\n', 'hello'),
    'a length in hexadecimal': post('Content-Length: 0x5\r\n', 'hello'),
    'a length with a space between its digits': post('Content-Length: 5 0\r\n', 'hello'),
    'a length below zero': post('Content-Length: -1\r\n', INNER),
    'a length that overflows': post('Content-Length: 18446744073709551621\r\n', 'hello'),
    'a length that is empty': post('Content-Length: \r\n', INNER),
    'only lines that end in LF alone': `GET /outer HTTP/1.1\nHost: echo.localhost\n\n${INNER}`,
    'one field that ends in LF alone': post('X: y\nContent-Length: 5\r\n', 'hello'),
    'a field that ends in CR alone': post('X: y\rContent-Length: 5\r\n', 'hello'),
    'headers that end with LF alone after the last field': `GET /outer HTTP/1.1\r\nHost: echo.localhost\r\n\n${INNER}`,
    'a NUL in the value of a field': post('X: a\u0000b\r\nContent-Length: 0\r\n', ''),
    'a field without a name': post(': chunked\r\nContent-Length: 0\r\n', ''),
    'a bracket in the name of a field': post('Transfer-Encoding[: chunked\r\nContent-Length: 0\r\n', ''),
    'a chunk that ends in LF alone': post('Transfer-Encoding: chunked\r\n', `5\nhello\n0\n\n${INNER}`),
    'a sign before the size of a chunk': post(
      'Transfer-Encoding: chunked\r\n',
      `+5\r\nhello\r\n0\r\n\r\n${INNER}`,
    ),
    'a chunk whose size is written as 0x5': post(
      'Transfer-Encoding: chunked\r\n',
      `0x5\r\nhello\r\n0\r\n\r\n${INNER}`,
    ),
    'a chunk whose size overflows': post(
      'Transfer-Encoding: chunked\r\n',
      `10000000000000005\r\nhello\r\n0\r\n\r\n${INNER}`,
    ),
    'a chunk that is longer than its size': post(
      'Transfer-Encoding: chunked\r\n',
      `2\r\nhello\r\n0\r\n\r\n${INNER}`,
    ),
    'a chunk extension that ends in LF alone': post(
      'Transfer-Encoding: chunked\r\n',
      `5;a\nhello\r\n0\r\n\r\n${INNER}`,
    ),
    'a chunk extension with a CR in it': post(
      'Transfer-Encoding: chunked\r\n',
      `5;a\rb\r\nhello\r\n0\r\n\r\n${INNER}`,
    ),
    'two Host fields': `GET /outer HTTP/1.1\r\nHost: echo.localhost\r\nHost: localhost\r\n\r\n`,
    'no Host field': 'GET /outer HTTP/1.1\r\nX: echo.localhost\r\n\r\n',
    'a target that names another host than the Host field':
      'GET http://localhost/outer HTTP/1.1\r\nHost: echo.localhost\r\n\r\n',
    'a target that has a user name and another host':
      'GET http://echo.localhost@localhost/ HTTP/1.1\r\nHost: echo.localhost\r\n\r\n',
    'the preface of HTTP/2': `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u0004\0\0\0\0\0${INNER}`,
    'the invalid version HTTP/1.11': 'GET /outer HTTP/1.11\r\nHost: echo.localhost\r\n\r\n',
    'a length in the trailers': post(
      'Transfer-Encoding: chunked\r\n',
      `5\r\nhello\r\n0\r\nContent-Length: ${INNER.length}\r\n\r\n${INNER}`,
    ),
    'the method CONNECT': 'CONNECT echo.localhost:80 HTTP/1.1\r\nHost: echo.localhost\r\n\r\n',
    'control characters in the target': 'GET /\u0001 HTTP/1.1\r\nHost: echo.localhost\r\n\r\n',
  })) {
    test(`an HTTP request with ${name} is refused, and reaches no tool`, async () => {
      const { statuses, seen } = await send(bytes);
      assert.deepEqual(seen, []);
      assert.ok(statuses.length === 0 || (statuses.length === 1 && statuses[0] === '400'), String(statuses));
    });
  }

  for (const { name, bytes, body = '' } of [
    {
      name: 'a body in chunks',
      bytes: post('Transfer-Encoding: chunked\r\n', '5\r\nhello\r\n0\r\n\r\n'),
      body: 'hello',
    },
    {
      name: 'chunk extensions',
      bytes: post('Transfer-Encoding: chunked\r\n', '5;a=b;c="d"\r\nhello\r\n0;e\r\n\r\n'),
      body: 'hello',
    },
    {
      name: 'trailers with forbidden fields',
      bytes: post(
        'Transfer-Encoding: chunked\r\nTrailer: X-Forwarded-For\r\n',
        `5\r\nhello\r\n0\r\nX-Forwarded-For: 6.6.6.6\r\nHost: localhost\r\nAuthorization: x\r\n\r\n`,
      ),
      body: 'hello',
    },
    {
      name: 'fields whose names CGI would confuse with others',
      bytes: post(
        'Content-Length: 5\r\nContent_Length: 0\r\nTransfer_Encoding: chunked\r\nX_Forwarded_For: 6.6.6.6\r\nX.Real.IP: 6.6.6.6\r\nProxy: http://6.6.6.6\r\n',
        'hello',
      ),
      body: 'hello',
    },
    {
      name: 'a Connection field that names other fields',
      bytes: post(
        'Content-Length: 5\r\nConnection: Content-Length, Host, X-Forwarded-For, Transfer-Encoding\r\n',
        'hello',
      ),
      body: 'hello',
    },
    {
      name: 'an absolute URL as its target',
      bytes: 'GET http://ECHO.localhost:1/outer HTTP/1.1\r\nHost: echo.localhost:1\r\n\r\n',
    },
    {
      name: 'an offer of HTTP/2',
      bytes: post(
        'Content-Length: 5\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n',
        'hello',
      ),
      body: 'hello',
    },
    { name: 'a host with a dot at the end', bytes: 'GET /outer HTTP/1.1\r\nHost: echo.localhost.\r\n\r\n' },
  ]) {
    test(`an HTTP request with ${name} reaches the tool once, with at most one length field, the client’s real address and no forged fields`, async () => {
      const { seen, statuses } = await send(bytes);
      assert.deepEqual(statuses, ['200']);
      assert.equal(seen.length, 1, seen.join('\n---\n'));
      const [head = '', ...rest] = (seen[0] ?? '').split('\r\n\r\n');
      assert.match(head, /^(GET|POST) \/outer HTTP\/1\.1\r\n/);
      assert.match(head, /\r\nx-forwarded-for: 127\.0\.0\.1\r\n/i);
      for (const once of ['host', 'x-forwarded-for', 'content-length', 'transfer-encoding', 'connection']) {
        const count = head.match(new RegExp(`\\r\\n${once}:`, 'gi'))?.length ?? 0;
        assert.ok(count <= 1, `${once}: ${count} times in\n${head}`);
      }
      assert.ok(
        !/content-length:[\s\S]*transfer-encoding:|transfer-encoding:[\s\S]*content-length:/i.test(head),
        head,
      );
      assert.doesNotMatch(head, /6\.6\.6\.6|h2c|http2|_/i);
      const raw = rest.join('\r\n\r\n');
      const read = /transfer-encoding: chunked/i.test(head) ? unchunked(raw) : raw;
      assert.equal(read, body);
      assert.doesNotMatch(raw, /6\.6\.6\.6|Authorization/i);
    });
  }

  test('the body of a WebSocket request does not reach the tool as a second request', async () => {
    const fields = `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\nContent-Length: ${INNER.length}\r\n`;
    const { seen, statuses } = await send(
      `GET /outer HTTP/1.1\r\nHost: echo.localhost\r\n${fields}\r\n${INNER}`,
    );
    assert.ok(statuses.length <= 1, String(statuses));
    assert.ok(seen.length <= 1, seen.join('\n---\n'));
    for (const one of seen) assert.match(one, /^GET \/outer /);
  });

  for (const host of [
    'echo.localhost:80:80',
    'echo.localhost@localhost',
    'localhost@echo.localhost.evil.example',
    'echo.localhost/../localhost',
    'echo.localhost, localhost',
    'echo%2elocalhost',
    '[::1]',
    '..localhost',
    '',
    'ECHO.LOCALHOST\\evil',
  ]) {
    test(`threat 27: a request for the host ${JSON.stringify(host)} reaches no tool`, async () => {
      const { seen, text } = await send(`GET /outer HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
      assert.deepEqual(seen, []);
      assert.match(text, /^HTTP\/1\.1 (400|404) /);
    });
  }

  test('threat 30: a web page of another site, of a tool, or of a foreign host name that leads to this server, cannot run a command', async () => {
    const login = Buffer.from(`${server.user}:${server.password}`).toString('base64');
    const ask = async (fields: string, line = 'POST /-/command') => {
      const head = `${line} HTTP/1.1\r\n${fields}Authorization: Basic ${login}\r\nConnection: close\r\n`;
      return (await send(`${head}Content-Length: 5\r\n\r\ntools`)).text;
    };
    const own = `Host: ${server.http}\r\n`;
    assert.match(await ask(own), /^HTTP\/1\.1 200 [\s\S]*echo/);
    assert.match(await ask(`${own}Origin: http://${server.http}\r\n`), /^HTTP\/1\.1 200 /);
    for (const fields of [
      `${own}Origin: http://evil.example\r\n`,
      `${own}Origin: null\r\n`,
      `${own}Origin: http://echo.localhost:${port}\r\nSec-Fetch-Site: same-site\r\n`,
      `${own}Sec-Fetch-Site: cross-site\r\n`,
      `Host: evil.example:${port}\r\nOrigin: http://evil.example:${port}\r\n`,
      `Host: evil.example:${port}\r\nOrigin: http://evil.example:${port}\r\nSec-Fetch-Site: same-origin\r\n`,
    ]) {
      const answer = await ask(fields);
      assert.match(answer, /^HTTP\/1\.1 403 /, fields);
      assert.doesNotMatch(answer, /access-control-allow/i);
    }
  });
});

function unchunked(text: string): string {
  let [rest, body] = [text, ''];
  for (;;) {
    const [, digits = '', after = ''] = /^([0-9a-f]+)\r\n([\s\S]*)$/i.exec(rest) ?? [];
    const size = Number.parseInt(digits, 16);
    if (!(size > 0)) return body;
    body += after.slice(0, size);
    rest = after.slice(size + 2);
  }
}
