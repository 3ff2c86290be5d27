import assert from 'node:assert/strict';
import { mkdtemp, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { stringify } from 'yaml';
import { FileDirectory } from '../../../src/auth/file/file-directory.ts';
import { hashPassword } from '../../../src/auth/file/password-hash.ts';
import { DeployError } from '../../../src/core/errors.ts';
import { type DirectoryDescription, directoryContract } from '../../contracts/directory.ts';

const signal = AbortSignal.timeout(120_000);
let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'file-directory-'));
});
after(() => rm(folder, { recursive: true }));

directoryContract('FileDirectory', async (description) => {
  const home = await mkdtemp(join(tmpdir(), 'file-directory-'));
  const path = join(home, 'directory.yaml');
  await writeFile(path, await asYaml(description));
  return {
    directory: new FileDirectory(path),
    change: async (next) => writeFile(path, await asYaml(next)),
    takeAway: () => rm(path),
    [Symbol.asyncDispose]: () => rm(home, { recursive: true }),
  };
});

async function asYaml(description: DirectoryDescription): Promise<string> {
  const users = description.users.map(async (user) => [
    user.name,
    {
      ...(user.password === undefined ? {} : { password: await hashPassword(user.password) }),
      keys: user.keys ?? [],
      ...(user.isDisabled ? { disabled: true } : {}),
    },
  ]);
  const tools = description.tools.map((tool) => [
    tool.name,
    { maintainers: tool.maintainers, ...(tool.isDisabled ? { disabled: true } : {}) },
  ]);
  return stringify({ users: Object.fromEntries(await Promise.all(users)), tools: Object.fromEntries(tools) });
}

async function refusalOf(text: string): Promise<DeployError> {
  const path = join(folder, 'broken.yaml');
  await writeFile(path, text);
  const error = await new FileDirectory(path).toolsOf('alice', signal).then(
    () => assert.fail('it was read'),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof DeployError);
  assert.equal(error.code, 'DIRECTORY_UNAVAILABLE');
  return error;
}

for (const { name, text, line, detail } of [
  { name: 'invalid YAML', text: 'users:\n  alice: {\n', line: 3, detail: /./ },
  { name: 'a tab before a field', text: 'users:\n  alice:\n\tkeys: []\n', line: 3, detail: /tab/i },
  { name: 'a misspelt field', text: 'users:\n  alice:\n    key: []\n', line: 2, detail: /key/ },
  { name: 'keys that are not a list', text: 'users:\n  alice:\n    keys: x\n', line: 3, detail: /array/ },
  {
    name: 'a clear-text password',
    text: 'users:\n  alice:\n    password: hunter2\n',
    line: 3,
    detail: /scrypt/,
  },
  {
    name: 'a password hash that takes 8 GiB',
    text: 'users:\n  a:\n    password: scrypt$4194304$16$1$AAAAAAAAAAAAAAAAAAAAAA==$AAAAAAAAAAAAAAAAAAAAAA==\n',
    line: 3,
    detail: /scrypt/,
  },
  {
    name: 'two user names that differ only in a capital letter',
    text: 'users:\n  alice: {}\n  Alice: {}\n',
    line: 3,
    detail: /twice/,
  },
  { name: 'the same user twice', text: 'users:\n  alice: {}\n  alice: {}\n', line: 3, detail: /unique/ },
  {
    name: 'a reserved user name',
    text: 'users:\n  alice: {}\n  tools.x: {}\n',
    line: 3,
    detail: /user name/,
  },
  { name: 'an invalid tool name', text: 'tools:\n  a: {}\n  ../b: {}\n', line: 3, detail: /tool name/ },
  {
    name: 'an invalid maintainer name',
    text: 'tools:\n  a:\n    maintainers:\n    - x\n    - a/b\n',
    line: 5,
    detail: /user name/,
  },
  { name: 'an unknown section', text: 'users: {}\ngroups: {}\n', line: 1, detail: /groups/ },
] as const) {
  test(`threat 6: a directory.yaml with ${name} is reported as an outage that names line ${line}, not as a wrong password`, async () => {
    const error = await refusalOf(text);
    assert.match(error.message, new RegExp(`in line ${line}$`));
    assert.ok(error.cause instanceof DeployError);
    assert.match(error.cause.message, detail);
    assert.doesNotMatch(`${error.message} ${error.cause.message}`, /hunter2/);
  });
}

