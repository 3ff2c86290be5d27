import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { gzipSync } from 'node:zlib';
import type { BadInput, Siege } from './bad-input.ts';
import { type BadPush, plain } from './bad-input-pushes.ts';

/** One request to send. */
interface Sent {
  readonly line: string;
  readonly host?: string;
  readonly headers?: readonly string[];
  readonly body?: Buffer | string;
  readonly isAnonymous?: boolean;
  readonly localAddress?: string;
}

const PUSH = 'POST /hello.git/git-receive-pack';
const FETCH = 'POST /hello.git/git-upload-pack';
const PUSH_REFS = 'GET /hello.git/info/refs?service=git-receive-pack';
const FETCH_REFS = 'GET /hello.git/info/refs?service=git-upload-pack';
const noise = randomBytes(4096);
const zeros = gzipSync(Buffer.alloc(96 * 1024 * 1024));
/** A gzip body that expands to 96 MiB, but to less than 100 times its size, because it has random bytes. */
const sparse = gzipSync(
  Buffer.concat(Array.from({ length: 96 }, () => [randomBytes(16 * 1024), Buffer.alloc(1008 * 1024)]).flat()),
);

/**
 * Sends a request of the attacker, and reads until the server closes the connection.
 *
 * @returns the status, and all that came as text, without packet headers.
 */
async function ask(siege: Siege, sent: Sent): Promise<{ status: number; text: string }> {
  const { line, host = 'push', body = '', isAnonymous = false, localAddress } = sent;
  const headers = [
    ...(sent.headers ?? []),
    ...(isAnonymous ? [] : [`Authorization: ${siege.authorization}`]),
  ];
  const has = (name: RegExp) => headers.some((header) => name.test(header));
  const service = /git-(?:receive|upload)-pack$/.exec(line)?.[0];
  if (service !== undefined && !has(/^Content-Type/))
    headers.push(`Content-Type: application/x-${service}-request`);
  if (!has(/^(Content-Length|Transfer-Encoding)/)) headers.push(`Content-Length: ${body.length}`);
  const head = [`${line} HTTP/1.1`, `Host: ${host}`, 'Connection: close', ...headers, '', ''].join('\r\n');
  const request = Buffer.concat([Buffer.from(head, 'latin1'), Buffer.from(body)]);
  const text = plain(await siege.knock([request], localAddress === undefined ? {} : { localAddress }));
  return { status: Number(/^HTTP\/1\.1 (\d{3}) /.exec(text)?.[1] ?? 0), text };
}

/** Bad requests. Each must get exactly one answer, with this status, and with text that `told` matches. */
function kind(
  [name, times]: readonly [name: string, times: number],
  status: number,
  requests: readonly Sent[],
  told: RegExp = /./,
): BadInput {
  const send = async (siege: Siege) => {
    for (const sent of requests) {
      const answer = await ask(siege, sent);
      const what = `${JSON.stringify(sent).slice(0, 200)}: ${answer.text.slice(0, 300)}`;
      assert.equal(answer.status, status, what);
      assert.match(answer.text, told, what);
      assert.equal(answer.text.match(/^HTTP\/1\.1 /gm)?.length, 1, what);
    }
  };
  return { name, times, send };
}

/** Sends a part of a request, gets no answer, and disconnects: every second time with a reset. */
function fragment(name: string, times: number, bytes: (siege: Siege) => string): BadInput {
  let count = 0;
  const send = async (siege: Siege) => {
    count += 1;
    const socket = await siege.open();
    const closed = once(socket, 'close');
    const text = bytes(siege);
    socket.write(text.slice(0, -3));
    for (const byte of text.slice(-3)) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      socket.write(byte);
    }
    assert.equal(socket.bytesRead, 0);
    if (count % 2 === 0) socket.resetAndDestroy();
    else socket.end().resume();
    await closed;
  };
  return { name, times, send };
}

const unfinished = (siege: Siege, headers: string, body: string) =>
  `${PUSH} HTTP/1.1\r\nHost: push\r\nAuthorization: ${siege.authorization}\r\nContent-Type: application/x-git-receive-pack-request\r\n${headers}\r\n\r\n${body}`;
const get = (path: string): Sent => ({ line: `GET ${path}` });
const command = (body: Buffer | string, ...headers: string[]): Sent => ({
  line: 'POST /-/command',
  body,
  headers,
});
const encoded = (line: string, encoding: string, body: Buffer): Sent => ({
  line,
  body,
  headers: [`Content-Encoding: ${encoding}`],
});

