import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Directory } from '../../../src/auth/directory.ts';
import { countValues } from '../../../src/auth/ldap/values-read.ts';
import { toolName } from '../../../src/core/names.ts';
import { makeKey, offered, openOn } from '../../support/slapd/directory.ts';
import { addPerson, addTool, personDn } from '../../support/slapd/people.ts';
import { TestSlapd } from '../../support/slapd/slapd.ts';

const signal = AbortSignal.timeout(120_000);
const tool = (name: string) => toolName(name) ?? assert.fail();
let folder: string;
let slapd: TestSlapd;
let directory: Directory;
let key: string;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ldap-crowd-'));
  key = makeKey(folder, 'alice');
  slapd = await TestSlapd.start();
  directory = await openOn(slapd);
  await addPerson(slapd, 'alice', { keys: [key] });
});
after(async () => {
  await directory.close();
  await slapd[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

test('threat 6: while LDAP is searched for the members of four tools with 10,000 members each, people can log in', async () => {
  const members = Array.from({ length: 9999 }, (_, index) => personDn(`gone${index}`));
  const names = ['one', 'two', 'three', 'four'].map((name) => `crowd-${name}`);
  for (const name of names) await addTool(slapd, name, [...members, personDn('alice')]);
  const crowds = names.map((name) => directory.findTool(tool(name), signal));
  const logins = Array.from({ length: 20 }, () => directory.identifyByKey('alice', offered(key), signal));
  for (const identity of await Promise.all(logins)) assert.equal(identity?.uid, 'alice');
  for (const crowd of await Promise.all(crowds)) assert.deepEqual([...(crowd?.maintainers ?? [])], ['alice']);
  // Threat 131: how long a person’s next question waits depends on the number of values read, so all values must count.
  const read = { values: 0 };
  await countValues(read, () => directory.findTool(tool('crowd-one'), signal));
  assert.ok(read.values > 10_000, `${read.values} values`);
});
