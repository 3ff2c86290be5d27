import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { DeploymentLogs } from '../../src/deploy/deployment-log.ts';
import { ToldLines } from '../../src/deploy/told-lines.ts';
import { wikibot } from '../support/store-records.ts';

const folder = mkdtempSync(join(tmpdir(), 'told-'));
after(() => rmSync(folder, { recursive: true }));
let count = 0;
function file(text: string): string {
  const path = join(folder, `${count++}.log`);
  writeFileSync(path, text);
  return path;
}

for (const { name, log, again, untold } of [
  { name: 'nothing was told', log: [], again: ['a', 'b'], untold: ['a', 'b'] },
  { name: 'a beginning was told', log: ['a', 'b'], again: ['a', 'b', 'c'], untold: ['c'] },
  { name: 'lines repeat', log: ['a', 'b', 'a'], again: ['a', 'b', 'a', 'b', 'a'], untold: ['b', 'a'] },
  { name: 'empty lines count', log: ['a', '', 'b'], again: ['a', '', 'b', '', 'c'], untold: ['', 'c'] },
  {
    name: 'others spoke between',
    log: ['push of alice', 'a', 'still running', 'b', 'bob joined', 'stopped'],
    again: ['a', 'b', 'c'],
    untold: ['c'],
  },
  {
    name: 'a line has other words now',
    log: ['limit 10 min', 'a', 'b'],
    again: ['limit 20 min', 'a', 'b', 'c'],
    untold: ['limit 20 min', 'c'],
  },
  { name: 'letters beyond ASCII', log: ['ä 🦊'], again: ['ä 🦊', 'ä 🐺'], untold: ['ä 🐺'] },
]) {
  test(`what is told again where ${name}`, async () => {
    const told = await ToldLines.read(file(log.map((line) => `${line}\n`).join('')));
    assert.equal(
      again.map((line) => told.untold(`${line}\n`)).join(''),
      untold.map((line) => `${line}\n`).join(''),
    );
  });
}

test('several lines at once are passed over one by one', async () => {
  const told = await ToldLines.read(file('a\nb\n'));
  assert.equal(told.untold('a\nb\nc\n'), 'c\n');
});

test('half a line at the end of the log is told whole', async () => {
  const path = file('ä one\nä tw');
  const told = await ToldLines.read(path);
  assert.equal(readFileSync(path, 'utf8'), 'ä one\n');
  assert.equal(told.untold('ä one\nä two\n'), 'ä two\n');
});

test('a log that is not there has told nothing', async () => {
  const told = await ToldLines.read(join(folder, 'none.log'));
  assert.equal(told.untold('a\n'), 'a\n');
});

test('a log that is opened again gives its readers what it had, and then what is new', async () => {
  const logs = new DeploymentLogs(folder);
  const first = logs.open(wikibot, 'd1');
  first.progress.step('Building');
  first.progress.line('one\ntwo');
  logs.end('d1');
  const { log, again } = await new DeploymentLogs(folder).reopen(wikibot, 'd1');
  assert.equal(log.bytes, '-----> Building\n       one\n       two\n'.length);
  again.step('Building');
  again.line('one\ntwo');
  log.progress.warn('beside');
  again.line('three');
  log.end();
  assert.equal(
    readFileSync(logs.path(wikibot, 'd1'), 'utf8'),
    '-----> Building\n       one\n       two\n !     beside\n       three\n',
  );
});

test('threat 55: a log that was made to be hard to look through holds nobody up', async () => {
  const told = await ToldLines.read(file('\n'.repeat(5_000_000)));
  const began = performance.now();
  for (let count = 0; count < 20_000; count += 1) assert.notEqual(told.untold(`new ${count}\n`), '');
  const tookMs = performance.now() - began;
  assert.ok(tookMs < 10_000, `${tookMs} ms`);
});

test('of a log with very many lines the newest count', async () => {
  const told = await ToldLines.read(file(`first\n${'x\n'.repeat(9_000_000)}last\n`));
  assert.equal(told.untold('first\nlast\nnew\n'), 'first\nnew\n');
});
