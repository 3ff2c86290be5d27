import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readDn } from '../../../src/auth/ldap/ldap-dn.ts';

for (const [name, one, other] of [
  ['capital letters and spaces', 'UID=Alice , OU=People,DC=example', 'uid=alice,ou=people,dc=example'],
  ['an escaped comma', 'cn=Smith\\, A,dc=x', 'cn=Smith\\2C A,dc=x'],
  ['UTF-8 in hexadecimal', 'uid=bj\\C3\\B6rn,dc=x', 'uid=björn,dc=x'],
  ['an umlaut as a letter and an accent', 'uid=bjo\u0308rn,dc=x', 'uid=björn,dc=x'],
  ['the order of two names joined by +', 'cn=A+uid=b,dc=x', 'uid=b+cn=a,dc=x'],
  ['repeated spaces', 'cn=a   b,dc=x', 'cn=a b,dc=x'],
] as const) {
  test(`threat 3: two spellings of one distinguished name count as equal: ${name}`, () => {
    assert.notEqual(readDn(one), null);
    assert.equal(readDn(one)?.key, readDn(other)?.key);
  });
}

for (const [one, other] of [
  ['uid=alice\\,ou=people,dc=x', 'uid=alice,ou=people,dc=x'],
  ['uid=a\\+cn=b,dc=x', 'uid=a+cn=b,dc=x'],
  ['uid=a\\\\2Cou=b,dc=x', 'uid=a\\2Cou=b,dc=x'],
  ['uid=a,ou=b,dc=x', 'uid=a,dc=x'],
] as const) {
  test(`threat 3: the distinguished names ${one} and ${other} are different`, () =>
    assert.notEqual(readDn(one)?.key, readDn(other)?.key));
}

for (const text of [
  '',
  'alice',
  'uid=',
  'uid=a,',
  ',uid=a',
  'uid=a;dc=x',
  'uid=#0401,dc=x',
  'uid="a",dc=x',
  'uid=a\\',
  'u id=a',
  'uid=a\\zz',
]) {
  test(`threat 3: ${JSON.stringify(text)} is refused as a distinguished name`, () =>
    assert.equal(readDn(text), null));
}

test('splitting a distinguished name gives its first part without escapes, and the parent’s name', () => {
  const dn = readDn('cn=Smith\\, \\22A\\22 \\3D,ou=people,dc=x');
  assert.deepEqual(dn?.first, [{ attribute: 'cn', value: 'Smith, "A" =' }]);
  assert.equal(dn?.parentKey, readDn('OU=People,DC=X')?.key);
});
