import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { after, before, beforeEach, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { Attribute, Change } from 'ldapts';
import { pino } from 'pino';
import type { Directory } from '../../../src/auth/directory.ts';
import { toolName } from '../../../src/core/names.ts';
import { makeKey, offered, openOn } from '../../support/slapd/directory.ts';
import { accountDn, addAccount, addPerson, addTool, groupDn, personDn } from '../../support/slapd/people.ts';
import { type Attributes, BASE, TestSlapd } from '../../support/slapd/slapd.ts';

const signal = AbortSignal.timeout(120_000);
const hello = toolName('hello') ?? assert.fail();
const DAY_MS = 24 * 3600_000;
let folder: string;
let slapd: TestSlapd;
let directory: Directory;
let key: string;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ldap-threats-'));
  key = makeKey(folder, 'alice');
  slapd = await TestSlapd.start();
  directory = await openOn(slapd);
});
after(async () => {
  await directory.close();
  await slapd[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});
beforeEach(() => slapd.clear());

const byKey = async (login: string, line = key) =>
  (await directory.identifyByKey(login, offered(line), signal))?.uid ?? null;
const byPassword = async (login: string, password = 'correct horse') =>
  (await directory.identifyByPassword(login, password, signal))?.uid ?? null;
const alice = (more: Attributes = {}) =>
  addPerson(slapd, 'alice', { keys: [key], password: 'correct horse', ...more });

test('threat 1: an empty password is refused although the LDAP server would accept it', async () => {
  await alice();
  assert.equal(await byPassword('alice', ''), null);
  assert.equal(await byPassword('alice'), 'alice');
});

for (const { name, login } of [
  { name: 'a wildcard', login: 'alice*' },
  { name: 'another condition for the filter', login: 'alice)(uid=*' },
  { name: 'the end of the filter and another filter', login: '*)(objectClass=*))(|(uid=*' },
  { name: 'a null byte', login: 'alice\u0000' },
  { name: 'an LDAP escape', login: 'ali\\63e' },
]) {
  test(`threat 2: a user name with ${name} finds no person in LDAP`, async () => {
    await alice();
    assert.equal(await byKey(login), null);
    assert.equal(await byPassword(login), null);
    assert.deepEqual(await directory.toolsOf(login, signal), []);
  });
}

for (const login of ['alice,ou=people', 'alice+cn=x', 'alice\\2cou=x', 'uid=alice']) {
  test(`threat 3: nobody can log in with a password and the user name ${login}`, async () => {
    await alice();
    assert.equal(await byPassword(login), null);
  });
}

test('threat 3: a person whose LDAP entry has special characters in its name can log in and maintain a tool', async () => {
  const dn = `cn=Smith\\, \\"Al\\" \\+ Co\\3D\\2B,ou=people,${BASE}`;
  await slapd.add(dn, {
    objectClass: ['inetOrgPerson', 'posixAccount', 'ldapPublicKey'],
    ...{ uid: 'al', sn: 'Smith', uidNumber: '1', gidNumber: '1', homeDirectory: '/home/al' },
    ...{ sshPublicKey: key, userPassword: 'correct horse' },
  });
  await addTool(slapd, 'hello', [dn]);
  assert.equal(await byPassword('al'), 'al');
  assert.equal(await byKey('tools.hello'), 'al');
  assert.deepEqual((await directory.findTool(hello, signal))?.maintainers, new Set(['al']));
  assert.deepEqual(await directory.toolsOf('al', signal), [hello]);
});

test('threat 4: nobody can log in with a user name that two LDAP entries have', async () => {
  await alice();
  await addPerson(slapd, 'mallory', { uid: ['mallory', 'alice'], password: 'mine', keys: [key] });
  assert.equal(await byKey('alice'), null);
  assert.equal(await byPassword('alice'), null);
  assert.equal(await byPassword('alice', 'mine'), null);
});

test('threat 4: nobody can log in with the second user name of an LDAP entry', async () => {
  await addPerson(slapd, 'mallory', { uid: ['mallory', 'alice'], password: 'mine', keys: [key] });
  assert.equal(await byKey('alice'), null);
  assert.equal(await byPassword('alice', 'mine'), null);
  assert.equal(await byPassword('mallory', 'mine'), 'mallory');
});

test('threat 4: a tool is not found if two LDAP groups have its name', async () => {
  await alice();
  await addTool(slapd, 'hello', [personDn('alice')]);
  await slapd.add(`cn=TOOLS.other,ou=servicegroups,${BASE}`, {
    objectClass: ['groupOfNames', 'posixGroup'],
    ...{ cn: ['TOOLS.other', 'tools.hello'], gidNumber: '1', member: personDn('alice') },
  });
  assert.notEqual(await directory.findTool(hello, signal), null);
  const twin = `gidNumber=7,ou=servicegroups,${BASE}`;
  await slapd.add(twin, {
    objectClass: ['groupOfNames', 'posixGroup'],
    ...{ cn: 'tools.hello', gidNumber: '7', member: personDn('alice') },
  });
  assert.equal(await directory.findTool(hello, signal), null);
});

test('threat 5: LDAP referrals to another server are not followed', async () => {
  let connections = 0;
  const elsewhere = createServer((socket) => {
    connections += 1;
    socket.destroy();
  }).listen(0, '127.0.0.1');
  await once(elsewhere, 'listening');
  const { port } = elsewhere.address() as AddressInfo;
  await alice();
  await slapd.add(`ou=elsewhere,ou=people,${BASE}`, {
    objectClass: ['referral', 'extensibleObject'],
    ...{ ou: 'elsewhere', ref: `ldap://127.0.0.1:${port}/ou=people,${BASE}??sub` },
  });
  assert.equal(await byPassword('alice'), 'alice');
  assert.equal(await byPassword('mallory'), null);
  assert.equal(await byKey('git'), 'alice');
  const inside = await openOn(slapd, { ldap_people: `ou=people,ou=elsewhere,ou=people,${BASE}` });
  await assert.rejects(inside.identifyByPassword('alice', 'x', signal), { code: 'DIRECTORY_UNAVAILABLE' });
  await inside.close();
  assert.equal(connections, 0);
  // The referral stays in slapd, so the searches of the tests below find it too, and must ignore it.
  elsewhere.close();
});

test('threat 8: a maintainer who is removed from the tool’s LDAP group, or is disabled in LDAP, no longer counts as a maintainer', async () => {
  await alice();
  await addPerson(slapd, 'bob');
  await addTool(slapd, 'hello', [personDn('alice'), personDn('bob')]);
  const maintainers = async () => [...((await directory.findTool(hello, signal))?.maintainers ?? [])].sort();
  assert.deepEqual(await maintainers(), ['alice', 'bob']);
  await modify(personDn('bob'), 'replace', 'loginShell', '/usr/sbin/nologin');
  assert.deepEqual(await maintainers(), ['alice']);
  await modify(groupDn('hello'), 'delete', 'member', personDn('alice'));
  assert.deepEqual(await maintainers(), []);
});

test('threat 10: a user name means the same person with capital letters and with spaces around it', async () => {
  await addPerson(slapd, 'Bob', { keys: [key], password: 'correct horse' });
  await addTool(slapd, 'hello', [`UID=bob , OU=People,${BASE}`]);
  for (const login of ['bob', 'Bob', ' BOB ']) {
    assert.equal(await byKey(login), 'bob');
    assert.equal(await byPassword(login), 'bob');
    assert.deepEqual(await directory.toolsOf(login, signal), [hello]);
  }
  assert.deepEqual((await directory.findTool(hello, signal))?.maintainers, new Set(['bob']));
});

for (const cn of [
  'tools.../..',
  'tools.',
  'tools.a/b',
  'tools.UPPER',
  'tools.-x',
  'tools.a b',
  'hello',
  'tools.x\u0007',
]) {
  test(`threat 11: the LDAP group ${JSON.stringify(cn)} is not a tool`, async () => {
    await alice();
    await addTool(slapd, 'real', [personDn('alice')]);
    await slapd.add(`gidNumber=9,ou=servicegroups,${BASE}`, {
      objectClass: ['groupOfNames', 'posixGroup'],
      ...{ cn, gidNumber: '9', member: personDn('alice') },
    });
    assert.deepEqual(await directory.toolsOf('alice', signal), ['real']);
    assert.equal(await byKey(cn), null);
  });
}

const closed: readonly (readonly [string, Attributes])[] = [
  ['locked for good', { pwdAccountLockedTime: '000001010000Z' }],
  ['closed by the policy “disabled”', { pwdPolicySubentry: `cn=disabled,ou=ppolicies,${BASE}` }],
  ['closed by Toolforge’s shell for disabled tools', { loginShell: '/bin/disabledtoolshell' }],
  ['closed by the shell /bin/false', { loginShell: '/bin/false' }],
  ['closed by the shell nologin', { loginShell: '/usr/sbin/nologin' }],
  ['expired', { shadowExpire: String(Math.floor(Date.now() / DAY_MS) - 1) }],
];
for (const [name, attributes] of closed) {
  test(`threat 12: a person whose LDAP account is ${name} cannot log in, and is not a maintainer`, async () => {
    await alice(attributes);
    await addTool(slapd, 'hello', [personDn('alice')]);
    assert.equal(await byKey('alice'), null);
    assert.equal(await byKey('git'), null);
    assert.equal(await byKey('tools.hello'), null);
    assert.equal(await byPassword('alice'), null);
    assert.deepEqual(await directory.toolsOf('alice', signal), []);
    assert.deepEqual((await directory.findTool(hello, signal))?.maintainers, new Set());
  });

  test(`threat 12: a tool whose LDAP account is ${name} is disabled, and its own key and password give no access`, async () => {
    await addPerson(slapd, 'bob');
    await addTool(slapd, 'hello', [personDn('bob')]);
    await addAccount(slapd, 'hello', { keys: [key], password: 'correct horse', ...attributes });
    assert.equal((await directory.findTool(hello, signal))?.isDisabled, true);
    assert.equal(await byKey('tools.hello'), null);
    assert.equal(await byKey('git'), null);
    assert.equal(await byPassword('tools.hello'), null);
  });
}

for (const [state, attributes] of [
  ['expires tomorrow', { shadowExpire: String(Math.floor(Date.now() / DAY_MS) + 1) }],
  ['never expires', { shadowExpire: '-1' }],
  ['has another policy', { pwdPolicySubentry: `cn=default,ou=ppolicies,${BASE}` }],
] as const) {
  test(`a person can log in if their LDAP account ${state}`, async () => {
    await alice(attributes);
    assert.equal(await byKey('alice'), 'alice');
    assert.equal(await byPassword('alice'), 'alice');
  });
}

test('threat 203: wrong passwords lock the password of a person or tool in LDAP for a time, but neither their keys nor the tool', async () => {
  const policy = (type: string, value: string) =>
    modify(`cn=default,ou=ppolicies,${BASE}`, 'replace', type, value);
  const lockOf = (dn: string) =>
    slapd.edit(async (client) => {
      const { searchEntries } = await client.search(dn, {
        scope: 'base',
        attributes: ['pwdAccountLockedTime'],
      });
      return String(searchEntries[0]?.['pwdAccountLockedTime'] ?? '');
    });
  const robot = makeKey(folder, 'robot');
  await alice();
  await addTool(slapd, 'hello', [personDn('alice')]);
  await addAccount(slapd, 'hello', { keys: [robot], password: 'correct horse' });
  await policy('pwdLockoutDuration', '600');
  await policy('pwdMaxFailure', '5');
  try {
    for (const login of ['alice', 'tools.hello']) {
      for (let count = 0; count < 6; count += 1)
        assert.equal(await byPassword(login, `wrong ${count}`), null);
    }
    for (const dn of [personDn('alice'), accountDn('hello')]) assert.match(await lockOf(dn), /^20\d{12}Z$/);
    for (const login of ['alice', 'tools.hello', 'git']) assert.equal(await byKey(login), 'alice');
    assert.equal(await byKey('tools.hello', robot), 'tools.hello');
    assert.deepEqual(await directory.toolsOf('alice', signal), ['hello']);
    const tool = await directory.findTool(hello, signal);
    assert.deepEqual([tool?.isDisabled, [...(tool?.maintainers ?? [])]], [false, ['alice']]);
    for (const login of ['alice', 'tools.hello']) assert.equal(await byPassword(login), null);
    // When LDAP's lock has ended, the right password works again, and LDAP forgets the lock.
    await policy('pwdLockoutDuration', '1');
    while ((await byPassword('alice')) === null) await wait(200, undefined, { signal });
    assert.equal(await byPassword('tools.hello'), 'tools.hello');
    assert.equal(await lockOf(personDn('alice')), '');
    await modify(personDn('alice'), 'replace', 'pwdAccountLockedTime', '000001010000Z');
    assert.equal(await byKey('alice'), null);
    assert.equal(await byPassword('alice'), null);
  } finally {
    await policy('pwdMaxFailure', '1000');
    await policy('pwdLockoutDuration', '0');
  }
});

test('threat 13: invalid values of sshPublicKey do not hide a valid key, and give no access', async () => {
  const stranger = makeKey(folder, 'stranger');
  const bytes = Buffer.from([0xff, 0xfe, 0x00, 0x80]);
  await slapd.edit((client) =>
    client.add(personDn('alice'), [
      ...Object.entries({
        objectClass: ['inetOrgPerson', 'posixAccount', 'ldapPublicKey'],
        ...{
          cn: ['alice'],
          sn: ['alice'],
          uidNumber: ['1'],
          gidNumber: ['1'],
          homeDirectory: ['/home/alice'],
        },
      }).map(([type, values]) => new Attribute({ type, values })),
      new Attribute({
        type: 'sshPublicKey',
        values: [
          bytes,
          Buffer.from('ssh-ed25519'),
          Buffer.from('ssh-ed25519 AAAAgarbage'),
          Buffer.from(`from="10.0.0.1",command="id" ${stranger}`),
          Buffer.from(`# ${stranger}`),
          Buffer.from(`\n${'x'.repeat(100_000)}`),
          Buffer.from(`ssh-rsa ${stranger.split(' ')[1]}`),
          Buffer.concat([Buffer.from(`${key} `), bytes]),
        ],
      }),
    ]),
  );
  assert.equal(await byKey('alice'), 'alice');
  assert.equal(await byKey('git'), 'alice');
  assert.equal(await byKey('alice', stranger), null);
  assert.equal(await byKey('git', stranger), null);
});

test('threat 204: a person whose LDAP entry has 12,001 keys has no access, 20 refusals take less than 1 s of processor time, and other people can log in', async () => {
  const { log, lines } = collectLog();
  const watched = await openOn(slapd, {}, log);
  const eve = makeKey(folder, 'eve');
  await addPerson(slapd, 'eve', { keys: [eve, ...manyKeys(12_000)], password: 'correct horse' });
  await alice();
  await addTool(slapd, 'hello', [personDn('eve'), personDn('alice')]);
  const ask = async (login: string, line: string) =>
    await watched.identifyByKey(login, offered(line), signal);
  const refusal = { code: 'ENTRY_TOO_LARGE', message: /the entry of eve .* is too large/ };
  const before = process.threadCpuUsage();
  for (let count = 0; count < 20; count += 1) await assert.rejects(ask('eve', eve), refusal);
  const { user, system } = process.threadCpuUsage(before);
  await assert.rejects(watched.identifyByPassword('eve', 'correct horse', signal), refusal);
  for (const login of ['alice', 'git', 'tools.hello']) assert.equal((await ask(login, key))?.uid, 'alice');
  for (const login of ['git', 'tools.hello']) assert.equal(await ask(login, eve), null);
  assert.deepEqual((await watched.findTool(hello, signal))?.maintainers, new Set(['alice']));
  const told = lines.filter(({ msg }) => String(msg).includes('too large or has too many keys'));
  assert.deepEqual(
    told.map(({ dn }) => dn),
    [personDn('eve')],
  );
  assert.ok(user + system < 1_000_000, `20 refusals took ${user + system} µs`);
  await watched.close();
});

test('threat 204: a person with 200 keys in LDAP can log in, and a person with 201 keys is refused', async () => {
  await alice({ sshPublicKey: [key, ...manyKeys(199)] });
  await addPerson(slapd, 'eve', { keys: [makeKey(folder, 'eve2'), ...manyKeys(200)] });
  assert.equal(await byKey('alice'), 'alice');
  await assert.rejects(byKey('eve'), { code: 'ENTRY_TOO_LARGE' });
});

// In each pair, slapd keeps the names apart. JavaScript's lower case or `trim` would make them equal.
for (const [name, other] of [
  ['ΑΣ', 'ας'],
  ['ᲐᲑ', 'აბ'],
] as const) {
  test(`threat 257: the people ${name} and ${other}, whom LDAP keeps apart, are two people for the server`, async () => {
    await addPerson(slapd, name, { password: 'correct horse' });
    await addPerson(slapd, other, { password: 'battery staple' });
    await addTool(slapd, 'hello', [personDn(name)]);
    const logIn = async (login: string, password: string) =>
      (await directory.identifyByPassword(login, password, signal))?.uid ?? null;
    const [uid, otherUid] = [await logIn(name, 'correct horse'), await logIn(other, 'battery staple')];
    assert.ok(uid !== null && otherUid !== null);
    assert.notEqual(uid, otherUid);
    assert.equal(await logIn(name, 'battery staple'), null);
    assert.deepEqual((await directory.findTool(hello, signal))?.maintainers, new Set([uid]));
    assert.deepEqual(await directory.toolsOf(uid, signal), [hello]);
    assert.deepEqual(await directory.toolsOf(otherUid, signal), []);
  });
}

/** Returns `count` different public keys that have no private keys. */
function manyKeys(count: number): string[] {
  const [, base64 = ''] = key.split(' ');
  return Array.from({ length: count }, (_, index) => {
    const blob = Buffer.from(base64, 'base64');
    blob.writeUInt32BE(index, blob.length - 4);
    return `ssh-ed25519 ${blob.toString('base64')} eve@laptop`;
  });
}

function collectLog() {
  const lines: Record<string, unknown>[] = [];
  const write = (line: unknown, _encoding: unknown, done: () => void) => {
    lines.push(JSON.parse(String(line)));
    done();
  };
  return { lines, log: pino({ base: null }, new Writable({ write })) };
}

async function modify(
  dn: string,
  operation: 'add' | 'delete' | 'replace',
  type: string,
  value: string,
): Promise<void> {
  // A groupOfNames needs at least one member, so the group itself becomes a member before another is deleted.
  const fill =
    operation === 'delete'
      ? [new Change({ operation: 'add', modification: new Attribute({ type, values: [dn] }) })]
      : [];
  await slapd.edit((client) =>
    client.modify(dn, [
      ...fill,
      new Change({ operation, modification: new Attribute({ type, values: [value] }) }),
    ]),
  );
}
