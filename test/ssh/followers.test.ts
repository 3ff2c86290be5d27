import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { runCommand } from '../../src/cli/run-command.ts';
import { toolName } from '../../src/core/names.ts';
import { Desk } from '../support/cli-services.ts';
import { SshWorkbench } from '../support/ssh/ssh-workbench.ts';

const hello = toolName('hello') ?? assert.fail();
const STALL_MS = 500;
let desk: Desk;
let bench: SshWorkbench;
before(async () => {
  desk = new Desk(STALL_MS);
  desk.maintain(hello, 'alice');
  desk.runtime.lines = Array.from({ length: 10_000 }, () => ({
    at: '',
    process: 'web.1',
    version: null,
    text: 'x'.repeat(2000),
  }));
  bench = await SshWorkbench.open({ runCommand, services: desk.services });
});
after(async () => {
  await bench.close();
  desk[Symbol.dispose]();
});

/** Starts a real `ssh HOST logs hello` whose output nobody reads. */
function stalled() {
  const target = ['-p', String(bench.port), '-l', 'alice', '127.0.0.1', 'logs', 'hello'];
  const child = spawn('ssh', [...bench.sshArguments('alice'), ...target], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return { child, said: text(child.stderr) };
}

test('threat 21: the server disconnects an SSH client that asks for a log but reads nothing, and ssh prints the reason', {
  timeout: 30_000,
}, async () => {
  const { child, said } = stalled();
  await bench.waitForLog('ssh client dropped: it reads nothing');
  // ssh can end only when it can write its output.
  child.stdout.resume();
  assert.match(await said, /Received disconnect from .*:11: This connection took no output for 1 s/);
});

test('threat 21: a person with one key may follow ten logs at once; an eleventh is refused with the reason until one of the ten ends', async () => {
  const held = Array.from({ length: 10 }, () => desk.followers.enter({ ...desk.alice, uid: 'bob' }, hello));
  assert.throws(() => desk.followers.enter({ ...desk.alice, uid: 'bob' }, hello), /follows 10 logs already/);
  held.pop()?.[Symbol.dispose]();
  desk.followers.enter({ ...desk.alice, uid: 'bob' }, hello)[Symbol.dispose]();
  for (const place of held) place[Symbol.dispose]();
});

test('threat 21: a person with many keys may follow 20 logs, and all followers of a tool together 50', () => {
  const principal = (uid: string, key: number) => ({ ...desk.alice, uid, credential: `ssh key ${key}` });
  const held = Array.from({ length: 20 }, (_, index) =>
    desk.followers.enter(principal('carol', index), hello),
  );
  assert.throws(() => desk.followers.enter(principal('carol', 99), hello), /carol follows 20 logs already/);
  for (let index = 0; index < 30; index += 1)
    held.push(desk.followers.enter(principal(`p${index}`, 1), hello));
  assert.throws(
    () => desk.followers.enter(principal('dave', 1), hello),
    /people and tokens follow 50 logs of hello already/,
  );
  for (const place of held) place[Symbol.dispose]();
});
