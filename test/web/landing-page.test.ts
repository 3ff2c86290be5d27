import assert from 'node:assert/strict';
import { test } from 'node:test';
import { landingHtml, landingText } from '../../src/web/landing-page.ts';
import { openDoor } from '../support/http/http-door.ts';

const facts = {
  addresses: { ssh: 'ssh://push.example.org:2222', http: 'https://push.example.org' },
  deployBranch: 'main',
};

test('browsers get the landing page as HTML and other clients as text, with the same addresses', async (context) => {
  const door = await openDoor(context);
  const page = await fetch(door.url, { headers: { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' } });
  assert.match(page.headers.get('content-type') ?? '', /^text\/html/);
  const text = await fetch(door.url);
  assert.match(text.headers.get('content-type') ?? '', /^text\/plain/);
  for (const body of [await page.text(), await text.text()]) {
    assert.match(body, /git remote add toolforge ssh:\/\/USER@push\.example\.org:2222\/TOOL\.git/);
    assert.match(body, /git remote add toolforge https:\/\/USER@push\.example\.org\/TOOL\.git/);
    assert.match(body, /git push toolforge main/);
  }
});

test('threat 94: the headers of the landing page forbid scripts and frames, and its style sheet is served as CSS', async (context) => {
  const door = await openDoor(context);
  const page = await fetch(door.url, { headers: { accept: 'text/html' } });
  const policy = page.headers.get('content-security-policy') ?? '';
  assert.match(policy, /default-src 'none'/);
  assert.match(policy, /frame-ancestors 'none'/);
  assert.doesNotMatch(policy, /unsafe|script-src|\*/);
  assert.equal(page.headers.get('x-frame-options'), 'DENY');
  assert.equal(page.headers.get('referrer-policy'), 'no-referrer');
  const html = await page.text();
  assert.doesNotMatch(html, /<script|<style| style=| on\w+=/i);
  const sheet = await fetch(`${door.url}/-/style.css`);
  assert.equal(sheet.status, 200);
  assert.match(sheet.headers.get('content-type') ?? '', /^text\/css/);
});

test('threat 92: the name of the deploy branch is escaped on the landing page', () => {
  const html = landingHtml({ ...facts, deployBranch: `<img src=x onerror='a("&")'>` });
  assert.doesNotMatch(html, /<img/);
  assert.match(html, /&lt;img src=x onerror=&#39;a\(&quot;&amp;&quot;\)&#39;&gt;/);
});

test('a client that sends the ETag of the landing page gets 304, and a HEAD request gets the length of the page', async (context) => {
  const door = await openDoor(context);
  const first = await fetch(door.url);
  const etag = first.headers.get('etag') ?? '';
  const second = await fetch(door.url, { headers: { 'if-none-match': etag } });
  assert.equal(second.status, 304);
  const head = await fetch(door.url, { method: 'HEAD' });
  assert.equal(head.headers.get('content-length'), String(Buffer.byteLength(landingText(facts))));
});