test('user names that are also properties of JavaScript objects, such as constructor, are treated like all other names', async () => {
  const path = join(folder, 'odd.yaml');
  await writeFile(
    path,
    'users:\n  __proto__: {}\n  constructor: {}\ntools:\n  hello:\n    maintainers: [constructor]\n',
  );
  const directory = new FileDirectory(path);
  assert.deepEqual(await directory.toolsOf('constructor', signal), ['hello']);
  assert.deepEqual(await directory.toolsOf('toString', signal), []);
});

test('an empty directory.yaml has no users', async () => {
  const path = join(folder, 'empty.yaml');
  await writeFile(path, '');
  assert.deepEqual(await new FileDirectory(path).toolsOf('alice', signal), []);
});

test('a change of directory.yaml is noticed even if the length and the modification time stay the same', async () => {
  const path = join(folder, 'same.yaml');
  await writeFile(path, 'users: {a: {}, b: {}}\ntools: {x: {maintainers: [a]}}\n');
  const directory = new FileDirectory(path);
  assert.deepEqual(await directory.toolsOf('a', signal), ['x']);
  const { atime, mtime } = await stat(path);
  const next = join(folder, 'same.new');
  await writeFile(next, 'users: {a: {}, b: {}}\ntools: {x: {maintainers: [b]}}\n');
  await utimes(next, atime, mtime);
  const { rename } = await import('node:fs/promises');
  await rename(next, path);
  assert.deepEqual(await directory.toolsOf('a', signal), []);
  assert.deepEqual(await directory.toolsOf('b', signal), ['x']);
});

test('threat 9: a wrong password for an unknown name, or for a person without a password, costs between a third and three times as much processor time as for a person with a password', async () => {
  const path = join(folder, 'time.yaml');
  await writeFile(path, stringify({ users: { alice: { password: await hashPassword('right') }, dave: {} } }));
  const directory = new FileDirectory(path);
  const time = async (login: string) => {
    const start = process.cpuUsage();
    for (let round = 0; round < 4; round += 1) await directory.identifyByPassword(login, 'wrong', signal);
    const { user, system } = process.cpuUsage(start);
    return user + system;
  };
  await time('alice');
  const known = await time('alice');
  for (const login of ['mallory', 'dave', '*)(uid=*']) {
    const unknown = await time(login);
    assert.ok(unknown > known / 3 && unknown < known * 3, `${login}: ${unknown} µs against ${known} µs`);
  }
});

test('threat 6: of 200 simultaneous logins with a password, at least 134 are refused with DIRECTORY_BUSY', async () => {
  const path = join(folder, 'flood.yaml');
  await writeFile(path, 'users: {}\n');
  const directory = new FileDirectory(path);
  const limit = AbortSignal.timeout(5000);
  const tries = Array.from({ length: 200 }, () => directory.identifyByPassword('alice', 'x', limit));
  const results = await Promise.allSettled(tries);
  const codes = results.flatMap((result) => (result.status === 'rejected' ? [result.reason.code] : []));
  const refused = codes.filter((code) => code === 'DIRECTORY_BUSY');
  assert.ok(refused.length >= 200 - 66, `${refused.length} were refused`);
  // A login that is not refused at once waits until it is checked, and may reach its time limit of 5 s.
  for (const code of codes) assert.match(code, /^DIRECTORY_(BUSY|UNAVAILABLE)$/);
});
