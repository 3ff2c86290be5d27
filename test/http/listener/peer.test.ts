import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { test } from 'node:test';
import { DeployError } from '../../../src/core/errors.ts';
import { isLoopback } from '../../../src/core/network/loopback.ts';
import { assertSameSite } from '../../../src/http/basic-auth.ts';
import { createPeerReader } from '../../../src/http/listener/peer.ts';
import { assertSafeListener } from '../../../src/http/listener/safe-listener.ts';
import { TrustedProxies } from '../../../src/http/listener/trusted-proxies.ts';

function requestFrom(
  remoteAddress: string,
  headers: Record<string, string>,
  encrypted = false,
): IncomingMessage {
  return {
    socket: { remoteAddress, ...(encrypted ? { encrypted } : {}) },
    headers,
  } as unknown as IncomingMessage;
}

const PROXIES = ['10.0.0.0/8', '192.0.2.7', '2001:db8::/32'];

for (const { name, from, headers, encrypted, address, isConfidential } of [
  { name: 'this machine', from: '127.0.0.1', headers: {}, address: '127.0.0.1', isConfidential: true },
  {
    name: 'this machine, with its IPv4 address in IPv6 form',
    from: '::ffff:127.0.0.1',
    headers: {},
    address: '127.0.0.1',
    isConfidential: true,
  },
  { name: 'a stranger', from: '203.0.113.9', headers: {}, address: '203.0.113.9', isConfidential: false },
  {
    name: 'a stranger over TLS',
    from: '203.0.113.9',
    headers: {},
    encrypted: true,
    address: '203.0.113.9',
    isConfidential: true,
  },
  {
    name: 'a stranger that claims to be a proxy',
    from: '203.0.113.9',
    headers: { 'x-forwarded-proto': 'https', 'x-forwarded-for': '127.0.0.1' },
    address: '203.0.113.9',
    isConfidential: false,
  },
  {
    name: 'a client behind a proxy',
    from: '::ffff:10.1.2.3',
    headers: { 'x-forwarded-proto': 'https', 'x-forwarded-for': '203.0.113.9' },
    address: '203.0.113.9',
    isConfidential: true,
  },
  {
    name: 'a client that invents an address before its own',
    from: '10.1.2.3',
    headers: { 'x-forwarded-proto': 'https', 'x-forwarded-for': '127.0.0.1, 203.0.113.9, 192.0.2.7' },
    address: '203.0.113.9',
    isConfidential: true,
  },
  {
    name: 'an invalid address behind a proxy',
    from: '2001:db8::1',
    headers: { 'x-forwarded-proto': 'https', 'x-forwarded-for': 'rubbish' },
    address: '2001:db8::1',
    isConfidential: true,
  },
  {
    name: 'an address with a port behind a proxy',
    from: '10.0.0.1',
    headers: { 'x-forwarded-proto': 'HTTPS', 'x-forwarded-for': '[2001:67c::5]:4711' },
    address: '2001:67c::5',
    isConfidential: true,
  },
  {
    name: 'plain HTTP to a proxy',
    from: '10.0.0.1',
    headers: { 'x-forwarded-proto': 'http' },
    address: '10.0.0.1',
    isConfidential: false,
  },
  {
    name: 'a proxy without forwarding headers',
    from: '10.0.0.1',
    headers: {},
    address: '10.0.0.1',
    isConfidential: false,
  },
  {
    name: 'a client that says https before its proxy says http',
    from: '10.0.0.1',
    headers: { 'x-forwarded-proto': 'https, http' },
    address: '10.0.0.1',
    isConfidential: false,
  },
]) {
  test(`threat 31: for an HTTP request (${name}), the client’s address is ${address}, and a password counts as ${isConfidential ? 'safe' : 'not safe'}`, () => {
    const read = createPeerReader(new TrustedProxies(PROXIES));
    assert.deepEqual(read(requestFrom(from, headers, encrypted)), { address, isConfidential });
  });
}

