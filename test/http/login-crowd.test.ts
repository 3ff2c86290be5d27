import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { tooManyLogins } from '../../src/auth/directory-timeout.ts';
import { FileDirectory } from '../../src/auth/file/file-directory.ts';
import { hashPassword } from '../../src/auth/file/password-hash.ts';
import { CachedDirectory } from '../../src/auth/ldap/directory-cache.ts';
import { LoginThrottle } from '../../src/auth/login-throttle.ts';
import { basic, HttpDirectory, openDoor, PASSWORD } from '../support/http/http-door.ts';

const PATH = '/hello.git/info/refs?service=git-receive-pack';
let stored: string;
before(async () => {
  stored = await hashPassword('right');
});

/** An HTTP server with passwords that are slow to check. */
async function openCrowdedDoor(context: TestContext) {
  const folder = await mkdtemp(join(tmpdir(), 'login-crowd-'));
  context.after(() => rm(folder, { recursive: true }));
  const path = join(folder, 'directory.yaml');
  const names = ['alice', ...Array.from({ length: 40 }, (_, index) => `person${index}`)];
  const users = Object.fromEntries(names.map((name) => [name, { password: stored }]));
  await writeFile(path, JSON.stringify({ users, tools: { hello: { maintainers: names } } }));
  return await openDoor(context, { throttle: new LoginThrottle(), directory: new FileDirectory(path) });
}

/** The status of a login from an address of this machine; 0 if the request fails or is aborted. */
function logIn(
  port: number,
  localAddress: string,
  credentials: string,
  signal = new AbortController().signal,
): Promise<number> {
  return new Promise((resolve) => {
    const headers = { authorization: credentials };
    const options = {
      host: '127.0.0.1',
      port,
      path: PATH,
      localAddress,
      headers,
      signal,
      agent: new Agent(),
    };
    request(options, (answer) => {
      answer.resume();
      resolve(answer.statusCode ?? 0);
    })
      .on('error', () => resolve(0))
      .end();
  });
}

/** Guesses passwords from 120 addresses, four at once from each. @returns a function that ends the guessing. */
function guess(port: number, nameOf: (index: number) => string): () => Promise<void> {
  const over = new AbortController();
  const all = Array.from({ length: 480 }, async (_, index) => {
    for (let count = 0; !over.signal.aborted && count < 20; count += 1) {
      const credentials = basic(nameOf(index + count), `guess${count}`);
      await logIn(port, `127.0.1.${1 + (index % 120)}`, credentials, over.signal);
    }
  });
  return async () => {
    over.abort();
    await Promise.all(all);
  };
}

for (const { title, nameOf } of [
  { title: 'for random names', nameOf: (index: number) => `name${index}` },
  { title: 'for the name of one person', nameOf: () => 'alice' },
]) {
  test(`threat 9: password guesses from 120 addresses ${title} do not keep out 20 people who log in for the first time`, async (context) => {
    const door = await openCrowdedDoor(context);
    const stop = guess(door.port, nameOf);
    context.after(stop);
    await delay(500);
    const logins = Array.from({ length: 20 }, (_, index) =>
      logIn(door.port, `127.0.2.${1 + index}`, basic(index === 0 ? 'alice' : `person${index}`, 'right')),
    );
    const statuses = await Promise.all(logins);
    await stop();
    const faults = door.log.filter((line) => /"level":[56]0/.test(line)).join('');
    assert.deepEqual(statuses, Array<number>(20).fill(200), `${statuses.join(' ')} ${faults}`);
  });
}

/** Answers for alice at once. For everybody else, it waits 2 s and then fails with `tooManyLogins`. */
class SlowDirectory extends HttpDirectory {
  underWay = 0;
  most = 0;

  override async identifyByPassword(login: string, password: string) {
    if (login === 'alice') return await super.identifyByPassword(login, password);
    this.asked.push(login);
    this.underWay += 1;
    this.most = Math.max(this.most, this.underWay);
    await delay(2000);
    this.underWay -= 1;
    throw tooManyLogins();
  }
}

