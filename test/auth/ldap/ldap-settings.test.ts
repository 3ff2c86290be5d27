import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { readLdapSettings } from '../../../src/auth/ldap/ldap-settings.ts';
import { environmentName, readConfig } from '../../../src/config.ts';

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ldap-settings-'));
  await writeFile(join(folder, 'empty'), '\nsecond line\n');
  await writeFile(join(folder, 'secret'), 'secret\n');
});
after(() => rm(folder, { recursive: true }));

const ldaps = { ldap_servers: 'ldaps://ldap.example.org' };
async function read(given: Readonly<Record<string, string>>) {
  const named = Object.entries(given).map(([name, value]) => [
    environmentName(name),
    value.replace('FOLDER', folder),
  ]);
  return await readLdapSettings(readConfig(Object.fromEntries(named)));
}

test('the defaults of the LDAP settings are those of Toolforge', async () => {
  const settings = await read(ldaps);
  assert.deepEqual(settings.servers, [{ host: 'ldap.example.org', port: 636, security: 'tls' }]);
  assert.equal(settings.people.base, 'ou=people,dc=wikimedia,dc=org');
  assert.equal(settings.people.attribute, 'uid');
  assert.equal(settings.tools.base, 'ou=servicegroups,dc=wikimedia,dc=org');
  assert.equal(settings.tools.prefix, 'tools.');
  assert.equal(settings.toolAccounts, 'ou=people,ou=servicegroups,dc=wikimedia,dc=org');
  assert.deepEqual([settings.limitMs, settings.cacheMs], [5000, 60_000]);
});

test('ldap_servers takes several servers, with ports and IP addresses', async () => {
  const { servers } = await read({ ldap_servers: 'ldaps://[2001:db8::1]:6360/ ldap://b.example.org' });
  assert.deepEqual(servers, [
    { host: '2001:db8::1', port: 6360, security: 'tls' },
    { host: 'b.example.org', port: 389, security: 'starttls' },
  ]);
});

test('threat 7: without TLS, only LDAP servers on this machine are allowed, unless ldap_plain is set', async () => {
  const off = { ldap_starttls: 'false' };
  const refusal = read({ ldap_servers: 'ldaps://a.example.org ldap://b.example.org', ...off });
  await assert.rejects(refusal, { code: 'BAD_SETTING', message: /unencrypted to ldap:\/\/b\.example\.org/ });
  await assert.rejects(read({ ldap_servers: 'ldap://127.example.org', ...off }), { code: 'BAD_SETTING' });
  for (const given of [
    { ldap_servers: 'ldap://127.0.0.1', ...off },
    { ldap_servers: 'ldap://[::1]', ...off },
    { ldap_servers: 'ldap://b.example.org', ...off, ldap_plain: 'true' },
  ]) {
    assert.equal((await read(given)).servers[0]?.security, 'plain');
  }
});

for (const [name, given, message] of [
  ['an empty ldap_servers', {}, /ldap_servers is empty/],
  [
    'a server with an https: address',
    { ldap_servers: 'https://a' },
    /"https:\/\/a", which is not the address of an LDAP server/,
  ],
  [
    'a server without ldaps: or ldap: before its name',
    { ldap_servers: 'ldap.example.org' },
    /not the address of an LDAP server/,
  ],
  ['a server with a path', { ldap_servers: 'ldaps://a/dc=x??sub' }, /not the address of an LDAP server/],
  ['a server with a password', { ldap_servers: 'ldaps://cn:pw@a' }, /not the address of an LDAP server/],
  ['a missing CA file', { ...ldaps, ldap_ca: '/nowhere.pem' }, /\/nowhere\.pem .*ldap_ca.*ENOENT/],
  ['an empty CA file', { ...ldaps, ldap_ca: 'FOLDER/empty' }, /ldap_ca holds no certificate/],
  ['a CA file without a certificate', { ...ldaps, ldap_ca: 'FOLDER/secret' }, /ldap_ca holds no certificate/],
  [
    'ldap_bind_dn without ldap_bind_password_file',
    { ...ldaps, ldap_bind_dn: 'cn=reader,dc=x' },
    /only one of the settings/,
  ],
  [
    'ldap_bind_password_file without ldap_bind_dn',
    { ...ldaps, ldap_bind_password_file: 'FOLDER/secret' },
    /only one of the settings/,
  ],
  [
    'threat 1: an empty password for ldap_bind_dn',
    { ...ldaps, ldap_bind_dn: 'cn=reader,dc=x', ldap_bind_password_file: 'FOLDER/empty' },
    /empty first line/,
  ],
  [
    'a search base that is not a distinguished name',
    { ...ldaps, ldap_people: 'people' },
    /ldap_people is "people"/,
  ],
  ['an invalid search filter', { ...ldaps, ldap_tools_filter: '(cn=a' }, /ldap_tools_filter/],
] as const) {
  test(`${name} is refused as an LDAP setting, with the reason`, async () => {
    await assert.rejects(read(given), { name: 'DeployError', code: 'BAD_SETTING', message });
  });
}

test('threat 8: ldap_cache_time is at most 60 s', () => {
  const name = environmentName('ldap_cache_time');
  assert.equal(readConfig({ [name]: '60' }).ldap_cache_time, 60_000);
  assert.throws(() => readConfig({ [name]: '61' }), { code: 'BAD_SETTING' });
});

test('threat 6: ldap_time is at most 5 s', () => {
  assert.throws(() => readConfig({ [environmentName('ldap_time')]: '6' }), { code: 'BAD_SETTING' });
});
