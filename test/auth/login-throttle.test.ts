import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LoginThrottle } from '../../src/auth/login-throttle.ts';

const NAT = '198.51.100.7';

function throttleAt(): {
  throttle: LoginThrottle;
  pass: (ms: number) => void;
  fail: (times: number, login: string, address?: string) => void;
} {
  let now = 1000;
  const throttle = new LoginThrottle(() => now);
  return {
    throttle,
    pass: (ms) => {
      now += ms;
    },
    fail: (times, login, address = NAT) => {
      for (let index = 0; index < times; index += 1) throttle.failed(login, address);
    },
  };
}

test('threat 9: five failed logins of a name cause no wait; the sixth causes a wait of 1 s, and each further one doubles the wait, up to five minutes', () => {
  const { throttle, fail } = throttleAt();
  fail(5, 'alice');
  assert.equal(throttle.check('alice', NAT), 0);
  fail(1, 'alice');
  assert.equal(throttle.check('alice', NAT), 1000);
  fail(1, ' ALICE');
  assert.equal(throttle.check('alice', NAT), 2000);
  fail(40, 'alice');
  assert.equal(throttle.check('alice', NAT), 300_000);
});

test('threat 9: failed logins as tools.hello and as tool.hello count together', () => {
  const { throttle, fail } = throttleAt();
  fail(20, 'tools.hello');
  assert.ok(throttle.check('Tool.hello', NAT) > 1000);
});

test('threat 9: the wait after failed logins ends, and the failures are forgotten within 16 minutes', () => {
  const { throttle, pass, fail } = throttleAt();
  fail(8, 'alice');
  pass(4000);
  assert.equal(throttle.check('alice', NAT), 0);
  pass(16 * 60_000);
  fail(5, 'alice');
  assert.equal(throttle.check('alice', NAT), 0);
});

test('threat 9: after 1,000 failed logins of one name, other people at the same address can log in after at most 30 s', () => {
  const { throttle, fail } = throttleAt();
  throttle.succeeded('bob', NAT, 'right');
  fail(1000, 'alice');
  assert.equal(throttle.check('bob', NAT), 0, 'bob, who logged in here before, must wait');
  assert.ok(throttle.check('carol', NAT) <= 30_000, 'carol, who is new, must wait longer than 30 s');
  assert.equal(throttle.check('alice', '203.0.113.1'), 0, 'alice must wait at another address, too');
});

test('threat 9: after 200 failed logins with different names from one address, a login with one more name from this address must wait 30 s', () => {
  const { throttle, fail } = throttleAt();
  for (let index = 0; index < 200; index += 1) fail(1, `guess${index}`);
  assert.equal(throttle.check('guess1000', NAT), 30_000);
});

test('threat 9: a successful login clears the failed logins with the same name from the same address', () => {
  const { throttle, fail } = throttleAt();
  fail(20, 'alice');
  throttle.succeeded('alice', NAT, 'right');
  assert.equal(throttle.check('alice', NAT), 0);
});

test('threat 9: all addresses of an IPv6 /64 count as one address, and so do an IPv4 address and its ::ffff: form', () => {
  const { throttle, fail } = throttleAt();
  fail(10, 'alice', '2001:db8:1:2::1');
  assert.ok(throttle.check('alice', '2001:db8:1:2:ffff::9') > 0);
  assert.equal(throttle.check('alice', '2001:db8:1:3::1'), 0);
  fail(10, 'bob', '::ffff:192.0.2.1');
  assert.ok(throttle.check('bob', '192.0.2.1') > 0);
});

test('threat 9: after 30,000 failed logins, each with a new name from a new address, earlier failed logins are forgotten', () => {
  const { throttle, fail } = throttleAt();
  fail(10, 'alice');
  for (let index = 0; index < 30_000; index += 1)
    fail(1, `x${index}`, `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`);
  assert.equal(throttle.check('alice', NAT), 0, 'the oldest failures were not forgotten');
});

test('threat 202: a login counts as known for a week, only with the password or key that logged in, and only from the same address', () => {
  const { throttle, pass } = throttleAt();
  throttle.succeeded('alice', NAT, 'SHA256:one');
  throttle.succeeded('alice', NAT, 'SHA256:two');
  assert.ok(throttle.isKnown(' ALICE', NAT, 'SHA256:one'));
  assert.ok(throttle.isKnown('alice', NAT, 'SHA256:two'));
  // The throttle stores short digests, so a wrong credential may count as known, but only one in millions.
  const wrong = Array.from({ length: 20 }, (_, index) => throttle.isKnown('alice', NAT, `guess${index}`));
  assert.ok(!wrong.includes(true));
  assert.ok(!throttle.isKnown('alice', '203.0.113.1', 'SHA256:one'));
  assert.ok(!throttle.isKnown('bob', NAT, 'SHA256:one'));
  pass(8 * 24 * 3600_000);
  assert.ok(!throttle.isKnown('alice', NAT, 'SHA256:one'));
});
