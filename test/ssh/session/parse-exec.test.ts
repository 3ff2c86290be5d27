import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isGitCommand, parseExec } from '../../../src/ssh/session/parse-exec.ts';

const push = { kind: 'git', service: 'receive-pack', tool: 'wc' } as const;
const fetch = { kind: 'git', service: 'upload-pack', tool: 'wc' } as const;

for (const { name, command, request } of [
  { name: 'a quoted path', command: "git-receive-pack '/wc.git'", request: push },
  { name: 'a relative path', command: "git-receive-pack 'wc.git'", request: push },
  { name: 'a path without .git', command: "git-receive-pack '/wc'", request: push },
  { name: 'a path in the home folder', command: "git-receive-pack '~/wc.git'", request: push },
  { name: 'a path in the home folder, as in a URL', command: "git-receive-pack '/~/wc.git'", request: push },
  { name: 'a path with a slash at the end', command: "git-receive-pack '/wc.git/'", request: push },
  { name: 'git and a space in place of git-', command: "git receive-pack '/wc.git'", request: push },
  { name: 'a path without quotes', command: 'git-receive-pack /wc.git', request: push },
  { name: 'a path in double quotes', command: 'git-receive-pack "/wc.git"', request: push },
  { name: 'more spaces', command: "  git-receive-pack \t '/wc.git'  ", request: push },
  { name: 'a fetch', command: "git-upload-pack '/wc.git'", request: fetch },
  { name: 'a fetch with a space in place of -', command: "git upload-pack 'wc'", request: fetch },
  { name: 'a command', command: 'logs -f wc', request: { kind: 'command', argv: ['logs', '-f', 'wc'] } },
  {
    name: 'a command with quotes',
    command: `config set wc "A=b c" 'D=$(id)'`,
    request: { kind: 'command', argv: ['config', 'set', 'wc', 'A=b c', 'D=$(id)'] },
  },
  {
    name: 'an empty command, which counts as `help`',
    command: '  ',
    request: { kind: 'command', argv: ['help'] },
  },
  {
    name: 'shell characters as plain text',
    command: 'ps wc; id',
    request: { kind: 'command', argv: ['ps', 'wc;', 'id'] },
  },
  { name: 'another git command', command: 'git gc', request: { kind: 'command', argv: ['git', 'gc'] } },
  {
    name: 'git-receive-packs, which is not a git service',
    command: 'git-receive-packs x',
    request: { kind: 'command', argv: ['git-receive-packs', 'x'] },
  },
]) {
  test(`threat 16: the SSH server accepts this form of a command: ${name}`, () =>
    assert.deepEqual(parseExec(command), request));
}

for (const { name, command, code = 'BAD_REPOSITORY' } of [
  { name: 'a second command', command: "git-receive-pack 'wc.git'; id" },
  { name: 'a second command in the quotes', command: "git-receive-pack 'wc.git; id'" },
  { name: 'a quote that is closed early', command: "git-receive-pack 'wc'\\''; id; '.git'" },
  { name: 'a command substitution', command: 'git-receive-pack "$(id).git"' },
  { name: 'a backtick', command: 'git-receive-pack `id`' },
  { name: 'a second argument', command: "git-receive-pack 'wc.git' '/etc'" },
  { name: 'an option', command: "git-upload-pack --timeout=0 'wc.git'" },
  { name: 'an option in quotes', command: "git-receive-pack '--help'" },
  { name: 'no repository', command: 'git-receive-pack' },
  { name: 'an empty repository', command: "git-receive-pack ''" },
  { name: 'a parent folder', command: "git-receive-pack '../wc.git'" },
  { name: 'a parent folder after a name', command: "git-receive-pack 'wc/../wc.git'" },
  { name: 'a path with a folder', command: "git-receive-pack '/srv/wc.git'" },
  { name: 'two slashes', command: "git-receive-pack '//wc.git'" },
  { name: 'a user’s home', command: "git-receive-pack '~alice/wc.git'" },
  { name: 'upper case', command: "git-receive-pack '/WC.git'" },
  { name: '.git twice', command: "git-receive-pack '/wc.git.git'" },
  { name: '.git alone', command: "git-receive-pack '/.git'" },
  { name: 'a new line', command: "git-receive-pack 'wc\n.git'" },
  { name: 'a second command on a new line', command: "git-receive-pack 'wc.git'\nid" },
  { name: 'a zero byte', command: "git-receive-pack 'wc\0.git'" },
  { name: 'an open quote', command: "git-receive-pack 'wc.git" },
  { name: 'a name of 64 characters', command: `git-receive-pack '${'a'.repeat(64)}'` },
  { name: 'git-upload-archive', command: "git-upload-archive 'wc.git'", code: 'NO_ARCHIVES' },
]) {
  test(`threat 16: the SSH server refuses a command and says what to type: ${name}`, () => {
    assert.throws(
      () => parseExec(command),
      (error: { code: string; hint: string; message: string }) => {
        assert.equal(error.code, code);
        assert.ok(error.hint.length > 20);
        assert.doesNotMatch(error.message, /[\0\n]/);
        return true;
      },
    );
    assert.equal(isGitCommand(command), true);
  });
}
