import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { DirectoryFile } from '../../../src/auth/file/directory-yaml.ts';
import { FileDirectory } from '../../../src/auth/file/file-directory.ts';
import { createFirstDirectory } from '../../../src/auth/file/first-directory.ts';
import { generatePassword } from '../../../src/auth/file/password-hash.ts';
import { DeployError } from '../../../src/core/errors.ts';
import type { ToolName } from '../../../src/core/names.ts';

const hello = 'hello' as ToolName;
const signal = AbortSignal.timeout(60_000);
let folder: string;
let path: string;
let file: DirectoryFile;
let laptop: string;
let desktop: string;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'directory-file-'));
  laptop = makeKey('laptop', '-t', 'ed25519');
  desktop = makeKey('desktop', '-t', 'ecdsa');
});
after(() => rm(folder, { recursive: true }));
beforeEach(async () => {
  path = join(folder, 'directory.yaml');
  await writeFile(path, '# who may push\nusers:\n  alice: # the first\n    keys: []\ntools: {}\n', {
    mode: 0o600,
  });
  file = new DirectoryFile(path);
});

function makeKey(name: string, ...type: string[]): string {
  execFileSync('ssh-keygen', ['-q', '-N', '', '-C', name, ...type, '-f', join(folder, name)]);
  return execFileSync('cat', [join(folder, `${name}.pub`)], { encoding: 'utf8' }).trim();
}

test('a new user with a key and a password can log in with each of them', async () => {
  const changed = await file.addUser({
    name: 'Bob',
    keyLines: ['# mine', '', laptop],
    password: 'open sesame',
  });
  assert.equal(changed.uid, 'bob');
  assert.equal(changed.isNew, true);
  assert.equal(changed.addedKeys.length, 1);
  const directory = new FileDirectory(path);
  const [algorithm = '', base64 = ''] = laptop.split(' ');
  const key = { algorithm, blob: Buffer.from(base64, 'base64') };
  assert.equal((await directory.identifyByKey('bob', key, signal))?.uid, 'bob');
  assert.equal((await directory.identifyByPassword('bob', 'open sesame', signal))?.uid, 'bob');
});

