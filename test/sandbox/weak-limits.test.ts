import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { test } from 'node:test';
import { execa } from 'execa';
import { weakLimits } from '../../src/sandbox/weak-limits.ts';
import { isRoot } from './sandbox-bench.ts';

const PLAIN_USER = 65_534;
const source = resolve(import.meta.dirname, '../../src/sandbox/weak-limits.ts');
const program = `
import { weakLimits } from ${JSON.stringify(source)};
console.log((await weakLimits(${JSON.stringify(tmpdir())}, ['memory'], null)).join('\\n'));`;
const argv = [process.execPath, '--input-type=module', '-e', program];

test('threat 60: a server that is not root warns that one tool could use up the epoll watches, unless sysctl allows the largest number', {
  skip: !isRoot,
}, async () => {
  const most = Number(await readFile('/proc/sys/fs/epoll/max_user_watches', 'utf8'));
  const user = ['--reuid', `${PLAIN_USER}`, '--regid', `${PLAIN_USER}`, '--clear-groups', '--'];
  const { stdout: asPlainUser } = await execa('setpriv', [...user, ...argv]);
  assert.equal(asPlainUser.includes('sysctl fs.epoll.max_user_watches=2147483647'), most < 2_147_483_647);
  const [node = '', ...words] = argv;
  const { stdout: asRoot } = await execa(node, words);
  assert.doesNotMatch(asRoot, /epoll/);
});

test('threat 153: a server without control groups that limit memory warns that a hostile tool could use up the memory', async () => {
  const without = await weakLimits(tmpdir(), ['cpu', 'pids'], null);
  assert.match(without.join('\n'), /no control groups that limit memory/);
  assert.doesNotMatch((await weakLimits(tmpdir(), ['memory'], null)).join('\n'), /control groups/);
});

test('threat 256: a server that is root and cannot limit the connections of tools warns that a tool could take them all', async () => {
  const advice = await weakLimits(tmpdir(), ['memory'], 'nft is not installed (apt-get install nftables)');
  assert.match(advice.join('\n'), /all connections that this machine may have, because nft is not installed/);
});