test('threats 6, 9: a slow user directory gets at most 8 password checks at once, and a person who logged in recently can still log in', async (context) => {
  const directory = new SlowDirectory();
  const door = await openDoor(context, { throttle: new LoginThrottle(), directory });
  const alice = () => logIn(door.port, '127.0.0.1', basic('alice', PASSWORD));
  assert.equal(await alice(), 200);
  const stop = guess(door.port, (index) => `name${index}`);
  context.after(stop);
  while (directory.most < 6) await delay(10);
  for (let count = 0; count < 5; count += 1) assert.equal(await alice(), 200);
  assert.ok(directory.underWay > 0, 'alice waited for all others');
  await stop();
  assert.ok(directory.most <= 8, `${directory.most} were asked at once`);
  const { length } = directory.asked;
  while (directory.underWay > 0) await delay(50);
  assert.equal(directory.asked.length, length, 'a disconnected client was checked');
});

/** Answers about a right password at once, and about a wrong one only after `release` is called. */
class HoldingDirectory extends HttpDirectory {
  readonly #released = Promise.withResolvers<void>();
  readonly release = this.#released.resolve;
  held = 0;

  override async identifyByPassword(login: string, password: string) {
    if (password === PASSWORD) return await super.identifyByPassword(login, password);
    this.held += 1;
    await this.#released.promise;
    return null;
  }
}

test('threat 202: wrong passwords for a person, from addresses from which this person has logged in, do not delay another person’s first login', async (context) => {
  const directory = new HoldingDirectory();
  const door = await openDoor(context, { throttle: new LoginThrottle(), directory });
  const addresses = ['127.0.4.1', '127.0.4.2', '127.0.4.3', '127.0.4.4', '127.0.4.5'];
  for (const address of addresses)
    assert.equal(await logIn(door.port, address, basic('alice', PASSWORD)), 200);
  const over = new AbortController();
  const guesses = addresses.flatMap((address) =>
    ['one', 'two'].map((password) => logIn(door.port, address, basic('alice', password), over.signal)),
  );
  while (directory.held < 2) await delay(10);
  assert.equal(await logIn(door.port, '127.0.5.1', basic('bob', PASSWORD)), 404);
  over.abort();
  directory.release();
  await Promise.all(guesses);
});

/** A user directory that refuses every password after 300 ms. */
class StrictDirectory extends HttpDirectory {
  underWay = 0;
  most = 0;

  override async identifyByPassword(login: string) {
    this.asked.push(login);
    this.underWay += 1;
    this.most = Math.max(this.most, this.underWay);
    await delay(300);
    this.underWay -= 1;
    return null;
  }
}

/** Guesses once, and disconnects as soon as the check begins, but at the latest after 100 ms. */
async function guessAndLeave(port: number, name: string, { asked }: StrictDirectory): Promise<void> {
  const leave = new AbortController();
  const before = asked.length;
  const answered = logIn(port, '127.0.0.9', basic(name, 'guess'), leave.signal);
  for (let count = 0; asked.length === before && count < 20; count += 1) await delay(5);
  leave.abort();
  await answered;
}

test('threats 6, 9: a client that guesses and disconnects, again and again, gets at most 4 simultaneous password checks', async (context) => {
  const strict = new StrictDirectory();
  const directory = new CachedDirectory(strict, { cacheMs: 60_000, limitMs: 5000 });
  const door = await openDoor(context, { directory });
  for (let count = 0; count < 20; count += 1) await guessAndLeave(door.port, `name${count}`, strict);
  assert.ok(strict.most <= 4, `${strict.most} at once`);
});

test('threat 9: a password guess counts even if its client has disconnected', async (context) => {
  const strict = new StrictDirectory();
  const directory = new CachedDirectory(strict, { cacheMs: 60_000, limitMs: 5000 });
  const door = await openDoor(context, { throttle: new LoginThrottle(), directory });
  for (let count = 0; count < 6; count += 1) {
    await guessAndLeave(door.port, 'bob', strict);
    while (strict.underWay > 0) await delay(20);
  }
  await delay(50);
  assert.equal(await logIn(door.port, '127.0.0.9', basic('bob', 'guess')), 429);
});
