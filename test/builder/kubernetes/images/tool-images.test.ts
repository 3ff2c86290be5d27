import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
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

for (const { name, status } of [
  { name: 'refuses to delete the image', status: 403 },
  { name: 'cannot delete the image at the moment', status: 503 },
]) {
  test(`the reason why an image cannot be an artifact is reported even if the registry ${name}`, async () => {
    await using server = createServer((request, response) => {
      if (request.method === 'DELETE') return void response.writeHead(status).end();
      response.end(request.url?.includes('/blobs/') ? config : manifest);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const images = new ToolImages({
      registry: host,
      open: () => new Registry({ host, isPlainHttp: true, credentials: async () => null }),
      maxBytes: 1024 ** 2,
      mostProcesses: 20,
      log: pino({ level: 'silent' }),
    });
    const source = { template: { settings: {}, command: null }, components: [], formation: {} };
    const made = { id: 'b1', digest: sha(manifest), source, warn: () => {} };
    await assert.rejects(
      images.artifactOf(tool('wikibot'), made, AbortSignal.timeout(20_000)),
      failsWith('NO_PROCESS', /says how to start this tool/),
    );
    server.closeAllConnections();
  });
}
