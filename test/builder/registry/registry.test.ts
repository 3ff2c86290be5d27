import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Registry } from '../../../src/builder/registry/registry.ts';
import { credentialsIn, dockerConfigJson } from '../../../src/builder/registry/registry-credentials.ts';
import { failsWith } from '../support/with-builder.ts';

const sha = (text: string) => `sha256:${createHash('sha256').update(text).digest('hex')}`;
const signal = AbortSignal.timeout(60_000);

type Answer = (request: IncomingMessage, response: ServerResponse, asked: number) => void;

/** Runs with a registry that answers as `answer` says. */
async function withRegistry(
  answer: Answer,
  run: (host: string, asked: string[]) => Promise<void>,
): Promise<void> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    answer(request, response, asked.length);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    await run(`127.0.0.1:${(server.address() as AddressInfo).port}`, asked);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

const plain = (host: string, login: { user: string; password: string } | null = null) =>
  new Registry({ host, isPlainHttp: true, credentials: async () => login, timeoutMs: 2000 });
const login = { user: 'pusher', password: 'pass:word' };
const basic = `Basic ${Buffer.from('pusher:pass:word').toString('base64')}`;

test('a registry gets the password by Basic authentication only after the registry has asked for a login', async () => {
  const seen: (string | undefined)[] = [];
  await withRegistry(
    (request, response) => {
      seen.push(request.headers.authorization);
      if (request.headers.authorization === basic) {
        response.writeHead(200, { 'docker-content-digest': sha('x') }).end();
      } else {
        response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end();
      }
    },
    async (host) => {
      const registry = plain(host, login);
      assert.equal(await registry.digestOf('a/b', 'v1', signal), sha('x'));
      assert.equal(await registry.digestOf('a/b', 'v1', signal), sha('x'));
    },
  );
  assert.deepEqual(seen, [undefined, basic, basic]);
});

test('if a registry names a token server, this server gets one token for each scope that it needs', async () => {
  const tokens: string[] = [];
  await withRegistry(
    (request, response) => {
      const url = new URL(request.url ?? '', `http://${request.headers.host}`);
      if (url.pathname === '/token') {
        assert.equal(request.headers.authorization, basic);
        assert.equal(url.searchParams.get('service'), 'the registry');
        const scope = url.searchParams.get('scope') ?? '';
        tokens.push(scope);
        return void response.end(JSON.stringify({ token: `for ${scope}` }));
      }
      const scope = request.method === 'DELETE' ? 'pull,push,delete' : 'pull';
      if (request.headers.authorization === `Bearer for repository:a/b:${scope}`) {
        return void response.writeHead(request.method === 'DELETE' ? 202 : 200).end('{"tags":["one"]}');
      }
      const realm = `http://${request.headers.host}/token`;
      response.writeHead(401, { 'www-authenticate': `Bearer realm="${realm}",service="the registry"` }).end();
    },
    async (host) => {
      const registry = plain(host, login);
      assert.deepEqual(await registry.tags('a/b', signal), ['one']);
      assert.deepEqual(await registry.tags('a/b', signal), ['one']);
      assert.equal(await registry.delete('a/b', sha('x'), signal), true);
    },
  );
  assert.deepEqual(tokens, ['repository:a/b:pull', 'repository:a/b:pull,push,delete']);
});

test('a password is not sent to a token server whose address is neither HTTP nor HTTPS', async () => {
  await withRegistry(
    (request, response) => {
      assert.equal(request.headers.authorization, undefined);
      response.writeHead(401, { 'www-authenticate': 'Bearer realm="ftp://elsewhere/token"' }).end();
    },
    async (host) => {
      await assert.rejects(
        plain(host, login).digestOf('a/b', 'x', signal),
        failsWith('REGISTRY_REFUSED', /refuses HEAD of a\/b \(401\)/),
      );
    },
  );
});

test('threat 70: a request to a registry that fails for a moment is retried', async () => {
  await withRegistry(
    (_request, response, asked) => void response.writeHead(asked === 1 ? 503 : asked === 2 ? 429 : 404).end(),
    async (host, asked) => {
      assert.equal(await plain(host).digestOf('a/b', 'x', signal), null);
      assert.equal(asked.length, 3);
    },
  );
});

for (const [name, answer, message] of [
  ['answers 429', (_request, response) => void response.writeHead(429).end(), /it answers 429/],
  ['answers 502', (_request, response) => void response.writeHead(502).end(), /it answers 502/],
  ['hangs up', (request) => void request.socket.destroy(), /cannot be used at the moment/],
  ['does not answer', () => {}, /no answer in time/],
] as const satisfies readonly (readonly [string, Answer, RegExp])[]) {
  test(`threat 70: a registry that ${name} is reported as unavailable with the reason`, async () => {
    await withRegistry(answer, async (host) => {
      const registry = new Registry({
        host,
        isPlainHttp: true,
        credentials: async () => null,
        timeoutMs: 300,
      });
      await assert.rejects(registry.assertUsable(signal), failsWith('REGISTRY_UNAVAILABLE', message));
    });
  });
}