test('an open user directory notices an edit of directory.yaml, and the edit keeps the comments and the mode of the file', async () => {
  const directory = new FileDirectory(path);
  assert.deepEqual(await directory.toolsOf('alice', signal), []);
  await file.addTool('hello', ['alice']);
  assert.deepEqual(await directory.toolsOf('alice', signal), ['hello']);
  const text = await readFile(path, 'utf8');
  assert.match(text, /^# who may push\n/);
  assert.match(text, /# the first/);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.deepEqual(
    (await readdir(folder)).filter((name) => name.startsWith('directory.yaml')),
    ['directory.yaml'],
  );
});

test('adding an existing user again adds new keys, each only once, and changes the password', async () => {
  await file.addUser({ name: 'alice', keyLines: [laptop] });
  const changed = await file.addUser({
    name: 'ALICE',
    keyLines: [laptop, desktop],
    password: 'new and long',
  });
  assert.equal(changed.isNew, false);
  assert.deepEqual(
    [changed.addedKeys.map((key) => key.comment), changed.knownKeys.map((key) => key.comment)],
    [['desktop'], ['laptop']],
  );
  assert.equal(changed.isPasswordSet, true);
  assert.equal((await file.list()).users.get('alice')?.keys.length, 2);
});

test('adding and removing a maintainer in directory.yaml keeps the comments of the file', async () => {
  await file.addUser({ name: 'bob', keyLines: [laptop] });
  await file.addTool('hello', ['alice']);
  const directory = new FileDirectory(path);
  const maintainers = async () => [...((await directory.findTool(hello, signal))?.maintainers ?? [])];
  assert.equal(await file.addMaintainer(hello, 'BOB'), true);
  assert.equal(await file.addMaintainer(hello, 'bob'), false);
  assert.deepEqual(await maintainers(), ['alice', 'bob']);
  await file.removeMaintainer(hello, 'Alice');
  assert.deepEqual(await maintainers(), ['bob']);
  assert.match(await readFile(path, 'utf8'), /^# who may push\n/);
});

test('the last maintainer of a tool who is not disabled cannot be removed, not even if two maintainers are removed at the same time', async () => {
  for (const name of ['bob', 'carol']) await file.addUser({ name, keyLines: [laptop] });
  await file.addTool('hello', ['alice', 'bob']);
  const both = await Promise.allSettled([
    file.removeMaintainer(hello, 'alice'),
    file.removeMaintainer(hello, 'bob'),
  ]);
  assert.deepEqual(both.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
  const [left = ''] = (await file.list()).tools.get(hello)?.maintainers ?? [];
  await file.addMaintainer(hello, 'carol');
  await writeFile(path, (await readFile(path, 'utf8')).replace('carol:\n', 'carol:\n    disabled: true\n'));
  const before = await readFile(path, 'utf8');
  await assert.rejects(file.removeMaintainer(hello, left), { code: 'LAST_MAINTAINER' });
  assert.equal(await readFile(path, 'utf8'), before);
  await file.removeMaintainer(hello, 'carol');
  assert.deepEqual([...((await file.list()).tools.get(hello)?.maintainers ?? [])], [left]);
});

test('a refused change of maintainers changes nothing in directory.yaml, and the error for a broken directory.yaml names no path of the server', async () => {
  await file.addTool('hello', ['alice']);
  const before = await readFile(path, 'utf8');
  for (const [change, code] of [
    [() => file.addMaintainer(hello, 'mallory'), 'NO_USER'],
    [() => file.addMaintainer(hello, 'a:b'), 'BAD_USER_NAME'],
    [() => file.removeMaintainer(hello, 'mallory'), 'NOT_A_MAINTAINER'],
    [() => file.addMaintainer('other' as ToolName, 'alice'), 'NO_TOOL'],
  ] as const) {
    await assert.rejects(change(), { code });
  }
  assert.equal(await readFile(path, 'utf8'), before);
  await writeFile(path, 'users: [\n');
  await assert.rejects(file.addMaintainer(hello, 'alice'), (error: unknown) => {
    assert.ok(error instanceof DeployError, String(error));
    assert.equal(error.code, 'DIRECTORY_UNAVAILABLE');
    assert.doesNotMatch(`${error.message} ${error.hint}`, /\//);
    return true;
  });
});

test('a removed user is removed from the maintainers of all tools', async () => {
  await file.addUser({ name: 'bob', keyLines: [laptop] });
  await file.addTool('hello', ['alice', 'bob']);
  assert.deepEqual(await file.removeUser('bob'), ['hello']);
  const { users, tools } = await file.list();
  assert.deepEqual([...users.keys()], ['alice']);
  assert.deepEqual(
    [...tools.values()].map((tool) => [...tool.maintainers]),
    [['alice']],
  );
});

test('adding an existing tool to directory.yaml again only adds its new maintainers, and a tool can be removed', async () => {
  await file.addUser({ name: 'bob', keyLines: [laptop] });
  assert.equal((await file.addTool('hello', ['alice'])).isNew, true);
  assert.deepEqual(await file.addTool('hello', ['alice', 'bob', 'bob']), {
    tool: 'hello',
    isNew: false,
    addedMaintainers: ['bob'],
  });
  await file.removeTool('hello');
  assert.equal((await file.list()).tools.size, 0);
});

const sk = 'sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIA me@yubikey';
for (const { name, edit, code } of [
  {
    name: 'a user whose key is garbage',
    edit: () => file.addUser({ name: 'bob', keyLines: ['hello'] }),
    code: 'BAD_KEY',
  },
  {
    name: 'a user whose key is cut off',
    edit: () => file.addUser({ name: 'bob', keyLines: [laptop.slice(0, 50)] }),
    code: 'BAD_KEY',
  },
  {
    name: 'a user with the key of a security device',
    edit: () => file.addUser({ name: 'bob', keyLines: [sk] }),
    code: 'BAD_KEY',
  },
  {
    name: 'a user whose key has options before it',
    edit: () => file.addUser({ name: 'bob', keyLines: [`no-pty ${laptop}`] }),
    code: 'BAD_KEY',
  },
  {
    name: 'a user with a DSA key',
    edit: () => file.addUser({ name: 'bob', keyLines: ['ssh-dss AAAAB3NzaC1kc3MAAACBAP'] }),
    code: 'BAD_KEY',
  },
  {
    name: 'a user with a private key',
    edit: () => file.addUser({ name: 'bob', keyLines: ['-----BEGIN OPENSSH PRIVATE KEY-----'] }),
    code: 'BAD_KEY',
  },
  {
    name: 'a user with a password of seven characters',
    edit: () => file.addUser({ name: 'bob', password: '1234567' }),
    code: 'SHORT_PASSWORD',
  },
  {
    name: 'an existing user, without a key or password',
    edit: () => file.addUser({ name: 'alice' }),
    code: 'USER_EXISTS',
  },
  { name: 'a user name with a slash', edit: () => file.addUser({ name: '../etc' }), code: 'BAD_USER_NAME' },
  {
    name: 'a user name that is the login name of a tool',
    edit: () => file.addUser({ name: 'tools.x' }),
    code: 'BAD_USER_NAME',
  },
  { name: 'the removal of an unknown user', edit: () => file.removeUser('bob'), code: 'NO_USER' },
  { name: 'a tool with an unknown maintainer', edit: () => file.addTool('hello', ['bob']), code: 'NO_USER' },
  { name: 'a tool without a maintainer', edit: () => file.addTool('hello', []), code: 'NO_MAINTAINER' },
  {
    name: 'a tool name with a capital letter',
    edit: () => file.addTool('Hello', ['alice']),
    code: 'BAD_TOOL_NAME',
  },
  { name: 'the removal of an unknown tool', edit: () => file.removeTool('hello'), code: 'NO_TOOL' },
]) {
  test(`an edit of directory.yaml is refused and changes nothing: ${name}`, async () => {
    const before = await readFile(path, 'utf8');
    await assert.rejects(edit, { name: 'DeployError', code });
    assert.equal(await readFile(path, 'utf8'), before);
  });
}

test('a user with an RSA key of 1024 bits is not added to directory.yaml', async () => {
  const { generateKeyPairSync } = await import('node:crypto');
  const pem = generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey.export({
    type: 'pkcs1',
    format: 'pem',
  });
  await writeFile(join(folder, 'short'), pem, { mode: 0o600 });
  const line = spawnSync('ssh-keygen', ['-y', '-f', join(folder, 'short')], { encoding: 'utf8' }).stdout;
  assert.match(line, /^ssh-rsa /);
  await assert.rejects(file.addUser({ name: 'bob', keyLines: [line] }), /fewer than 2048 bits/);
});

test('an edit of a broken directory.yaml fails with DIRECTORY_BROKEN', async () => {
  await writeFile(path, 'users:\n  alice: [\n');
  await assert.rejects(file.addUser({ name: 'bob', keyLines: [laptop] }), { code: 'DIRECTORY_BROKEN' });
});

test('if directory.yaml is missing, adding a tool and listing all tools fail with NO_DIRECTORY', async () => {
  const nowhere = new DirectoryFile(join(folder, 'nowhere', 'directory.yaml'));
  await assert.rejects(nowhere.addTool('hello', ['alice']), { code: 'NO_DIRECTORY' });
  await assert.rejects(nowhere.list(), { code: 'NO_DIRECTORY' });
});

test('simultaneous edits of directory.yaml are all kept', async () => {
  const names = Array.from({ length: 12 }, (_, index) => `user${index}`);
  await Promise.all(names.map((name) => new DirectoryFile(path).addUser({ name, keyLines: [laptop] })));
  assert.deepEqual([...(await file.list()).users.keys()].sort(), ['alice', ...names].sort());
});

test('threat 51: a lock of directory.yaml does not stop an edit if the process that made the lock is dead', async () => {
  const dead = spawnSync('true').pid;
  await writeFile(`${path}.lock`, `${dead}\n`);
  await file.addTool('hello', ['alice']);
  assert.equal((await file.list()).tools.size, 1);
});

test('the first start makes a user who can log in, and a second start does not change directory.yaml', async () => {
  const fresh = join(folder, 'first.yaml');
  const password = generatePassword();
  const first = {
    path: fresh,
    userName: 'Root',
    keyLines: [laptop, sk, 'junk', ''],
    password,
    toolName: 'hello',
  };
  const made = await createFirstDirectory(first);
  assert.deepEqual([made?.uid, made?.keys, made?.leftOut.length], ['root', 1, 2]);
  assert.equal((await stat(fresh)).mode & 0o777, 0o600);
  const directory = new FileDirectory(fresh);
  assert.equal((await directory.identifyByPassword('root', password, signal))?.uid, 'root');
  assert.deepEqual(await directory.toolsOf('root', signal), ['hello']);
  const before = await readFile(fresh, 'utf8');
  assert.equal(await createFirstDirectory({ ...first, password: 'another' }), null);
  assert.equal(await readFile(fresh, 'utf8'), before);
});

test('100 generated passwords are all different, and have no letters or digits that look alike', () => {
  const passwords = new Set(Array.from({ length: 100 }, generatePassword));
  assert.equal(passwords.size, 100);
  for (const password of passwords) assert.match(password, /^([a-hjkmnp-z02-9]{5}-){3}[a-hjkmnp-z02-9]{5}$/);
});

test('threat 111: of ten simultaneous changes of the maintainers of one tool, seven are refused, and a change of the maintainers of another tool succeeds', async () => {
  await file.addTool('hello', ['alice']);
  await file.addTool('other', ['alice']);
  await file.addUser({ name: 'bob', keyLines: [laptop] });
  const changes = Array.from({ length: 10 }, () => file.addMaintainer(hello, 'bob'));
  const ofAnother = file.addMaintainer('other' as ToolName, 'bob');
  const results = await Promise.allSettled(changes);
  const refused = results.flatMap((result) => (result.status === 'rejected' ? [result.reason.code] : []));
  assert.deepEqual(refused, Array<string>(7).fill('FILE_BUSY'));
  assert.equal(await ofAnother, true);
});

test('threat 111: if a tool’s maintainers are changed twice in a row, the second change must wait, and takes more than twice as long as the first', async () => {
  await file.addTool('hello', ['alice']);
  await file.addUser({ name: 'bob', keyLines: [laptop] });
  const users = Array.from({ length: 400 }, (_, index) => `  user${index}: {}\n`).join('');
  await writeFile(path, (await readFile(path, 'utf8')).replace('users:\n', `users:\n${users}`));
  // Compare the median of five ratios, because one change can take long on a busy machine.
  const ratios: number[] = [];
  for (let count = 0; count < 5; count += 1) {
    const startedAt = performance.now();
    await file.addMaintainer(hello, 'bob');
    const between = performance.now();
    await file.addMaintainer(hello, 'bob');
    ratios.push((performance.now() - between) / (between - startedAt));
    await wait(500);
  }
  const middle = ratios.toSorted((a, b) => a - b)[2] ?? 0;
  assert.ok(middle > 2, ratios.join(' '));
});
