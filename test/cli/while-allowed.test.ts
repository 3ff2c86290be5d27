import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { credentialOf } from '../../src/auth/deploy-tokens.ts';
import { tooManyLogins, unavailable } from '../../src/auth/directory-timeout.ts';
import { CachedDirectory } from '../../src/auth/ldap/directory-cache.ts';
import { assertMay } from '../../src/cli/assert-may.ts';
import { runCommand } from '../../src/cli/run-command.ts';
import { whileAllowed } from '../../src/cli/while-allowed.ts';
import type { Principal } from '../../src/core/types.ts';
import { Desk } from '../support/cli-services.ts';
import { wikibot } from '../support/store-records.ts';

const may = { tool: wikibot, action: 'deploy', againMs: 10 } as const;

/** Work that ends when `signal` fires (and returns `ended`) or after 2 s (and returns `went on`). */
async function endless(signal: AbortSignal): Promise<string> {
  await Promise.race([once(signal, 'abort'), wait(2000, null, { ref: false })]);
  return signal.aborted ? 'ended' : 'went on';
}

function start(desk: Desk, principal: Principal = desk.alice, limitMs = 2000): Promise<string> {
  const signal = AbortSignal.timeout(limitMs);
  return whileAllowed({ services: desk.services, principal, signal }, may, endless);
}

test('threat 8: a running command ends when the person who runs it no longer maintains the tool', async () => {
  using desk = new Desk();
  desk.maintain(wikibot, 'alice');
  const running = start(desk);
  await wait(50);
  desk.maintain(wikibot, 'bob');
  await assert.rejects(running, { code: 'NO_ACCESS' });
});

test('threat 8: a running command of a former maintainer ends even if the cache of the user directory still lists the maintainer', async () => {
  using desk = new Desk();
  desk.maintain(wikibot, 'alice');
  const directory = new CachedDirectory(desk.directory, { cacheMs: 60_000, limitMs: 5000 });
  const services = { ...desk.services, directory };
  const signal = AbortSignal.timeout(2000);
  await assertMay({ services, principal: desk.alice, signal }, wikibot, 'deploy');
  const running = whileAllowed({ services, principal: desk.alice, signal }, may, endless);
  desk.maintain(wikibot, 'bob');
  await assert.rejects(running, { code: 'NO_ACCESS' });
});

test('a running command of a deploy token ends when the token is revoked', async () => {
  using desk = new Desk();
  desk.maintain(wikibot, 'alice');
  const { tokens } = desk.services;
  const wanted = { tool: wikibot, name: 'ci', scope: 'deploy', by: 'alice', lifeMs: 60_000 } as const;
  const { token } = tokens.create(wanted);
  const running = start(desk, { ...desk.alice, scope: 'deploy', credential: credentialOf(token) });
  await wait(50);
  tokens.revoke(wikibot, token.id);
  await assert.rejects(running, { code: 'TOKEN_OVER' });
});

test('threat 8: a running command over SSH ends when the key of the person who runs it is removed', async () => {
  using desk = new Desk();
  desk.maintain(wikibot, 'alice');
  let owner: { uid: string; onlyTool: null } | null = { uid: 'alice', onlyTool: null };
  desk.directory.identifyByKey = async () => owner;
  const key = { login: 'alice', algorithm: 'ssh-ed25519', blob: Buffer.alloc(51) };
  const running = start(desk, { ...desk.alice, key });
  await wait(50);
  owner = null;
  await assert.rejects(running, { code: 'KEY_GONE' });
});

for (const { name, error } of [
  { name: 'does not answer', error: unavailable('the user directory is away', null) },
  { name: 'is overloaded', error: tooManyLogins() },
]) {
  test(`a running command continues while the user directory ${name}`, async () => {
    using desk = new Desk();
    desk.maintain(wikibot, 'alice');
    let asked = 0;
    desk.directory.findTool = async () => {
      asked += 1;
      throw error;
    };
    assert.equal(await start(desk, desk.alice, 1500), 'ended');
    assert.ok(asked > 2);
  });
}

test('if a running command fails by itself, its caller gets the error unchanged', async () => {
  using desk = new Desk();
  desk.maintain(wikibot, 'alice');
  const context = { services: desk.services, principal: desk.alice, signal: new AbortController().signal };
  await assert.rejects(
    whileAllowed(context, may, () => Promise.reject(new Error('its own'))),
    /its own/,
  );
});

test('threat 8: a command that waits for its input changes nothing after the person who runs it has lost the right', async (context) => {
  using desk = new Desk();
  desk.maintain(wikibot, 'alice');
  context.mock.timers.enable({ apis: ['setInterval'] });
  const stays = Promise.withResolvers<never>();
  async function* input(): AsyncGenerator<Uint8Array> {
    yield Buffer.from('postgres://evil.example');
    await stays.promise;
  }
  const said: string[] = [];
  const running = runCommand({
    ...{ argv: ['config', 'set', wikibot, 'DATABASE_URL', '-', '--no-restart'], input: input() },
    ...{ services: desk.services, principal: desk.alice, signal: AbortSignal.timeout(10_000) },
    out: async (line) => void said.push(String(line)),
    err: async (line) => void said.push(String(line)),
  });
  await wait(50);
  desk.maintain(wikibot, 'bob');
  context.mock.timers.tick(20_000);
  assert.equal(await running, 1);
  assert.match(said.join(''), /There is no tool wikibot that alice maintains/);
  assert.deepEqual(desk.store.configVars(wikibot), {});
});
