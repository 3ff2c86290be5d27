import assert from 'node:assert/strict';
import { test } from 'node:test';
import { authorize } from '../../../src/auth/authorize.ts';
import type { Directory, DirectoryTool, Identity } from '../../../src/auth/directory.ts';
import { unavailable } from '../../../src/auth/directory-timeout.ts';
import { CachedDirectory } from '../../../src/auth/ldap/directory-cache.ts';
import { valuesRead } from '../../../src/auth/ldap/values-read.ts';
import { type ToolName, toolName } from '../../../src/core/names.ts';
import { alice as principal } from '../../support/alice.ts';

const signal = AbortSignal.timeout(60_000);
const hello = toolName('hello') ?? assert.fail();
const key = { algorithm: 'ssh-ed25519', blob: Buffer.from('a key') };
const alice: Identity = { uid: 'alice', onlyTool: null };

/**
 * A fake user directory. It counts the questions. When `gate` resolves, it answers with its fields, or throws if
 * `isDown` is true.
 */
class SlowDirectory implements Directory {
  asked = 0;
  identity: Identity | null = alice;
  tool: DirectoryTool | null = { name: hello, maintainers: new Set(['alice']), isDisabled: false };
  tools: ToolName[] = [hello];
  isDown = false;
  isClosed = false;
  /** If null, each question is answered at once. */
  gate: Promise<void> | null = null;

  async #answer<T>(value: T): Promise<T> {
    this.asked += 1;
    await this.gate;
    if (this.isDown) throw unavailable('down', null);
    return value;
  }

  identifyByKey = () => this.#answer(this.identity);
  identifyByPassword = () => this.#answer(this.identity);
  findTool = () => this.#answer(this.tool);
  toolsOf = () => this.#answer(this.tools);
  close = async () => {
    this.isClosed = true;
  };
}

function cached(cacheMs = 60_000, limitMs = 5000) {
  const slow = new SlowDirectory();
  const clock = { now: 0 };
  const directory = new CachedDirectory(slow, { cacheMs, limitMs }, () => clock.now);
  return { slow, clock, directory };
}

const questions: readonly [string, (directory: Directory) => Promise<unknown>][] = [
  ['a key', (directory) => directory.identifyByKey('alice', key, signal)],
  ['a password', (directory) => directory.identifyByPassword('alice', 'correct horse', signal)],
  ['a tool', (directory) => directory.findTool(hello, signal)],
  ['somebody’s tools', (directory) => directory.toolsOf('alice', signal)],
];

for (const [name, ask] of questions) {
  test(`threat 8: a positive LDAP answer about ${name} is cached for ldap_cache_time and no longer`, async () => {
    const { slow, clock, directory } = cached();
    const first = await ask(directory);
    clock.now = 59_999;
    slow.isDown = true;
    assert.deepEqual(await ask(directory), first);
    assert.equal(slow.asked, 1);
    clock.now = 60_000;
    await assert.rejects(ask(directory), { code: 'DIRECTORY_UNAVAILABLE' });
  });

  test(`an LDAP refusal about ${name} is not cached`, async () => {
    const { slow, directory } = cached();
    Object.assign(slow, { identity: null, tool: null, tools: [] });
    await ask(directory);
    Object.assign(slow, { identity: alice, tools: [hello] });
    await ask(directory);
    assert.equal(slow.asked, 2);
    await ask(directory);
    assert.ok(slow.asked <= 3);
  });

  test(`threat 6: an LDAP failure about ${name} is not cached`, async () => {
    const { slow, directory } = cached();
    slow.isDown = true;
    await assert.rejects(ask(directory), { code: 'DIRECTORY_UNAVAILABLE' });
    slow.isDown = false;
    assert.ok(await ask(directory));
  });

  test(`threat 6: a hundred callers that ask about ${name} at the same time cause one question to LDAP`, async () => {
    const { slow, directory } = cached(0);
    const { promise, resolve } = Promise.withResolvers<void>();
    slow.gate = promise;
    const answers = Array.from({ length: 100 }, () => ask(directory));
    resolve();
    assert.equal(new Set(await Promise.all(answers)).size, name === 'somebody’s tools' ? 100 : 1);
    assert.equal(slow.asked, 1);
    slow.gate = null;
    await ask(directory);
    assert.equal(slow.asked, 2);
  });
}

