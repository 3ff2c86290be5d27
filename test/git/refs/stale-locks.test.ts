import assert from 'node:assert/strict';
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { execa } from 'execa';
import { removeDeadLocks } from '../../../src/git/refs/stale-locks.ts';
import { Repositories } from '../../../src/git/repositories.ts';
import { wikibot } from '../../support/store-records.ts';

const root = mkdtempSync(join(tmpdir(), 'stale-locks-'));
const repositories = new Repositories({
  folder: root,
  path: process.env['PATH'] ?? '',
  deployBranch: 'main',
});
const folder = repositories.folder(wikibot);
const lock = join(folder, 'refs/tags/one.lock');
/** A copy of the shell whose name, `git-sh`, looks like a program of git. */
const shell = join(root, 'git-sh');
before(async () => {
  await repositories.ensure(wikibot);
  copyFileSync((await execa('sh', ['-c', 'command -v sh'])).stdout, shell);
});
after(() => rmSync(root, { recursive: true }));

const words = [shell, '-c', 'echo ready; read -r end'];

/** Whether `removeDeadLocks` removes the lock of a killed git while `child` runs. */
async function isRemovedBeside(child: ChildProcessWithoutNullStreams): Promise<boolean> {
  const gone = once(child, 'exit');
  try {
    await once(child.stdout, 'data');
    writeFileSync(lock, '');
    await removeDeadLocks(repositories, wikibot, [`create refs/tags/one ${'1'.repeat(40)}`], false);
    return !existsSync(lock);
  } finally {
    child.kill('SIGKILL');
    await gone;
  }
}

test('threat 82: the lock of a killed git stays while another git runs in the repository', async () => {
  const [program = '', ...rest] = words;
  assert.equal(await isRemovedBeside(spawn(program, rest, { cwd: folder })), false);
});

test('threat 82: the lock of a killed git is removed although a process in a sandbox pretends to be a git in the repository', async () => {
  const hidden = ['--ro-bind', '/', '/', '--tmpfs', root, '--dir', folder, '--ro-bind', shell, shell];
  const args = [...hidden, '--die-with-parent', '--chdir', folder, ...words];
  assert.equal(await isRemovedBeside(spawn('bwrap', args)), true);
});
