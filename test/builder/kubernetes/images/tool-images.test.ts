import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { pino } from 'pino';
import { ToolImages } from '../../../../src/builder/kubernetes/images/tool-images.ts';
import { Registry } from '../../../../src/builder/registry/registry.ts';
import { tool } from '../../support/build-request.ts';
import { failsWith } from '../../support/with-builder.ts';

const sha = (text: string) => `sha256:${createHash('sha256').update(text).digest('hex')}`;
const config = JSON.stringify({ config: { Labels: {} } });
const manifest = JSON.stringify({ config: { digest: sha(config), size: config.length }, layers: [] });

/** The images of tools in a fake registry, which begins to listen. */
async function imagesIn(server: Server): Promise<ToolImages> {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return new ToolImages({
    registry: host,
    isHarbor: false,
    open: () => new Registry({ host, isPlainHttp: true, credentials: async () => null }),
    maxBytes: 1024 ** 2,
    mostProcesses: 20,
    log: pino({ level: 'silent' }),
  });
}

test('an image without processes cannot be an artifact, and the error says that nothing in the repository says how to start the tool', async () => {
  await using server = createServer((request, response) => {
    response.end(request.url?.includes('/blobs/') ? config : manifest);
  });
  const images = await imagesIn(server);
  const source = { template: { settings: {}, command: null }, components: [], formation: {} };
  const made = { id: 'b1', digest: sha(manifest), source, warn: () => {} };
  await assert.rejects(
    images.artifactOf(tool('wikibot'), made, AbortSignal.timeout(20_000)),
    failsWith('NO_PROCESS', /says how to start this tool/),
  );
  server.closeAllConnections();
});

test('if two builds made the same image, removing one build deletes the image unless the other build is kept, whatever tags the image still has', async () => {
  const deleted: string[] = [];
  const builds = new Set(['b1', 'b2', 'v1', 'latest']);
  await using server = createServer((request, response) => {
    const { method, url = '' } = request;
    if (method === 'DELETE') {
      deleted.push(url);
      return void response.writeHead(202).end();
    }
    if (url.includes('/tags/list')) return void response.end(JSON.stringify({ tags: [...builds] }));
    response.setHeader('Docker-Content-Digest', sha(manifest));
    response.end(method === 'HEAD' ? '' : manifest);
  });
  const images = await imagesIn(server);
  const { signal } = new AbortController();
  const kept = new Set(['b2']);
  const isKept = (build: string) => kept.has(build);
  await images.remove(tool('wikibot'), 'b1', isKept, signal);
  assert.deepEqual(deleted, []);
  kept.delete('b2');
  await images.remove(tool('wikibot'), 'b2', isKept, signal);
  assert.equal(deleted.length, 1);
  server.closeAllConnections();
});
