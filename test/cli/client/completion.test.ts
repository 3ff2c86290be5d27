import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { execa } from 'execa';

const root = mkdtempSync(join(tmpdir(), 'completion-'));
after(() => rmSync(root, { recursive: true, force: true }));
const binary = join(import.meta.dirname, '../../../src/cli/toolforge-push.js');

const environment = { PATH: process.env['PATH'], HOME: root, TERM: 'dumb' };
const run = (file: string, args: readonly string[]) =>
  execa(file, args, { env: environment, extendEnv: false, reject: false, stdin: 'ignore', cwd: root });
const isInstalled = async (shell: string) => (await run('sh', ['-c', `command -v ${shell}`])).exitCode === 0;

/** Writes the script of `completion SHELL` to a file. */
async function scriptFor(shell: string): Promise<string> {
  const { exitCode, stdout, stderr } = await run(process.execPath, [binary, 'completion', shell]);
  assert.deepEqual([exitCode, stderr], [0, '']);
  const file = join(root, shell);
  writeFileSync(file, stdout);
  return file;
}

/** What each shell offers for a line that ends at the cursor, without descriptions. */
const CASES: readonly { readonly line: string; readonly offers: readonly string[] }[] = [
  { line: 'toolforge-push sc', offers: ['scale', 'schedule'] },
  { line: 'toolforge-push --remote beta sc', offers: ['scale', 'schedule'] },
  { line: 'toolforge-push config un', offers: ['unset', 'unshare'] },
  { line: 'toolforge-push scale --js', offers: ['--json'] },
  { line: 'toolforge-push config set A=b --no', offers: ['--no-restart'] },
  { line: 'toolforge-push ps --loc', offers: ['--local'] },
  { line: 'toolforge-push completion --no-r', offers: [] },
];

test('bash completes commands, their second words and flags', async () => {
  const file = await scriptFor('bash');
  const script = `set -u; source "$1"; read -ra COMP_WORDS <<<"$2"; COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
_toolforge_push; printf '%s\\n' "\${COMPREPLY[@]+\${COMPREPLY[@]}}"; complete -p toolforge-push`;
  for (const { line, offers } of CASES) {
    const { stdout, stderr } = await run('bash', ['--norc', '-c', script, 'bash', file, line]);
    const words = stdout.split('\n').filter((word) => word !== '');
    assert.deepEqual([words, stderr], [[...offers, 'complete -F _toolforge_push toolforge-push'], ''], line);
  }
});

test('threat 33: the name of a git remote is not run as shell code when bash completes it', async () => {
  const file = await scriptFor('bash');
  await run('git', ['init', '--quiet', root]);
  const name = '$(touch $PWD/hacked)';
  await run('git', ['-C', root, 'config', `remote.${name}.url`, 'ssh://host/wikibot.git']);
  const script = `source "$1"; COMP_WORDS=(toolforge-push --remote ''); COMP_CWORD=2
_toolforge_push; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout } = await run('bash', ['--norc', '-c', script, 'bash', file]);
  assert.equal(stdout, name);
  assert.equal(existsSync(join(root, 'hacked')), false);
});

test('fish completes commands, their second words and flags', {
  skip: (await isInstalled('fish')) ? false : 'fish is not installed',
}, async () => {
  const file = await scriptFor('fish');
  for (const { line, offers } of CASES) {
    const { stdout, stderr } = await run('fish', [
      '--no-config',
      '-c',
      'source $argv[1]; complete -C $argv[2]',
      file,
      line,
    ]);
    const words = stdout.split('\n').flatMap((text) => (text === '' ? [] : [text.split('\t')[0]]));
    assert.deepEqual([words, stderr], [offers, ''], line);
  }
});

test('completion for an unknown shell is refused, with the names of the shells that work', async () => {
  const { exitCode, stdout, stderr } = await run(process.execPath, [binary, 'completion', 'tcsh']);
  assert.deepEqual([exitCode, stdout], [2, '']);
  assert.match(stderr, /completion has a script only for bash, zsh and fish/);
});