test('if a lookup of a tool may not use the LDAP cache, LDAP is asked, and the new answer replaces the cached answer', async () => {
  const { slow, directory } = cached();
  await directory.findTool(hello, signal);
  slow.tool = { name: hello, maintainers: new Set(['alice', 'bob']), isDisabled: false };
  assert.equal((await directory.findTool(hello, signal))?.maintainers.size, 1);
  assert.equal((await directory.findTool(hello, signal, { isFresh: true }))?.maintainers.size, 2);
  assert.equal((await directory.findTool(hello, signal))?.maintainers.size, 2);
  assert.equal(slow.asked, 2);
});

test('a refusal never comes from the LDAP cache, so a new maintainer has access immediately', async () => {
  const { slow, directory } = cached();
  const who = {
    door: 'ssh',
    credential: 'x',
    address: '',
    onlyTool: null,
    scope: 'manage',
    isOperator: false,
  } as const;
  const deploy = (uid: string) => authorize(directory, { ...who, uid }, hello, 'deploy', signal);
  await deploy('alice');
  await assert.rejects(deploy('bob'), { code: 'NO_ACCESS' });
  slow.tool = { name: hello, maintainers: new Set(['bob']), isDisabled: false };
  await deploy('bob');
  slow.tool = { name: hello, maintainers: new Set(['bob']), isDisabled: true };
  await deploy('bob');
  await assert.rejects(deploy('alice'), { code: 'NO_ACCESS' });
  await assert.rejects(deploy('bob'), { code: 'TOOL_DISABLED' });
  slow.tool = { name: hello, maintainers: new Set(['bob']), isDisabled: false };
  await deploy('bob');
});

test('the age of a cached LDAP answer counts from the moment of the question to LDAP, not from the moment of the answer', async () => {
  const { slow, clock, directory } = cached();
  const { promise, resolve } = Promise.withResolvers<void>();
  slow.gate = promise;
  const first = directory.findTool(hello, signal);
  clock.now = 4000;
  resolve();
  await first;
  clock.now = 60_000;
  await directory.findTool(hello, signal);
  assert.equal(slow.asked, 2);
});

test('if one of several callers that wait for the same LDAP answer gives up, the others still get the answer', async () => {
  const { slow, directory } = cached();
  const { promise, resolve } = Promise.withResolvers<void>();
  slow.gate = promise;
  const leaving = new AbortController();
  const left = directory.findTool(hello, leaving.signal);
  const stays = directory.findTool(hello, signal);
  leaving.abort();
  await assert.rejects(left, { code: 'DIRECTORY_UNAVAILABLE' });
  resolve();
  assert.equal((await stays)?.name, hello);
});

test('threat 6: if an LDAP server never answers, a lookup of a tool fails after ldap_time', async () => {
  const { slow, directory } = cached(60_000, 50);
  slow.gate = new Promise(() => undefined);
  await assert.rejects(directory.findTool(hello, signal), { code: 'DIRECTORY_UNAVAILABLE' });
});

test('a cached LDAP answer for one user name with a password or key is not used for another name, password or key', async () => {
  const { slow, directory } = cached();
  await directory.identifyByPassword('alice', 'one', signal);
  await directory.identifyByPassword('alice', 'two', signal);
  await directory.identifyByPassword('alic', 'eone', signal);
  await directory.identifyByPassword(' ALICE', 'one', signal);
  assert.equal(slow.asked, 3);
  await directory.identifyByKey('alice', { ...key, blob: Buffer.from('another') }, signal);
  await directory.identifyByKey('alice', key, signal);
  await directory.identifyByKey('bob', key, signal);
  assert.equal(slow.asked, 6);
});

test('threat 1: an empty password is refused without asking LDAP', async () => {
  const { slow, directory } = cached();
  assert.equal(await directory.identifyByPassword('alice', '', signal), null);
  assert.equal(slow.asked, 0);
});

