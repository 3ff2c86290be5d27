import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, mkdir, mkdtemp, rm, stat } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { firstStart } from '../../../src/first-start.ts';

const main = resolve(import.meta.dirname, '../../../src/main.ts');

/** A uid without an account, as in a container with a user of its own. */
const NOBODYS_UID = 54_321;

test('a first start that is refused makes no user; the first start that succeeds shows a new user’s password once', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'first-start-'));
  await mkdir(join(folder, 'home'));
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const { port } = taken.address() as AddressInfo;
  /** Starts the server, and ends it as soon as it is ready. @returns all that the server wrote to stderr. */
  const start = async (http: string, more: Record<string, string> = {}): Promise<string> => {
    const child = spawn(process.execPath, [main], {
      env: {
        PATH: process.env['PATH'] ?? '',
        HOME: join(folder, 'home'),
        TOOLFORGE_PUSH_DATA: join(folder, 'data'),
        TOOLFORGE_PUSH_KEYS: join(folder, 'keys'),
        TOOLFORGE_PUSH_SSH: '127.0.0.1:0',
        TOOLFORGE_PUSH_HTTP: http,
        TOOLFORGE_PUSH_SANDBOX: 'trusted',
        ...more,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const ended = once(child, 'close');
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (line.includes('"msg":"ready"')) child.kill('SIGTERM');
    });
    const told = await text(child.stderr);
    await ended;
    return told;
  };
  try {
    const refused = await start(`127.0.0.1:${port}`);
    assert.match(refused, /CANNOT_LISTEN/);
    assert.doesNotMatch(refused, /Password/);
    const wrong = await start('127.0.0.1:0', { TOOLFORGE_PUSH_BUILDER: 'kubernetes' });
    assert.match(wrong, /BAD_SETTING/);
    const noBuildpacks = await start('127.0.0.1:0', { TOOLFORGE_PUSH_BUILDPACKS: '/nowhere' });
    assert.match(noBuildpacks, /BAD_SETTING: .*\/nowhere.*buildpacks.*ENOENT/);
    const noKeys = await start('127.0.0.1:0', { TOOLFORGE_PUSH_KEYS: '/etc/passwd/keys' });
    assert.match(noKeys, /^ ! {5}KEYS_FOLDER: .*\/etc\/passwd\/keys.*\n.*TOOLFORGE_PUSH_KEYS .*\n$/);
    const second = await start('127.0.0.1:0');
    assert.match(second, /Welcome, [\s\S]+Password: +\S{8,} +\(shown this once\)/);
    assert.equal((await stat(join(folder, 'keys'))).mode & 0o777, 0o700);
    const third = await start('127.0.0.1:0');
    assert.doesNotMatch(third, /Welcome|Password/);
  } finally {
    taken.close();
    await rm(folder, { recursive: true, force: true });
  }
});

test('a start with arguments is refused, and makes no data folder', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'first-start-'));
  t.after(() => rm(folder, { recursive: true }));
  const env = { PATH: process.env['PATH'] ?? '', HOME: folder, TOOLFORGE_PUSH_DATA: join(folder, 'data') };
  const child = spawn(process.execPath, [main, '--help'], { env, timeout: 10_000 });
  const ended = once(child, 'close');
  assert.match(await text(child.stderr), /^ ! {5}The server takes no arguments[\s\S]+ help\n$/);
  assert.deepEqual(await ended, [2, null]);
  await assert.rejects(stat(join(folder, 'data')), { code: 'ENOENT' });
});

test('a first start under a uid without an account still makes a user', {
  skip: process.getuid?.() !== 0,
}, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'first-start-'));
  await chown(folder, NOBODYS_UID, NOBODYS_UID);
  const child = spawn(process.execPath, [main], {
    uid: NOBODYS_UID,
    gid: NOBODYS_UID,
    env: {
      PATH: process.env['PATH'] ?? '',
      TOOLFORGE_PUSH_DATA: join(folder, 'data'),
      TOOLFORGE_PUSH_KEYS: join(folder, 'keys'),
      TOOLFORGE_PUSH_SSH: '127.0.0.1:0',
      TOOLFORGE_PUSH_HTTP: '127.0.0.1:0',
      TOOLFORGE_PUSH_SANDBOX: 'trusted',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  try {
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (line.includes('"msg":"ready"')) child.kill('SIGTERM');
    });
    const told = await text(child.stderr);
    assert.match(told, /Welcome, user54321\./);
    // The server ends cleanly, although the signal came as soon as the server was ready.
    assert.match(told, /Stopped\. Your tools are down/);
  } finally {
    child.kill('SIGKILL');
    await rm(folder, { recursive: true, force: true });
  }
});

for (const [account, uid] of [
  ['git', 'owner'],
  ['CORP\\Alice', 'alice'],
  ['alice@EXAMPLE.ORG', 'alice'],
] as const) {
  test(`the first start by the operating system’s account ${account}, whose name cannot be a user name, makes the user ${uid}`, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'first-start-'));
    try {
      await mkdir(join(folder, '.ssh/folder.pub'), { recursive: true });
      // The first start must not open this pipe as a key, because the opening would wait for a writer.
      execFileSync('mkfifo', [join(folder, '.ssh/pipe.pub')]);
      const options = {
        directoryPath: join(folder, 'directory.yaml'),
        userName: account,
        homeFolder: folder,
      };
      assert.equal((await firstStart(options))?.uid, uid);
      assert.equal(await firstStart(options), null);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
}
