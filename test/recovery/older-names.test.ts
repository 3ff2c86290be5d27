import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { copyFile, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, test } from 'node:test';
import { execa } from 'execa';
import { Backups } from '../../src/store/backups/backups.ts';
import { type Run, run, TestServer, until } from '../support/server.ts';
import { liveTool, webTool } from '../support/work-tree.ts';

let server: TestServer;
/** A backup of the store from before all renames. */
let backup: string;
let key: string;

const passed = (one: Run) => assert.equal(one.exitCode, 0, one.stdout + one.stderr);
const data = (...path: string[]) => join(server.folder, 'data', ...path);
const rename = async (from: string, to: string) => passed(await server.local('tool', 'rename', from, to));
const give = async (tool: string, uid: string) =>
  passed(await server.local('tool', 'add', tool, '--maintainer', uid));

/** Types a command as mallory, who maintains other tools than the user of the server. */
async function asMallory(...words: string[]): Promise<Run> {
  const [host = '', port = ''] = server.ssh.split(':');
  const options = ['IdentitiesOnly=yes', 'StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null'];
  return await run(
    'ssh',
    [
      ...['-F', 'none', '-i', key, '-p', port, '-o', 'LogLevel=ERROR'],
      ...options.flatMap((one) => ['-o', one]),
      ...[`mallory@${host}`, words.join(' ')],
    ],
    { env: server.clientEnvironment },
  );
}

/** The numbers of the tools, by name. */
function numbers(): Record<string, number> {
  const store = new DatabaseSync(data('store.sqlite'), { readOnly: true });
  const rows = store.prepare('SELECT name, number FROM tools').all() as { name: string; number: number }[];
  store.close();
  return Object.fromEntries(rows.map(({ name, number }) => [name, number]));
}

const secretOf = async (tool: string) =>
  (await server.command('config', 'get', tool, 'SECRET')).stdout.trim();

before(async () => {
  server = await TestServer.start({});
  key = join(server.folder, 'mallory');
  await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key]);
  passed(await server.local('user', 'add', 'mallory', '--key', `${key}.pub`));
  for (const tool of ['wikibot', 'alone']) {
    await liveTool(server, tool, webTool(`page of ${tool}`));
    passed(await server.command('config', 'set', tool, `SECRET=of-${tool}`));
  }
  // Tools without a release, and so without copies of releases.
  for (const tool of ['plain', 'left', 'right']) {
    await give(tool, server.user);
    passed(await server.command('config', 'set', tool, `SECRET=of-${tool}`));
  }
  backup = await new Backups(data()).backUpStore();
  await rename('wikibot', 'wiki-bot');
  await give('wikibot', 'mallory');
  await rename('alone', 'between');
  await rename('between', 'lonely');
  await rename('plain', 'plainer');
  await give('plain', 'mallory');
  await rename('left', 'middle');
  await rename('right', 'left');
  await rename('middle', 'right');
});
after(async () => await server[Symbol.asyncDispose]());

/** Checks that each tool has its own files, secrets and number, and that mallory has new tools. */
async function isRight(before: Record<string, number>): Promise<void> {
  for (const tool of ['wikibot', 'plain']) {
    const got = await asMallory('config', 'get', tool, 'SECRET');
    assert.notEqual(got.exitCode, 0, got.stdout);
    assert.doesNotMatch(got.stdout + got.stderr, /of-/);
    passed(await asMallory('config', 'set', tool, 'OWN=mine'));
  }
  assert.notEqual((await asMallory('config', 'get', 'wiki-bot', 'SECRET')).exitCode, 0);
  assert.equal(await secretOf('wiki-bot'), 'of-wikibot');
  assert.equal(await secretOf('lonely'), 'of-alone');
  await until(async () => (await server.get('wiki-bot')).body === 'page of wikibot', 'the page of wiki-bot');
  await until(async () => (await server.get('lonely')).body === 'page of alone', 'the page of lonely');
  assert.notEqual((await server.get('wikibot')).status, 200);
  assert.match((await server.get('alone')).body, /alone is now called lonely/);
  const now = numbers();
  for (const tool of ['wiki-bot', 'lonely']) assert.equal(now[tool], before[tool], tool);
  assert.equal(now['alone'] ?? now['between'], undefined);
  const own = Object.values(now);
  assert.equal(new Set(own).size, own.length);
}