/** Bad input to the HTTP door, except pushes. */
export const httpKinds: readonly BadInput[] = [
  kind(
    ['threat 24: bytes that two readers would split differently', 16],
    400,
    ['push', 'hello.localhost'].flatMap((host) =>
      [
        ['Content-Length: 4', 'Transfer-Encoding: chunked'],
        ['Content-Length: 4', 'Content-Length: 5'],
        ['Content-Length: +4'],
        ['Content-Length: 99999999999999999999'],
        ['Transfer-Encoding: xchunked'],
        ['X: a', ' b: c'],
        ['X y: z'],
      ].map((headers) => ({ line: PUSH, host, headers })),
    ),
  ),
  kind(
    ['threat 24: broken chunks', 16],
    400,
    ['xyz\r\n0000\r\n0\r\n\r\n', '2\r\n0000\r\n0\r\n\r\n', `${'f'.repeat(17)}\r\n`].map((body) => ({
      line: PUSH,
      body,
      headers: ['Transfer-Encoding: chunked'],
    })),
  ),
  {
    name: 'threat 24: bytes that are not HTTP/1.1',
    times: 16,
    send: async (siege) => {
      for (const start of [
        'SSH-2.0-x\r\n',
        'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
        '\u0016\u0003\u0001\u0002\0',
        'x\0y',
      ])
        assert.match(await siege.knock([start, noise]), /^HTTP\/1\.1 400 /);
    },
  },
  kind(['threat 24: an offer of another protocol', 16], 404, [
    { line: 'GET /x', headers: ['Connection: Upgrade', 'Upgrade: h2c', 'HTTP2-Settings: AAAA'] },
    { line: 'GET /x', headers: ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Key: x'] },
  ]),
  kind(
    ['threat 27: two hosts in one request', 16],
    400,
    ['push', 'hello.localhost'].map((host) => ({ line: 'GET /x', host, headers: ['Host: quiet.localhost'] })),
  ),
  kind(['threat 24: unknown expectations', 16], 417, [{ line: PUSH, headers: ['Expect: the-worst'] }]),
  {
    name: 'threat 28: a tunnel',
    times: 16,
    send: async (siege) => {
      assert.equal(await siege.knock(['CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: x\r\n\r\n']), '');
    },
  },
  {
    name: 'threat 21: five hundred requests at once',
    times: 8,
    send: async (siege) => {
      const request = 'GET /x HTTP/1.1\r\nHost: push\r\n';
      const last = `${request}Connection: close\r\n\r\n`;
      const text = await siege.knock([`${request}\r\n`.repeat(499) + last]);
      const statuses = Array.from(text.matchAll(/^HTTP\/1\.1 (\d+) /gm), ([, status]) => status);
      assert.deepEqual(statuses, Array<string>(500).fill('404'));
    },
  },
  kind(['threat 26: huge headers', 16], 431, [
    { line: 'GET /', headers: [`X: ${'a'.repeat(20_000)}`] },
    { line: 'GET /', headers: Array<string>(3000).fill('X: aaaa') },
    get(`/${'a'.repeat(20_000)}`),
  ]),
  fragment('threat 26: unfinished headers', 16, () => 'GET / HTTP/1.1\r\nHost: push\r\nX: abc'),
  fragment('threat 26: a push that stops in its command list', 16, (siege) =>
    unfinished(siege, 'Content-Length: 1000', '009400000000'),
  ),
  fragment('threat 26: a push in chunks that stops in its pack', 16, (siege) => {
    const line = `0077${'0'.repeat(40)} ${siege.first} refs/heads/main\0report-status0000PACK`;
    return unfinished(siege, 'Transfer-Encoding: chunked', `400\r\n${line}`);
  }),
  kind(
    ['threat 27: invalid hosts', 16],
    404,
    ['..', 'hello.localhost.evil', '[::1', 'quiet.localhost@push', `${'a'.repeat(9000)}.localhost`].map(
      (host) => ({ line: 'GET /x', host }),
    ),
  ),
  kind(
    ['threat 28: paths out of the repository', 8],
    404,
    [
      '/../../etc/passwd',
      '/%2e%2e/data/directory.yaml',
      '//etc/passwd',
      '/hello.git/config',
      '/hello.git/HEAD',
      '/hello.git/objects/info/packs',
      '/hello.git/hooks/post-receive',
      '/..%2fquiet.git/info/refs?service=git-upload-pack',
      '/quiet.git/info/refs?service=git-upload-pack',
      '/hello.git/info/refs?service=git-upload-archive',
      '/hello.git/info/refs?service=git-upload-pack&service=git-receive-pack',
      '/hello.git%00/info/refs?service=git-upload-pack',
    ].map(get),
  ),
  kind(
    ['threat 28: other methods', 16],
    405,
    ['PUT', 'DELETE', 'TRACE', 'PROPFIND', 'PATCH'].map((method) => ({
      line: `${method} /hello.git/git-receive-pack`,
    })),
  ),
  kind(
    ['threat 29: invalid credentials', 16],
    401,
    ['Basic', 'Basic !!!!', 'Basic YQ==', 'Bearer x', `Basic ${'A'.repeat(12_000)}`, 'Basic Og=='].map(
      (text) => ({
        line: PUSH_REFS,
        isAnonymous: true,
        headers: [`Authorization: ${text}`],
      }),
    ),
    /WWW-Authenticate: Basic/,
  ),
  {
    name: 'threat 9: guesses at passwords',
    times: 40,
    send: async (siege) => {
      const guess = Buffer.from(`neighbour:${Math.random()}`).toString('base64');
      const headers = [`Authorization: Basic ${guess}`];
      const sent = { line: PUSH_REFS, isAnonymous: true, headers, localAddress: '127.0.0.4' };
      const { text } = await ask(siege, sent);
      assert.match(text, /^HTTP\/1\.1 (401|429) [\s\S]*(Log in with|Too many failed logins)/);
    },
  },
  kind(['threat 30: requests of another site', 16], 403, [
    command('ps hello', 'Origin: https://evil.example'),
    command('ps hello', 'Sec-Fetch-Site: cross-site'),
  ]),
  kind(['threat 17: invalid protocol versions', 8], 200, [
    { line: FETCH_REFS, headers: ['Git-Protocol: version=2:$(id)'] },
    { line: FETCH_REFS, headers: [`Git-Protocol: ${'version=9:'.repeat(500)}`] },
  ]),
  kind(['threat 16: invalid command lines', 16], 400, [
    command('ps hello\u0000'),
    command('ps \u001b]0;x\u0007'),
    command('a'.repeat(70_000)),
    command(noise),
    command('no-such-command; id'),
    command('ps ../../etc'),
  ]),
  kind(['threat 24: malformed fetches', 8], 400, [
    { line: FETCH, body: 'nonsense' },
    { line: FETCH, body: 'ffff' },
    { line: FETCH, body: noise },
  ]),
  kind(
    ['threat 4: a fetch of a missing commit', 8],
    200,
    [{ line: FETCH, body: `0032want ${'1'.repeat(40)}\n00000009done\n` }],
    /ERR upload-pack: not our ref/,
  ),
  kind(['threat 25: gzip bombs in a push', 4], 400, [encoded(PUSH, 'gzip', sparse)], /not a pkt-line/),
  kind(
    ['threat 25: gzip bombs in a fetch', 8],
    413,
    [encoded(FETCH, 'gzip', sparse)],
    /larger than 33554432/,
  ),
  kind(
    ['threat 241: gzip bombs of zeros in a push', 4],
    413,
    [encoded(PUSH, 'gzip', zeros)],
    /100 times its size/,
  ),
  kind(
    ['threat 241: gzip bombs of zeros in a fetch', 8],
    413,
    [encoded(FETCH, 'gzip', zeros)],
    /100 times its size/,
  ),
  kind(
    ['threat 25: broken gzip', 8],
    400,
    [PUSH, FETCH].flatMap((line) =>
      [noise, Buffer.alloc(0), sparse.subarray(0, 9000), Buffer.concat([sparse.subarray(0, 40), noise])].map(
        (body) => encoded(line, 'gzip', body),
      ),
    ),
    /gzip data of the request body is damaged/,
  ),
  kind(['threat 25: other encodings and types', 16], 415, [
    encoded(PUSH, 'br', noise),
    encoded(PUSH, 'gzip, gzip', noise),
    command('ps', 'Content-Encoding: gzip'),
    { line: PUSH, headers: ['Content-Type: text/plain'], body: '0000' },
  ]),
];

/** Sends each body of a bad push as one HTTP request. */
export function pushByHttp({ name, times, bodies, answer }: BadPush): BadInput {
  const send = async (siege: Siege) => {
    for (const body of bodies) {
      const { status, text } = await ask(siege, { line: PUSH, body });
      assert.ok(status === 200 || status === 400, `${status}`);
      assert.match(text, answer);
    }
  };
  return { name, times, send };
}
