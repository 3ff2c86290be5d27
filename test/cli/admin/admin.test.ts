import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { DirectoryFile } from '../../../src/auth/file/directory-yaml.ts';
import { runAdmin } from '../../../src/cli/admin/admin.ts';
import type { AuditEvent } from '../../../src/core/log/audit.ts';

const root = mkdtempSync(join(tmpdir(), 'admin-'));
after(() => rmSync(root, { recursive: true, force: true }));

const key = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl alice@laptop';
const fingerprint = /SHA256:[A-Za-z0-9+/]{43}/;

class Office {
  readonly folder = mkdtempSync(join(root, 'data-'));
  readonly path = join(this.folder, 'directory.yaml');
  readonly keyFile = join(this.folder, 'id.pub');

  readonly events: AuditEvent[] = [];
  /** The server's answer to a request to revoke tokens; null if no server runs. */
  revoke: (tool: string, by?: string) => string | null = () => null;

  constructor() {
    writeFileSync(this.path, 'users: {}\ntools: {}\n');
    writeFileSync(this.keyFile, `${key}\n`);
  }

  async type(argv: readonly string[], input = '') {
    let out = '';
    let err = '';
    const status = await runAdmin({
      argv,
      directory: new DirectoryFile(this.path),
      revokeTokens: async (tool, by) => this.revoke(tool, by),
      remotes: (uid, tool) => [`ssh://${uid}@host/${tool}.git`, `http://${uid}@host/${tool}.git`],
      input: (async function* () {
        yield Buffer.from(input);
      })(),
      out: async (text) => {
        out += text;
      },
      audit: (event) => void this.events.push(event),
      err: async (text) => {
        err += text;
      },
    });
    return { status, out, err };
  }

  async users() {
    return JSON.parse((await this.type(['user', 'list', '--json'])).out);
  }
}

test('`user add` without a key or password generates a password, shows it once and stores its hash', async () => {
  const office = new Office();
  const { status, out } = await office.type(['user', 'add', 'Alice']);
  assert.equal(status, 0);
  const password = /^Added alice\.\nPassword: (\S+) {3}\(shown this once\)\n$/.exec(out)?.[1];
  assert.ok(password !== undefined && password.length >= 20, out);
  assert.ok(!readFileSync(office.path, 'utf8').includes(password));
  assert.deepEqual(await office.users(), [
    { name: 'alice', keys: [], hasPassword: true, isDisabled: false, tools: [] },
  ]);
});

test('`user add` with a key generates no password', async () => {
  const office = new Office();
  const { status, out } = await office.type(['user', 'add', 'alice', '--key', office.keyFile]);
  assert.equal(status, 0);
  assert.match(out, /^Added alice\.\nKey added: ED25519 SHA256:\S+ alice@laptop\nalice has no password/);
  const [alice] = await office.users();
  assert.equal(alice.hasPassword, false);
  assert.match(alice.keys[0], fingerprint);
});

test('the audit log has the command `user add`, but not `user list`, no refused command and no password', async () => {
  const office = new Office();
  await office.type(['user', 'add', 'alice', '--password-stdin'], 's3cret words\n');
  await office.type(['user', 'list']);
  await office.type(['user', 'remove', 'nobody']);
  assert.deepEqual(
    office.events.map(({ what, facts }) => [what, facts?.['words']]),
    [['user add', ['alice']]],
  );
  assert.doesNotMatch(JSON.stringify(office.events), /s3cret/);
});

test('`user add` reads a password from standard input, never from the command line', async () => {
  const office = new Office();
  const { out } = await office.type(['user', 'add', 'alice', '--password-stdin'], 's3cret words\n');
  assert.equal(out, 'Added alice.\nPassword set.\n');
  const wrong = await office.type(['user', 'add', 'bob', '--password', 's3cret']);
  assert.equal(wrong.status, 2);
  assert.match(wrong.err, /no flag --password\. It knows --key, --password-stdin/);
});

