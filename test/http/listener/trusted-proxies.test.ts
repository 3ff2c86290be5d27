import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import { TrustedProxies } from '../../../src/http/listener/trusted-proxies.ts';
import { basic, openDoor } from '../../support/http/http-door.ts';
import { until } from '../../support/server.ts';

const silent = pino({ level: 'silent' });
const failure = (code: string) => Object.assign(new Error(code), { code });

/** Makes trusted proxies with an address and a host name. `lookUp` looks the name up, and gets `answer`. */
function aName() {
  const proxies = new TrustedProxies(['192.0.2.7', 'ingress-pods.kube-system.svc']);
  const lookUp = async (answer: readonly string[] | Error) => {
    const looking = new AbortController();
    await proxies.watch(looking.signal, silent, async (name) => {
      assert.equal(name, 'ingress-pods.kube-system.svc');
      looking.abort();
      if (answer instanceof Error) throw answer;
      return answer;
    });
  };
  return { proxies, lookUp };
}

test('a host name in trusted_proxies stands for the present addresses of this host', async () => {
  const { proxies, lookUp } = aName();
  assert.ok(proxies.check('192.0.2.7'));
  assert.ok(!proxies.check('10.42.0.7'));
  await lookUp(['10.42.0.7', 'fd00::7']);
  assert.ok(proxies.check('10.42.0.7'));
  assert.ok(proxies.check('fd00::7'));
  await lookUp(['10.42.0.9']);
  assert.ok(proxies.check('10.42.0.9'));
  assert.ok(!proxies.check('10.42.0.7'), 'an old address is still trusted');
  assert.ok(proxies.check('192.0.2.7'));
});

test('in trusted_proxies, a name without addresses is not trusted; if a lookup fails, the last addresses stay', async () => {
  const { proxies, lookUp } = aName();
  await lookUp(['10.42.0.7']);
  await lookUp(failure('EAI_AGAIN'));
  assert.ok(proxies.check('10.42.0.7'));
  await lookUp(failure('ENOTFOUND'));
  assert.ok(!proxies.check('10.42.0.7'));
});

test('the HTTP server trusts a proxy that trusted_proxies names by host name', async (context) => {
  const { url, log } = await openDoor(context, { config: { trusted_proxies: ['localhost'] } });
  await until(
    async () => log.some((line) => line.includes('addresses of a trusted proxy')),
    'the name is looked up',
  );
  const headers = {
    Authorization: basic(),
    'X-Forwarded-Proto': 'https',
    'X-Forwarded-For': '203.0.113.5',
  };
  const answer = await fetch(`${url}/-/command`, { method: 'POST', headers, body: 'ps' });
  assert.equal(answer.status, 200);
  await answer.text();
  await until(
    async () => log.some((line) => line.includes('"address":"203.0.113.5"')),
    'the request is logged',
  );
});
