import assert from 'node:assert/strict';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { execa } from 'execa';
import { dataFolder, isRoot } from '../sandbox-bench.ts';

const PLAIN_USER = 65_534;

test('threat 60: a folder that a tool has set to mode 000 still counts towards its disk use, even if the server is not root', {
  skip: process.platform !== 'linux',
}, async () => {
  await using data = await dataFolder();
  const closed = join(data.path, 'home/closed');
  await mkdir(closed, { recursive: true });
  await writeFile(join(closed, 'file'), Buffer.alloc(5 * 1024 * 1024, 1));
  await chmod(closed, 0o000);
  if (isRoot) await execa('chown', ['-R', `${PLAIN_USER}:${PLAIN_USER}`, data.path]);
  const module = resolve(import.meta.dirname, '../../../src/sandbox/disk/disk-use.ts');
  const code = `
import { diskUse } from ${JSON.stringify(module)};
console.log(JSON.stringify(await diskUse(${JSON.stringify(join(data.path, 'home'))}, new AbortController().signal)));`;
  const user = ['--reuid', `${PLAIN_USER}`, '--regid', `${PLAIN_USER}`, '--clear-groups', '--'];
  const server = [process.execPath, '--input-type=module', '-e', code];
  const [program = '', ...argv] = isRoot ? ['setpriv', ...user, ...server] : server;
  const { stdout } = await execa(program, argv);
  await chmod(closed, 0o700);
  const { bytes, entries } = JSON.parse(stdout);
  assert.ok(bytes >= 5 * 1024 * 1024, stdout);
  assert.equal(entries, 3);
});