test('threat 205: after the restore of a store from before renames, each renamed tool works with its own secrets, and a new tool with an old name does not get them', async () => {
  const before = numbers();
  await server.kill('SIGTERM');
  const restored = await server.local('restore', 'store', backup);
  passed(restored);
  const doctor = (await server.local('doctor')).stdout;
  await server.boot();
  await isRight(before);
  assert.equal(await secretOf('plainer'), 'of-plain');
  assert.equal(await secretOf('left'), 'of-right');
  assert.equal(await secretOf('right'), 'of-left');
  for (const tool of ['plainer', 'left', 'right']) assert.equal(numbers()[tool], before[tool], tool);
  assert.match(restored.stdout, /wikibot was renamed to wiki-bot/);
  assert.match(restored.stdout, /alone was renamed to lonely/);
  assert.match(doctor, /older than the rename of wikibot to wiki-bot/);
  assert.doesNotMatch(doctor, /tool add/);
  const told = server.lines.filter((line) => /older than the rename of wikibot/.test(JSON.stringify(line)));
  assert.equal(told.length, 1);

  // The tools can be renamed again, and the next start changes nothing.
  await rename('lonely', 'alone');
  await server.kill('SIGTERM');
  assert.match((await server.local('doctor')).stdout, /is whole/);
  await server.boot();
  await until(async () => (await server.get('alone')).body === 'page of alone', 'the page of alone');
  await rename('alone', 'lonely');
});

test('threat 205: if renames.json is lost after a restore of an older store, the server reads the present names of tools from the copies of their releases in the folder releases', async () => {
  const before = numbers();
  await server.kill('SIGTERM');
  for (const end of ['-wal', '-shm']) await rm(data(`store.sqlite${end}`), { force: true });
  await copyFile(backup, data('store.sqlite'));
  await rm(data('renames.json'), { force: true });
  await server.boot();
  const now = numbers();
  for (const tool of ['wiki-bot', 'lonely']) assert.equal(now[tool], before[tool], tool);
  const got = await asMallory('config', 'get', 'wikibot', 'SECRET');
  assert.doesNotMatch(got.stdout + got.stderr, /of-/);
  assert.equal(await secretOf('wiki-bot'), 'of-wikibot');
  await until(async () => (await server.get('wiki-bot')).body === 'page of wikibot', 'the page of wiki-bot');
  assert.ok(existsSync(data('renames.json')));
  assert.match(await readFile(data('renames.json'), 'utf8'), /"from":"wikibot"/);
});

test('threat 205: if renames.json is damaged or contradicts the restored store, the server refuses to start, and the store does not change', async () => {
  await server.kill('SIGTERM');
  const noted = await readFile(data('renames.json'), 'utf8');
  passed(await server.local('restore', 'store', backup));
  const restored = await readFile(data('store.sqlite'));
  const renames = [{ number: numbers()['wikibot'], from: 'wikibot', to: 'alone', at: 1 }];
  await writeFile(data('renames.json'), JSON.stringify(renames));
  await assert.rejects(server.boot(), /has a tool alone with releases.*\n?.*restore store FILE/);
  await writeFile(data('renames.json'), noted.slice(0, -5));
  await assert.rejects(server.boot(), /renames\.json, is damaged/);
  assert.deepEqual(await readFile(data('store.sqlite')), restored);
  await writeFile(data('renames.json'), noted);
  await server.boot();
  assert.equal(await secretOf('wiki-bot'), 'of-wikibot');
});
