import assert from 'node:assert/strict';
import { test } from 'node:test';
import { credentialOf, DeployTokens, tokenId } from '../../src/auth/deploy-tokens.ts';
import { Desk } from '../support/cli-services.ts';
import { otherTool, wikibot } from '../support/store-records.ts';

const day = 24 * 3600_000;
const wanted = { tool: wikibot, name: 'ci', scope: 'deploy', by: 'alice', lifeMs: day } as const;

/** Makes deploy tokens in a real store. A test moves the time by `clock.now`. */
function bench() {
  const desk = new Desk();
  const clock = { now: Date.UTC(2026, 0, 1) };
  return { desk, clock, tokens: new DeployTokens(desk.store, () => clock.now) };
}

test('the secret of a deploy token identifies the token until the token expires', () => {
  const { desk, clock, tokens } = bench();
  using _ = desk;
  const { token, secret } = tokens.create(wanted);
  assert.match(secret, /^tfp_[a-z0-9]{10}_[A-Za-z0-9_-]{32}$/);
  assert.equal(tokenId(secret), token.id);
  const login = tokens.identify(secret);
  assert.deepEqual(login, { kind: 'token', token });
  clock.now += day;
  assert.equal(tokens.identify(secret).kind, 'expired');
});

test('the secret of a deploy token is not stored', () => {
  const { desk, tokens } = bench();
  using _ = desk;
  const { token, secret } = tokens.create(wanted);
  const kept = desk.store.token(token.id);
  assert.equal(kept?.hash.length, 32);
  assert.doesNotMatch(JSON.stringify(kept), new RegExp(secret.slice(-32)));
});

test('the last use of a deploy token is recorded, at most once a minute', () => {
  const { desk, clock, tokens } = bench();
  using _ = desk;
  const { secret } = tokens.create(wanted);
  const lastUse = () => tokens.list(wikibot)[0]?.lastUsedAt;
  assert.equal(lastUse(), null);
  tokens.identify(secret);
  const first = clock.now;
  clock.now += 59_000;
  tokens.identify(secret);
  assert.equal(lastUse(), first);
  clock.now += 1000;
  tokens.identify(secret);
  assert.equal(lastUse(), clock.now);
});

test('a deploy token’s secret with a wrong letter, with another token’s id, or in another form identifies nobody', () => {
  const { desk, tokens } = bench();
  using _ = desk;
  const { secret } = tokens.create(wanted);
  const other = tokens.create(wanted);
  const swapped = `tfp_${other.token.id}_${secret.slice(15)}`;
  const flipped = `${secret.slice(0, -1)}${secret.endsWith('A') ? 'B' : 'A'}`;
  for (const text of ['', 'tfp_', swapped, flipped, `${secret} `, secret.toUpperCase(), 'x'.repeat(1000)]) {
    assert.deepEqual(tokens.identify(text), { kind: 'unknown' }, text);
  }
});

test('a revoked deploy token gives no access, and one tool cannot revoke another tool’s token', () => {
  const { desk, tokens } = bench();
  using _ = desk;
  const { token, secret } = tokens.create(wanted);
  assert.equal(tokens.revoke(otherTool, token.id), false);
  assert.equal(tokens.identify(secret).kind, 'token');
  assert.equal(tokens.revoke(wikibot, token.id), true);
  assert.equal(tokens.revoke(wikibot, token.id), false);
  assert.deepEqual(tokens.identify(secret), { kind: 'unknown' });
  assert.deepEqual(tokens.list(wikibot), []);
});

test('threat 8: a login with a deploy token is valid until the token is revoked or expires; a login with a key or password does not end this way', () => {
  const { desk, clock, tokens } = bench();
  using _ = desk;
  const [one, two] = [tokens.create(wanted).token, tokens.create(wanted).token];
  assert.ok(tokens.holds(credentialOf(one)));
  assert.ok(tokens.revoke(wikibot, one.id));
  assert.ok(!tokens.holds(credentialOf(one)));
  assert.ok(tokens.holds(credentialOf(two)));
  clock.now += day;
  assert.ok(!tokens.holds(credentialOf(two)));
  for (const credential of ['password', 'ssh ED25519 SHA256:x', 'local']) assert.ok(tokens.holds(credential));
});