test('threat 70: a registry’s token server that cannot answer is reported as an outage, not as a refusal', async () => {
  await withRegistry(
    (request, response) => {
      if (request.url?.startsWith('/token')) return void response.writeHead(503).end();
      const challenge = `Bearer realm="http://${request.headers.host}/token"`;
      response.writeHead(401, { 'www-authenticate': challenge }).end();
    },
    async (host) => {
      await assert.rejects(
        plain(host, login).digestOf('a/b', 'x', signal),
        failsWith('REGISTRY_UNAVAILABLE', /its login at 127\.0\.0\.1:\d+ failed/),
      );
    },
  );
});

test('threat 70: a registry that breaks off its answer is reported as unavailable', async () => {
  await withRegistry(
    (request, response) => {
      response.writeHead(200, { 'content-type': 'x/y', 'content-length': '100' }).write('{"tags":');
      setTimeout(() => request.socket.destroy(), 50);
    },
    async (host) => {
      const broken = failsWith('REGISTRY_UNAVAILABLE', /its answer broke off/);
      await assert.rejects(plain(host).tags('a/b', signal), broken);
      await assert.rejects(plain(host).facts('a/b', 'x', signal), broken);
    },
  );
});

test('a cancelled build does not wait for the registry’s answer', async () => {
  await withRegistry(
    () => {},
    async (host) => {
      const cancel = new AbortController();
      const waiting = plain(host).assertUsable(cancel.signal);
      setTimeout(() => cancel.abort(), 50);
      await assert.rejects(waiting, { name: 'AbortError' });
    },
  );
});

test('if an image is for several platforms, the server reads the facts for its own platform, and the digest of the whole index', async () => {
  const config = JSON.stringify({ config: { Env: ['A=b=c', 'D='], Labels: { l: 'v' } } });
  const manifest = JSON.stringify({
    config: { digest: sha(config), size: 10 },
    layers: [
      { digest: sha('1'), size: 100 },
      { digest: sha('2'), size: 1000 },
    ],
  });
  const machine = process.arch === 'x64' ? 'amd64' : process.arch;
  const index = JSON.stringify({
    manifests: [
      { digest: sha('other'), size: 1, platform: { os: 'linux', architecture: 's390x' } },
      { digest: sha(manifest), size: 1, platform: { os: 'linux', architecture: machine } },
    ],
  });
  await withRegistry(
    (request, response) => {
      const [type, text] = request.url?.endsWith('/manifests/24')
        ? ['application/vnd.oci.image.index.v1+json', index]
        : request.url?.includes('/manifests/')
          ? ['application/vnd.oci.image.manifest.v1+json', manifest]
          : ['application/octet-stream', config];
      response.writeHead(200, { 'content-type': type }).end(text);
    },
    async (host) => {
      const facts = await plain(host).facts('a/b', '24', signal);
      assert.deepEqual(facts, {
        digest: sha(index),
        bytes: 1110,
        largest: [1000, 100],
        labels: { l: 'v' },
        environment: { A: 'b=c', D: '' },
      });
    },
  );
});

test('threat 69: an answer of a registry that does not match the digest is refused', async () => {
  await withRegistry(
    (_request, response) => void response.writeHead(200, { 'content-type': 'x/y' }).end('{}'),
    async (host) => {
      await assert.rejects(plain(host).facts('a/b', sha('x'), signal), /gave something else/);
    },
  );
});

test('an endless answer of a registry is refused after 4 MiB', async () => {
  await withRegistry(
    (_request, response) => {
      response.writeHead(200, { 'content-type': 'x/y' });
      const more = () => {
        while (response.write('x'.repeat(65_536)));
      };
      response.on('drain', more);
      more();
    },
    async (host) => {
      await assert.rejects(plain(host).facts('a/b', 'x', signal), /larger than 4 MiB/);
    },
  );
});

test('a registry that does not allow deletion causes no error', async () => {
  await withRegistry(
    (_request, response) => void response.writeHead(405).end(),
    async (host) => assert.equal(await plain(host).delete('a/b', sha('x'), signal), false),
  );
});

test('tags of an image are read from all pages of the registry’s list', async () => {
  await withRegistry(
    (request, response) => {
      const last = new URL(request.url ?? '', 'http://x').searchParams.get('last');
      const link = last === null ? { link: '</v2/a/b/tags/list?last=b>; rel="next"' } : {};
      response.writeHead(200, link).end(JSON.stringify({ tags: last === null ? ['a', 'b'] : ['c'] }));
    },
    async (host) => assert.deepEqual(await plain(host).tags('a/b', signal), ['a', 'b', 'c']),
  );
});

test('registry credentials are read again from the docker configuration file at each use', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'docker-'));
  const path = join(folder, 'config.json');
  const find = credentialsIn(path);
  await assert.rejects(find('a'), failsWith('BAD_SETTING', /registry_credentials/));
  await writeFile(path, dockerConfigJson('registry.example.org:5000', login));
  assert.deepEqual(await find('registry.example.org:5000'), login);
  assert.equal(await find('registry.example.org'), null);
  const hub = { auths: { 'https://index.docker.io/v1/': { username: 'u', password: 'p' } } };
  await writeFile(path, JSON.stringify(hub));
  assert.deepEqual(await find('docker.io'), { user: 'u', password: 'p' });
  assert.equal(await credentialsIn(null)('docker.io'), null);
  await rm(folder, { recursive: true });
});