test('`user add` of an existing user is refused without a key or password, and reports no change for a key that the user has', async () => {
  const office = new Office();
  await office.type(['user', 'add', 'alice', '--password-stdin'], 'the first');
  const before = readFileSync(office.path, 'utf8');
  const { status, err } = await office.type(['user', 'add', 'alice']);
  assert.equal(status, 1);
  assert.match(err, /There is a user alice already/);
  assert.equal(readFileSync(office.path, 'utf8'), before);
  const more = await office.type(['user', 'add', 'alice', '--key', office.keyFile]);
  assert.match(more.out, /^Changed alice\.\nKey added/);
  const again = await office.type(['user', 'add', 'alice', '--key', office.keyFile]);
  const tool = ['tool', 'add', 'hello', '--maintainer', 'alice'];
  await office.type(tool);
  assert.equal((await office.type(tool)).out, 'Nothing changed: alice maintained hello already.\n');
  assert.match(again.out, /^Nothing changed for alice\.\nKey was there already/);
});

for (const { name, argv, input, status, says } of [
  {
    name: 'a short password',
    argv: ['alice', '--password-stdin'],
    input: '1234567\n',
    status: 1,
    says: /fewer than 8 characters/,
  },
  {
    name: 'a password of two lines',
    argv: ['alice', '--password-stdin'],
    input: 'a\nb\n',
    status: 1,
    says: /one line/,
  },
  {
    name: 'a password with a tab, which no client could send,',
    argv: ['alice', '--password-stdin'],
    input: 'correct\thorse\n',
    status: 1,
    says: /control characters/,
  },
  {
    name: 'a password of 1025 characters',
    argv: ['alice', '--password-stdin'],
    input: 'x'.repeat(1025),
    status: 1,
    says: /1024/,
  },
  {
    name: 'a missing key file',
    argv: ['alice', '--key', '/nowhere.pub'],
    status: 1,
    says: /cannot be read/,
  },
  { name: 'an invalid user name', argv: ['a:b'], status: 1, says: /cannot be a user name/ },
  {
    name: 'no user name',
    argv: [],
    status: 2,
    says: /user add needs NAME\..*\n.*Usage: npx toolforge-push user add NAME/,
  },
  { name: 'two user names', argv: ['alice', 'bob'], status: 2, says: /too many words/ },
]) {
  test(`the command \`user add\` with ${name} is refused and changes nothing`, async () => {
    const office = new Office();
    const before = readFileSync(office.path, 'utf8');
    const answer = await office.type(['user', 'add', ...argv], input ?? '');
    assert.equal(answer.status, status);
    assert.match(answer.err, says);
    assert.equal(readFileSync(office.path, 'utf8'), before);
  });
}

for (const { name, text, says } of [
  {
    name: 'a private key',
    text: '-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n',
    says: /private key.*\n.*\.pub/,
  },
  { name: 'an empty file', text: '\n', says: /key file is empty/ },
  { name: 'a text that is not a key', text: 'hello\n', says: /not a public key/ },
]) {
  test(`the command \`user add\` refuses ${name} as an SSH key`, async () => {
    const office = new Office();
    writeFileSync(office.keyFile, text);
    const { status, err } = await office.type(['user', 'add', 'alice', '--key', office.keyFile]);
    assert.equal(status, 1);
    assert.match(err, says);
    assert.deepEqual(await office.users(), []);
  });
}

test('`tool add` adds a tool with maintainers, `tool list` lists it, and `tool remove` removes it', async () => {
  const office = new Office();
  office.revoke = () => '';
  await office.type(['user', 'add', 'alice']);
  await office.type(['user', 'add', 'bob']);
  assert.deepEqual(await office.type(['tool', 'add', 'wikibot', '--maintainer', 'alice']), {
    status: 0,
    out: `Added wikibot, maintained by alice. To push, a maintainer first adds a remote, over SSH or HTTP:
    git remote add toolforge ssh://USER@host/wikibot.git
    git remote add toolforge http://USER@host/wikibot.git
`,
    err: '',
  });
  const more = await office.type(['tool', 'add', 'wikibot', '--maintainer', 'bob,alice']);
  assert.equal(more.out, 'wikibot is now maintained by bob too.\n');
  assert.equal((await office.type(['tool', 'list'])).out, 'TOOL     MAINTAINERS\nwikibot  alice, bob\n');
  assert.deepEqual(JSON.parse((await office.type(['tool', 'list', '--json'])).out), [
    { name: 'wikibot', maintainers: ['alice', 'bob'], isDisabled: false },
  ]);
  assert.match(
    (await office.type(['user', 'list'])).out,
    /^USER {3}KEYS {2}PASSWORD {2}TOOLS\nalice {2}0 {5}yes {7}wikibot\n/,
  );
  assert.equal(
    (await office.type(['user', 'remove', 'bob'])).out,
    'Removed bob, also as a maintainer of wikibot.\n',
  );
  assert.match((await office.type(['user', 'remove', 'alice'])).out, /wikibot has no maintainer left/);
  assert.match((await office.type(['tool', 'remove', 'wikibot'])).out, /^Removed the tool wikibot\./);
  assert.equal((await office.type(['tool', 'list', '--json'])).out, '[]\n');
});

