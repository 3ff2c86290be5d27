import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import type { Directory, Identity } from '../../../src/auth/directory.ts';
import { type ToolName, toolName } from '../../../src/core/names.ts';
import { makeKey, offered, openOn } from '../../support/slapd/directory.ts';
import { accountDn, addAccount, addPerson, addTool, groupDn, personDn } from '../../support/slapd/people.ts';
import { BASE, TestSlapd } from '../../support/slapd/slapd.ts';

const signal = AbortSignal.timeout(120_000);
const tool = (name: string): ToolName => toolName(name) ?? assert.fail();
let folder: string;
let slapd: TestSlapd;
let directory: Directory;
let alices: string;
let bobs: string;
let tools: string;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ldap-tools-'));
  [alices, bobs, tools] = ['alice', 'bob', 'tool'].map((name) => makeKey(folder, name)) as [
    string,
    string,
    string,
  ];
  slapd = await TestSlapd.start();
  directory = await openOn(slapd);
});
after(async () => {
  await directory.close();
  await slapd[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});
beforeEach(async () => {
  await slapd.clear();
  await addPerson(slapd, 'alice', { keys: [alices], password: 'correct horse' });
  await addPerson(slapd, 'bob', { keys: [bobs] });
});

const maintainers = async (name: string) =>
  [...((await directory.findTool(tool(name), signal))?.maintainers ?? [])].sort();
const byKey = (login: string, line: string): Promise<Identity | null> =>
  directory.identifyByKey(login, offered(line), signal);

for (const [form, member] of [
  ['its account', accountDn('inner')],
  ['its account, named by cn', `cn=tools.inner,ou=people,ou=servicegroups,${BASE}`],
  ['its group', groupDn('inner')],
  ['its account, in capitals', `UID=Tools.INNER,ou=people,ou=servicegroups,${BASE}`],
] as const) {
  test(`if a tool is a member of another tool (by ${form}), the maintainers of the member also maintain the other tool`, async () => {
    await addTool(slapd, 'outer', [personDn('alice'), member]);
    await addTool(slapd, 'inner', [personDn('bob')]);
    assert.deepEqual(await maintainers('outer'), ['alice', 'bob']);
    assert.deepEqual(await maintainers('inner'), ['bob']);
    assert.deepEqual(await directory.toolsOf('bob', signal), ['inner', 'outer']);
    assert.deepEqual(await directory.toolsOf('alice', signal), ['outer']);
    assert.deepEqual(await byKey('tools.outer', bobs), { uid: 'bob', onlyTool: null });
    assert.equal(await byKey('tools.inner', alices), null);
  });
}

test('tools that are members of each other do not cause an endless search', async () => {
  await addTool(slapd, 'a', [accountDn('b'), accountDn('a'), personDn('alice')]);
  await addTool(slapd, 'b', [accountDn('c')]);
  await addTool(slapd, 'c', [accountDn('a'), personDn('bob')]);
  for (const name of ['a', 'b', 'c']) assert.deepEqual(await maintainers(name), ['alice', 'bob']);
  assert.deepEqual(await directory.toolsOf('alice', signal), ['a', 'b', 'c']);
});

test('in a chain of tools that are each a member of the next tool, a maintainer of the first tool maintains the tool seven steps further, but not the tool twelve steps further', async () => {
  const last = 12;
  for (let at = 0; at < last; at += 1) await addTool(slapd, `t${at}`, [accountDn(`t${at + 1}`)]);
  await addTool(slapd, `t${last}`, [personDn('alice')]);
  assert.deepEqual(await maintainers(`t${last - 7}`), ['alice']);
  assert.deepEqual(await maintainers('t0'), []);
});

test('threat 12: the maintainers of a disabled tool do not maintain a tool of which the disabled tool is a member', async () => {
  await addTool(slapd, 'outer', [accountDn('inner')]);
  await addTool(slapd, 'inner', [personDn('bob')]);
  await addAccount(slapd, 'inner', { loginShell: '/bin/disabledtoolshell' });
  assert.deepEqual(await maintainers('outer'), []);
  assert.deepEqual(await directory.toolsOf('bob', signal), ['inner']);
});

test('members of a tool that are missing, are in another LDAP tree or have invalid names are ignored', async () => {
  await slapd.add(`uid=alice,ou=profile,${BASE}`, { objectClass: 'account', uid: 'alice' });
  await addTool(slapd, 'hello', [
    `uid=alice,ou=profile,${BASE}`,
    `uid=alice,uid=bob,ou=people,${BASE}`,
    personDn('nobody'),
    accountDn('nothing'),
    `cn=project-tools,ou=groups,${BASE}`,
    BASE,
  ]);
  assert.deepEqual(await maintainers('hello'), []);
  await slapd.edit((client) => client.del(`uid=alice,ou=profile,${BASE}`));
});

test('all 230 maintainers of a tool are found in LDAP', async () => {
  const names = Array.from({ length: 230 }, (_, at) => `person${at}`);
  await Promise.all(names.map((name) => addPerson(slapd, name)));
  await addTool(slapd, 'big', names.map(personDn));
  assert.deepEqual(await maintainers('big'), names.toSorted());
});

test('a tool’s own key logs in as the tool, and gives access only to that tool', async () => {
  await addTool(slapd, 'hello', [personDn('alice')]);
  await addAccount(slapd, 'hello', { keys: ['garbage', tools] });
  const itself = { uid: 'tools.hello', onlyTool: tool('hello') };
  assert.deepEqual(await byKey('tools.hello', tools), itself);
  assert.deepEqual(await byKey('tool.hello', tools), itself);
  assert.deepEqual(await byKey('git', tools), itself);
  assert.equal(await byKey('alice', tools), null);
  assert.deepEqual(await byKey('tools.hello', alices), { uid: 'alice', onlyTool: null });
  assert.equal(await byKey('tools.hello', bobs), null);
  assert.deepEqual(await directory.toolsOf('tools.hello', signal), ['hello']);
  assert.deepEqual(await directory.toolsOf('tools.nowhere', signal), []);
});

test('a key that a tool shares with a maintainer counts as the maintainer’s key', async () => {
  await addTool(slapd, 'hello', [personDn('alice')]);
  await addAccount(slapd, 'hello', { keys: [alices] });
  assert.deepEqual(await byKey('tools.hello', alices), { uid: 'alice', onlyTool: null });
  assert.deepEqual(await byKey('git', alices), { uid: 'alice', onlyTool: null });
});

test('a key that belongs to two tools cannot log in as git, but can log in with the login name of either tool', async () => {
  for (const name of ['one', 'two']) {
    await addTool(slapd, name, [personDn('alice')]);
    await addAccount(slapd, name, { keys: [tools] });
  }
  assert.equal(await byKey('git', tools), null);
  assert.equal((await byKey('tools.two', tools))?.onlyTool, 'two');
});

test('a tool’s own password logs in as the tool, and a maintainer’s password does not', async () => {
  await addTool(slapd, 'hello', [personDn('alice')]);
  await addAccount(slapd, 'hello', { password: 'battery staple' });
  const byPassword = (login: string, password: string) =>
    directory.identifyByPassword(login, password, signal);
  assert.deepEqual(await byPassword('tools.hello', 'battery staple'), {
    uid: 'tools.hello',
    onlyTool: tool('hello'),
  });
  assert.equal(await byPassword('tools.hello', 'correct horse'), null);
  assert.equal(await byPassword('tools.hello', ''), null);
  assert.equal(await byPassword('git', 'battery staple'), null);
});

test('a tool account in LDAP without a group is not a tool', async () => {
  await addAccount(slapd, 'orphan', { keys: [tools], password: 'battery staple' });
  assert.equal(await directory.findTool(tool('orphan'), signal), null);
  assert.equal(await byKey('tools.orphan', tools), null);
  assert.equal(await byKey('git', tools), null);
  assert.equal(await directory.identifyByPassword('tools.orphan', 'battery staple', signal), null);
});

test('all people and tools are found, even if the LDAP server returns only a part at a time', async () => {
  const count = 600;
  await slapd.edit(async (client) => {
    const entry = {
      objectClass: ['inetOrgPerson', 'posixAccount', 'ldapPublicKey'],
      sn: 'x',
      gidNumber: '1',
    };
    const group = { objectClass: ['groupOfNames', 'posixGroup'], gidNumber: '1', member: personDn('bob') };
    await Promise.all(
      Array.from({ length: count }, async (_, at) => {
        const more = {
          cn: 'x',
          uidNumber: '1',
          homeDirectory: '/home/x',
          sshPublicKey: `ssh-rsa AAAA ${at}`,
        };
        await client.add(personDn(`person${at}`), { ...entry, ...more });
        await client.add(groupDn(`tool${at}`), group);
      }),
    );
  });
  await addPerson(slapd, 'zoe', { keys: [tools] });
  const [toolsOfBob, ...owners] = await Promise.all([
    directory.toolsOf('bob', signal),
    byKey('git', tools),
    byKey('git', bobs),
    byKey('git', alices),
  ]);
  assert.equal(toolsOfBob.length, count);
  assert.deepEqual(
    owners.map((owner) => owner?.uid),
    ['zoe', 'bob', 'alice'],
  );
});

test('the key of a person who was deleted from LDAP cannot log in as git, even if the server’s index of keys still has the key', async () => {
  const remembering = await openOn(slapd, { ldap_cache_time: '60' });
  assert.equal((await remembering.identifyByKey('git', offered(alices), signal))?.uid, 'alice');
  await slapd.edit((client) => client.del(personDn('bob')));
  assert.equal(await remembering.identifyByKey('git', offered(bobs), signal), null);
  await remembering.close();
});

test('a person’s list of tools and a tool’s list of maintainers agree: both follow a chain of member tools over eight steps, but not over nine', async () => {
  const chain = Array.from({ length: 10 }, (_, step) => `step${step}`);
  for (const [step, name] of chain.entries()) {
    const inner = chain[step + 1];
    await addTool(slapd, name, inner === undefined ? [personDn('bob')] : [personDn('alice'), groupDn(inner)]);
  }
  const bobs = await directory.toolsOf('bob', signal);
  assert.deepEqual(bobs, chain.slice(1));
  for (const name of chain) {
    const isMaintainer = (await maintainers(name)).includes('bob');
    assert.equal(isMaintainer, bobs.includes(tool(name)), name);
  }
});

test('LDAP settings can describe another LDAP tree, with its own search bases, filters and login attribute, and without a prefix before the names of tools', async () => {
  await slapd.add(`ou=staff,${BASE}`, { objectClass: 'organizationalUnit', ou: 'staff' });
  await slapd.add(`ou=projects,${BASE}`, { objectClass: 'organizationalUnit', ou: 'projects' });
  const carol = `cn=Carol,ou=staff,${BASE}`;
  const person = { objectClass: ['inetOrgPerson', 'ldapPublicKey'], sn: 'C', uid: 'x1' };
  await slapd.add(carol, { ...person, mail: 'carol', sshPublicKey: tools, userPassword: 'correct horse' });
  await slapd.add(`cn=wiki,ou=projects,${BASE}`, { objectClass: 'groupOfNames', member: carol });
  const other = await openOn(slapd, {
    ldap_people: `ou=staff,${BASE}`,
    ldap_people_filter: '(&(objectClass=inetOrgPerson)(!(employeeType=bot)))',
    ldap_login_attribute: 'mail',
    ldap_tools: `ou=projects,${BASE}`,
    ldap_tools_filter: 'objectClass=groupOfNames',
    ldap_tool_prefix: '',
    ldap_tool_accounts: '',
  });
  assert.deepEqual((await other.findTool(tool('wiki'), signal))?.maintainers, new Set(['carol']));
  assert.equal((await other.identifyByKey('tools.wiki', offered(tools), signal))?.uid, 'carol');
  assert.equal((await other.identifyByPassword('carol', 'correct horse', signal))?.uid, 'carol');
  assert.deepEqual(await other.toolsOf('carol', signal), ['wiki']);
  await other.close();
});
