import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { servedElsewhere } from '../../src/run/error-pages.ts';

for (const { content, address, says } of [
  {
    content: 'where the tool answers',
    address: 'https://wikibot.toolforge.org/',
    says: /answers at https:\/\/wikibot\.toolforge\.org\//,
  },
  { content: 'that the tool has no address', address: null, says: /no web address/ },
]) {
  test(`a web request for a tool that another server runs gets the status 421 and a page that says ${content}`, async () => {
    const server = createServer((_request, response) => servedElsewhere(address, response));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    try {
      const response = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
      assert.equal(response.status, 421);
      assert.match(await response.text(), says);
    } finally {
      server.close();
    }
  });
}