for (const { argv, status, says } of [
  { argv: ['tool', 'add', 'wikibot'], status: 2, says: /needs a maintainer/ },
  { argv: ['tool', 'add', 'wikibot', '--maintainer', 'nobody'], status: 1, says: /There is no user nobody/ },
  { argv: ['tool', 'add', '../x', '--maintainer', 'alice'], status: 1, says: /cannot be a tool name/ },
  { argv: ['tool', 'remove', 'wikibot'], status: 1, says: /There is no tool wikibot/ },
  { argv: ['user', 'remove', 'nobody'], status: 1, says: /There is no user nobody/ },
]) {
  test(`the command ${argv.join(' ')} is refused: ${says.source}`, async () => {
    const office = new Office();
    const answer = await office.type(argv);
    assert.equal(answer.status, status);
    assert.match(answer.err, says);
  });
}

test('without directory.yaml, commands on users and tools say how to make the file', async () => {
  const office = new Office();
  rmSync(office.path);
  for (const argv of [
    ['user', 'add', 'alice'],
    ['user', 'list'],
    ['tool', 'list'],
    ['tool', 'remove', 'x'],
  ]) {
    const { status, err } = await office.type(argv);
    assert.equal(status, 1);
    assert.match(err, /There is no user directory yet.\n ! {5}Add a user \(npx/);
  }
});

test('`tool remove` revokes the tool’s tokens; if no server runs, it says that the tokens are not revoked yet', async () => {
  const office = new Office();
  await office.type(['user', 'add', 'alice']);
  await office.type(['tool', 'add', 'hello', '--maintainer', 'alice']);
  const asked: string[] = [];
  office.revoke = (tool) => {
    asked.push(tool);
    return 'Revoked ci (a1): this token can no longer be used.\n';
  };
  assert.equal((await office.type(['tool', 'remove', 'gone'])).status, 1);
  assert.deepEqual(asked, []);
  const removed = await office.type(['tool', 'remove', 'hello']);
  assert.match(
    removed.out,
    /^Removed the tool hello\..*\nRevoked ci \(a1\).*\nThe processes of hello continue to run\..*stop hello\nIf somebody is given the name hello/,
  );
  await office.type(['tool', 'add', 'hello', '--maintainer', 'alice']);
  office.revoke = () => null;
  assert.match(
    (await office.type(['tool', 'remove', 'hello'])).out,
    /No server runs.*are not revoked yet.*token revoke hello --all/,
  );
});

test('threat 8: `user remove` revokes the user’s tokens of all tools; if no server runs, it says that the tokens are not revoked yet', async () => {
  const office = new Office();
  await office.type(['user', 'add', 'mallory']);
  await office.type(['user', 'add', 'alice']);
  // mallory maintains neither tool now, but may have made tokens when they maintained one.
  for (const tool of ['hello', 'other']) await office.type(['tool', 'add', tool, '--maintainer', 'alice']);
  const asked: string[][] = [];
  office.revoke = (tool, by = '') => {
    asked.push([tool, by]);
    return tool === 'other' ? 'Revoked ci (a1): this token can no longer be used.\n' : '';
  };
  const removed = await office.type(['user', 'remove', 'Mallory']);
  assert.deepEqual(asked, [
    ['hello', 'mallory'],
    ['other', 'mallory'],
  ]);
  assert.equal(removed.out, 'Removed mallory.\nother: Revoked ci (a1): this token can no longer be used.\n');
  await office.type(['user', 'add', 'mallory']);
  office.revoke = () => null;
  assert.match(
    (await office.type(['user', 'remove', 'mallory'])).out,
    /^Removed mallory\.\nNo server runs.*are not revoked yet.*token revoke TOOL --by mallory\n$/,
  );
});