test('forwarding headers are removed from requests that do not come from a trusted proxy', () => {
  const headers = {
    'x-forwarded-for': '1.2.3.4',
    'x-forwarded-host': 'evil',
    forwarded: 'for=1.2.3.4',
    accept: '*',
  };
  createPeerReader(new TrustedProxies(PROXIES))(requestFrom('203.0.113.9', headers));
  assert.deepEqual(headers as object, { accept: '*' });
});

for (const entry of [
  'proxy_example.org',
  '192.0.2.300',
  'proxy.example.org/24',
  '10.0.0.0/33',
  '10.0.0.0/',
  '::1/129',
  '10.0.0.0/8/8',
  '10.0.0.0/a',
]) {
  test(`the setting trusted_proxies refuses ${entry}`, () => {
    assert.throws(() => new TrustedProxies([entry]), { code: 'BAD_SETTING' });
  });
}

test('loopback addresses are 127/8, ::1 and localhost', () => {
  for (const host of ['127.0.0.1', '127.9.9.9', '::1', 'localhost']) assert.ok(isLoopback(host), host);
  for (const host of ['0.0.0.0', '::', '128.0.0.1', 'push.example.org', 'localhost.example.org', '']) {
    assert.ok(!isLoopback(host), host);
  }
});

const plain = {
  http: { host: '0.0.0.0', port: 8080 },
  tls_certificate: null,
  tls_key: null,
  trusted_proxies: [],
};

for (const { place, config, result } of [
  { place: 'on a public address without TLS', config: plain, result: 'PLAIN_HTTP' },
  {
    place: 'on all IPv6 addresses without TLS',
    config: { ...plain, http: { host: '::', port: 1 } },
    result: 'PLAIN_HTTP',
  },
  {
    place: 'on a host name without TLS',
    config: { ...plain, http: { host: 'push', port: 1 } },
    result: 'PLAIN_HTTP',
  },
  { place: 'on loopback', config: { ...plain, http: { host: '127.0.0.1', port: 1 } }, result: null },
  { place: 'behind a proxy', config: { ...plain, trusted_proxies: ['10.0.0.1'] }, result: null },
  {
    place: 'behind an invalid proxy',
    config: { ...plain, trusted_proxies: ['x/8'] },
    result: 'BAD_SETTING',
  },
  { place: 'with only a TLS key', config: { ...plain, tls_key: '/k' }, result: 'BAD_SETTING' },
  {
    place: 'with only a TLS certificate',
    config: { ...plain, tls_certificate: '/c' },
    result: 'BAD_SETTING',
  },
  {
    place: 'with TLS',
    config: { ...plain, tls_key: '/k', tls_certificate: '/c' },
    result: { certificate: '/c', key: '/k' },
  },
]) {
  test(`threat 31: an HTTP server ${place} ${typeof result === 'string' ? 'refuses to start' : 'starts'}`, () => {
    if (typeof result === 'string') assert.throws(() => assertSafeListener(config), { code: result });
    else assert.deepEqual(assertSafeListener(config), result);
  });
}

for (const { headers, isRefused } of [
  { headers: {}, isRefused: false },
  { headers: { origin: 'https://push.example.org' }, isRefused: false },
  { headers: { origin: 'https://evil.example' }, isRefused: true },
  { headers: { origin: 'http://push.example.org' }, isRefused: true },
  { headers: { origin: 'null' }, isRefused: true },
  { headers: { 'sec-fetch-site': 'same-origin', origin: 'https://push.example.org' }, isRefused: false },
  { headers: { 'sec-fetch-site': 'same-origin', origin: 'http://evil.example:8080' }, isRefused: true },
  { headers: { 'sec-fetch-site': 'none' }, isRefused: false },
  { headers: { 'sec-fetch-site': 'same-site' }, isRefused: true },
  { headers: { 'sec-fetch-site': 'cross-site' }, isRefused: true },
]) {
  test(`threat 30: an HTTP request with the headers ${JSON.stringify(headers)} is ${isRefused ? 'refused' : 'accepted'}`, () => {
    const check = () => assertSameSite(headers, 'https://push.example.org/');
    if (isRefused)
      assert.throws(check, (error) => error instanceof DeployError && error.code === 'CROSS_SITE');
    else check();
  });
}
