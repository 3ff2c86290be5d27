import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { Attribute, Change } from 'ldapts';
import type { Directory } from '../../../src/auth/directory.ts';
import { toolName } from '../../../src/core/names.ts';
import { makeKey, offered, openOn } from '../../support/slapd/directory.ts';
import { addAccount, addPerson, addTool, groupDn, personDn } from '../../support/slapd/people.ts';
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

test('threat 8: a maintainer who is removed or disabled in LDAP no longer counts as a maintainer', async () => {
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
  ['locked since yesterday', { pwdAccountLockedTime: stamp(Date.now() - DAY_MS) }],
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

for (const [name, attributes] of [
  ['expires tomorrow', { shadowExpire: String(Math.floor(Date.now() / DAY_MS) + 1) }],
  ['never expires', { shadowExpire: '-1' }],
  ['has another policy', { pwdPolicySubentry: `cn=default,ou=ppolicies,${BASE}` }],
] as const) {
  test(`a person can log in if their LDAP account ${name}`, async () => {
    await alice(attributes);
    assert.equal(await byKey('alice'), 'alice');
    assert.equal(await byPassword('alice'), 'alice');
  });
}

test('threat 12: a temporary lock of an LDAP account ends after ldap_lockout_time, and a permanent lock does not', async () => {
  const patient = await openOn(slapd, { ldap_lockout_time: '600' });
  const asked = () => patient.identifyByKey('alice', offered(key), signal);
  await alice({ pwdAccountLockedTime: stamp(Date.now() - 300_000) });
  assert.equal(await asked(), null);
  await modify(personDn('alice'), 'replace', 'pwdAccountLockedTime', stamp(Date.now() - 700_000));
  assert.equal((await asked())?.uid, 'alice');
  await modify(personDn('alice'), 'replace', 'pwdAccountLockedTime', '000001010000Z');
  assert.equal(await asked(), null);
  await patient.close();
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

/** A time in milliseconds since 1970, as LDAP writes it. See RFC 4517, 3.3.13. */
function stamp(at: number): string {
  return `${new Date(at).toISOString().replace(/[-:T]/g, '').slice(0, 14)}Z`;
}
