import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { Registry } from '../../../src/builder/registry/registry.ts';

const digestOf = (text: string | Buffer) => `sha256:${createHash('sha256').update(text).digest('hex')}`;
const layer = 'the layer';
const config = '{}';
const type = 'application/vnd.oci.image.manifest.v1+json';
const manifest = JSON.stringify({
  config: { digest: digestOf(config), size: config.length },
  layers: [{ digest: digestOf(layer), size: layer.length }],
});

/**
 * A registry over HTTP that has the image in the repository `beta`.
 *
 * @param canMount - Whether the registry itself copies layers between repositories.
 * @param slowMs - How long the registry waits in the middle of each layer that it sends.
 */
async function openRegistry(context: TestContext, canMount: boolean, slowMs = 0) {
  const blobs = new Map<string, string>(
    [config, layer].map((text) => [`beta ${digestOf(text)}`, text] as const),
  );
  const manifests = new Map<string, string>([[`beta ${digestOf(manifest)}`, manifest]]);
  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? '', 'http://registry');
    const [, name = '', kind = '', reference = ''] = /^\/v2\/([^/]+)\/(\w+)\/(.*)$/.exec(url.pathname) ?? [];
    const answer = (status: number, headers: Record<string, string> = {}, body = '') =>
      response.writeHead(status, headers).end(request.method === 'HEAD' ? '' : body);
    if (request.method === 'POST') {
      const mount = url.searchParams.get('mount') ?? '';
      const known = blobs.get(`${url.searchParams.get('from')} ${mount}`);
      if (!canMount || known === undefined)
        return answer(202, { location: `/v2/${name}/blobs/uploads/one?state=x` });
      blobs.set(`${name} ${mount}`, known);
      return answer(201);
    }
    if (request.method === 'PUT') {
      const body = (await buffer(request)).toString();
      if (kind === 'manifests') {
        manifests.set(`${name} ${reference}`, body);
        return answer(201);
      }
      const digest = url.searchParams.get('digest') ?? '';
      if (digestOf(body) !== digest || url.searchParams.get('state') !== 'x') return answer(400);
      blobs.set(`${name} ${digest}`, body);
      return answer(201);
    }
    const found = (kind === 'manifests' ? manifests : blobs).get(`${name} ${reference}`);
    if (found === undefined) return answer(404);
    if (kind === 'blobs' && slowMs > 0) {
      response.writeHead(200).write(found.slice(0, 1));
      await wait(slowMs);
      return response.end(found.slice(1));
    }
    return answer(200, { 'content-type': type }, found);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  context.after(() => server.close());
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const registry = new Registry({ host, isPlainHttp: true, credentials: async () => null, timeoutMs: 2000 });
  return { server, registry, blobs, manifests };
}

for (const canMount of [true, false]) {
  test(`an image is copied into another repository with the same digest if the registry ${canMount ? 'mounts' : 'does not mount'} layers`, async (context) => {
    const { registry, blobs, manifests } = await openRegistry(context, canMount);
    const to = { to: 'prod', tag: 'b2' };
    assert.equal(await registry.copy('beta', digestOf(manifest), to, AbortSignal.timeout(10_000)), true);
    assert.equal(manifests.get('prod b2'), manifest);
    assert.equal(blobs.get(`prod ${digestOf(layer)}`), layer);
    assert.equal(blobs.get(`prod ${digestOf(config)}`), config);
  });
}

test('a layer may take longer than another request to a registry', async (context) => {
  const { registry, blobs } = await openRegistry(context, false, 2500);
  const to = { to: 'prod', tag: 'b2' };
  assert.equal(await registry.copy('beta', digestOf(manifest), to, AbortSignal.timeout(20_000)), true);
  assert.equal(blobs.get(`prod ${digestOf(layer)}`), layer);
});

test('if a registry cannot store a layer at the moment, the layer is not sent again, and the error names the answer', async (context) => {
  const { server, registry } = await openRegistry(context, false);
  const [answer] = server.listeners('request') as ((...given: unknown[]) => void)[];
  let uploads = 0;
  server.removeAllListeners('request').on('request', (request, response) => {
    if (request.method !== 'PUT') return answer?.(request, response);
    uploads += 1;
    request.resume().on('end', () => response.writeHead(503).end());
  });
  await assert.rejects(
    registry.copy('beta', digestOf(manifest), { to: 'prod', tag: 'b2' }, AbortSignal.timeout(10_000)),
    { code: 'REGISTRY_UNAVAILABLE', message: /it answers 503/ },
  );
  assert.equal(uploads, 1);
});

test('copying an image that the registry does not have returns false and stores nothing', async (context) => {
  const { registry, blobs, manifests } = await openRegistry(context, true);
  const to = { to: 'prod', tag: 'b2' };
  assert.equal(await registry.copy('beta', digestOf('other'), to, AbortSignal.timeout(10_000)), false);
  assert.deepEqual([blobs.size, manifests.size], [2, 1]);
});
