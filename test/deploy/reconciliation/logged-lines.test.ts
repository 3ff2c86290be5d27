import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { DeploymentLogs } from '../../../src/deploy/deployment-log.ts';
import { LoggedLines } from '../../../src/deploy/reconciliation/logged-lines.ts';
import { wikibot } from '../../support/store-records.ts';

const folder = mkdtempSync(join(tmpdir(), 'told-'));
after(() => rmSync(folder, { recursive: true }));
let count = 0;
function file(text: string): string {
  const path = join(folder, `${count++}.log`);
  writeFileSync(path, text);
  return path;
}

for (const { name, log, again, untold } of [
  { name: 'the log is empty', log: [], again: ['a', 'b'], untold: ['a', 'b'] },
  { name: 'the log has the first lines', log: ['a', 'b'], again: ['a', 'b', 'c'], untold: ['c'] },
  { name: 'lines repeat', log: ['a', 'b', 'a'], again: ['a', 'b', 'a', 'b', 'a'], untold: ['b', 'a'] },
  { name: 'some lines are empty', log: ['a', '', 'b'], again: ['a', '', 'b', '', 'c'], untold: ['', 'c'] },
  {
    name: 'the log has other lines in between',
    log: ['push of alice', 'a', 'still running', 'b', 'bob joined', 'stopped'],
    again: ['a', 'b', 'c'],
    untold: ['c'],
  },
  {
    name: 'a line has changed',
    log: ['limit 10 min', 'a', 'b'],
    again: ['limit 20 min', 'a', 'b', 'c'],
    untold: ['limit 20 min', 'c'],
  },
  { name: 'lines are not ASCII', log: ['ä 🦊'], again: ['ä 🦊', 'ä 🐺'], untold: ['ä 🐺'] },
]) {
  test(`a resumed build adds exactly the lines that its log lacks: ${name}`, async () => {
    const told = await LoggedLines.read(file(log.map((line) => `${line}\n`).join('')));
    assert.equal(
      again.map((line) => told.untold(`${line}\n`)).join(''),
      untold.map((line) => `${line}\n`).join(''),
    );
  });
}

test('if a resumed build writes several lines at once, each line is compared with the log', async () => {
  const told = await LoggedLines.read(file('a\nb\n'));
  assert.equal(told.untold('a\nb\nc\n'), 'c\n');
});

test('if the last line of a log is incomplete, a resumed build replaces it by the whole line', async () => {
  const path = file('ä one\nä tw');
  const told = await LoggedLines.read(path);
  assert.equal(readFileSync(path, 'utf8'), 'ä one\n');
  assert.equal(told.untold('ä one\nä two\n'), 'ä two\n');
});

test('if the log of a resumed build is missing, it counts as empty', async () => {
  const told = await LoggedLines.read(join(folder, 'none.log'));
  assert.equal(told.untold('a\n'), 'a\n');
});

test('a deployment log that is opened again keeps its lines and gets only new lines', async () => {
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

test('threat 55: 20,000 lines of a resumed build are compared with a log of 5,000,000 empty lines within 10 s', async () => {
  const told = await LoggedLines.read(file('\n'.repeat(5_000_000)));
  const began = performance.now();
  for (let count = 0; count < 20_000; count += 1) assert.notEqual(told.untold(`new ${count}\n`), '');
  const tookMs = performance.now() - began;
  assert.ok(tookMs < 10_000, `${tookMs} ms`);
});

test('the output of a resumed build is compared only with the newest lines of a very long log, so an old line appears twice', async () => {
  const told = await LoggedLines.read(file(`first\n${'x\n'.repeat(9_000_000)}last\n`));
  assert.equal(told.untold('first\nlast\nnew\n'), 'first\nnew\n');
});

test('if a log contains half a character, its incomplete last line is still removed at the right place', async () => {
  const path = join(folder, 'cut-character');
  const whole = Buffer.concat([Buffer.from('gr'), Buffer.from('ü').subarray(0, 1), Buffer.from('n\n')]);
  writeFileSync(path, Buffer.concat([whole, Buffer.from('half')]));
  await LoggedLines.read(path);
  assert.deepEqual(readFileSync(path), whole);
});