test('a caller that changes the list of tools that it got from the LDAP cache does not change the cached list', async () => {
  const { directory } = cached();
  (await directory.toolsOf('alice', signal)).push(hello);
  assert.deepEqual(await directory.toolsOf('alice', signal), [hello]);
});

test('closing the LDAP cache also closes the LDAP connection behind it', async () => {
  const { slow, directory } = cached();
  await directory.close();
  assert.ok(slow.isClosed);
});

test('threat 6: LDAP gets at most four questions of one person about tools at once, and nobody else waits for them', async () => {
  const { slow, directory } = cached();
  const gate = Promise.withResolvers<void>();
  slow.gate = gate.promise;
  const leave = new AbortController();
  const person = (uid: string) => ({ ...principal, uid });
  const tools = [
    hello,
    ...Array.from({ length: 50 }, (_, index) => toolName(`tool${index}`) ?? assert.fail()),
  ];
  const asking = tools.map((tool) => authorize(directory, person('mallory'), tool, 'read', leave.signal));
  leave.abort();
  for (const result of await Promise.allSettled(asking)) assert.equal(result.status, 'rejected');
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(slow.asked, 4);
  const alices = authorize(directory, person('alice'), hello, 'read', signal);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(slow.asked, 5);
  gate.resolve();
  assert.equal((await alices).name, hello);
});

test('threat 130: even if 100 questions on behalf of a person are unanswered or wait, the server asks LDAP at once whether this person still has a right', async () => {
  const { slow, directory } = cached();
  const gate = Promise.withResolvers<void>();
  slow.gate = gate.promise;
  const mallory = { ...principal, uid: 'mallory' };
  const tools = Array.from({ length: 100 }, (_, index) => toolName(`tool${index}`) ?? assert.fail());
  const asking = tools.map((tool) => authorize(directory, mallory, tool, 'read', signal));
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(slow.asked, 4);
  const watch = authorize(directory, mallory, hello, 'read', signal, true);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(slow.asked, 5);
  gate.resolve();
  await assert.rejects(watch, { code: 'NO_ACCESS' });
  await Promise.allSettled(asking);
});

test('threat 131: after LDAP answers for a person cost the server much time, this person’s next question waits, and another person’s does not', async () => {
  const { slow, directory } = cached(0);
  const begun: number[] = [];
  let ended = 0;
  slow.findTool = async () => {
    begun.push(performance.now());
    const before = process.threadCpuUsage();
    while (process.threadCpuUsage(before).user < 20_000);
    valuesRead(400);
    ended = Math.max(ended, performance.now());
    return null;
  };
  const tools = Array.from({ length: 4 }, (_, index) => toolName(`tool${index}`) ?? assert.fail());
  const ask = (tool: ToolName) => directory.findTool(tool, signal, { by: 'mallory' });
  await Promise.all(tools.map(ask));
  const endOfFour = ended;
  await directory.findTool(hello, signal, { by: 'alice' });
  await ask(hello);
  const [alices = 0, fifth = 0] = begun.slice(4);
  assert.ok(alices - endOfFour < 100, `alice waited ${alices - endOfFour} ms`);
  assert.ok(fifth - endOfFour > 200, `mallory waited ${fifth - endOfFour} ms`);
});

test('threat 131: even if the server does much work for other people meanwhile, a person’s questions to LDAP about tools with few maintainers hardly wait', async () => {
  const { slow, directory } = cached(0);
  slow.findTool = async () => {
    const end = performance.now() + 20;
    while (performance.now() < end);
    valuesRead(5);
    return null;
  };
  const tools = Array.from({ length: 24 }, (_, index) => toolName(`tool${index}`) ?? assert.fail());
  const before = performance.now();
  await Promise.all(tools.map((tool) => directory.findTool(tool, signal, { by: 'bot' })));
  // The busy loops of 20 ms stand for work for other people. Four questions run at once, so the person waits five
  // times, for 6 ms each. If the work for other people counted, each wait would take 220 ms.
  const tookMs = performance.now() - before;
  assert.ok(tookMs < 1000, `the questions took ${tookMs} ms`);
});
