import assert from 'node:assert/strict';
import { test } from 'node:test';
import { execa } from 'execa';
import { changeConfigVars } from '../../../src/core/variables/config-changes.ts';
import { wikibot } from '../../support/store-records.ts';
import { Place } from '../place.ts';

const MIB = 1024 * 1024;

test('threat 83: config vars of a tool that are longer than 524,288 bytes together are refused', () => {
  const value = 'x'.repeat(32 * 1024);
  const changes = Object.fromEntries(Array.from({ length: 20 }, (_, index) => [`V${index}`, value]));
  assert.throws(() => changeConfigVars({}, changes), /together are longer than 524288 bytes/);
});

test('threat 190: config vars of half a megabyte may consist of quotes, backslashes, newlines or tabs, but not of other control characters', () => {
  const full = (character: string) =>
    Object.fromEntries(Array.from({ length: 15 }, (_, index) => [`V${index}`, character.repeat(32 * 1024)]));
  for (const character of ['"', '\\', '\n', '\t'])
    assert.deepEqual(changeConfigVars({}, full(character)), full(character));
  assert.throws(() => changeConfigVars({}, full('\x01')), /the config vars have too many control characters/);
});

test('threat 83: if somebody changes config vars of a tool again and again, the server refuses changes after 64 MiB in 24 hours, and the tool stays live', async () => {
  await using place = await Place.make();
  const { line } = await place.start();
  place.builder.may.resolve();
  const one = await place.park('p1');
  await (await line.submit(one)).verdict;
  const large = Object.fromEntries(
    Array.from({ length: 15 }, (_, index) => [`V${index}`, 'x'.repeat(32 * 1024)]),
  );
  await line.configure(wikibot, large, one.principal)?.verdict;
  let refused: string | null = null;
  for (let count = 0; count < 200 && refused === null; count++) {
    const verdict = await line.configure(wikibot, { SMALL: String(count) }, one.principal)?.verdict;
    if (verdict?.isLive === false) refused = verdict.reason;
  }
  const { stdout } = await execa('du', ['-s', '-k', place.folder]);
  const used = Number.parseInt(stdout, 10) * 1024;
  assert.ok(used < 170 * MIB, `${Math.round(used / MIB)} MiB of disk`);
  assert.match(refused ?? 'never refused', /64 MiB of config vars and commands in 24 hours/);
  // The live release stays live, and a restart still works because it makes no release.
  assert.equal((await line.restart(wikibot, one.principal).verdict).isLive, true);
});
