import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fillTool, OWN_OPTIONS, ownLine, withTool } from '../../../src/cli/client/own-options.ts';
import { UsageError } from '../../../src/cli/command-line/usage-error.ts';
import { commands } from '../../../src/cli/command-table.ts';
import { wikibot } from '../../support/store-records.ts';

const words = (line: string) => line.split(' ').filter((word) => word !== '');

for (const { typed, argv, own } of [
  { typed: 'ps', argv: 'ps', own: {} },
  { typed: '--remote beta ps --json', argv: 'ps --json', own: { remote: 'beta' } },
  { typed: 'ps --remote=beta', argv: 'ps', own: { remote: 'beta' } },
  { typed: '--local ps wikibot', argv: 'ps wikibot', own: { isLocal: true } },
  { typed: 'config set --tool other A=1', argv: 'config set A=1', own: { tool: 'other' } },
  { typed: 'logs --grep --local -f --tool other', argv: 'logs --grep --local -f', own: { tool: 'other' } },
  { typed: 'run --tool other ls --remote x', argv: 'run ls --remote x', own: { tool: 'other' } },
  {
    typed: 'run --detach --remote beta wikibot ls',
    argv: 'run --detach wikibot ls',
    own: { remote: 'beta' },
  },
  { typed: 'unknown --remote beta', argv: 'unknown --remote beta', own: {} },
  { typed: 'ps -- --local', argv: 'ps -- --local', own: {} },
]) {
  test(`of the command line “${typed}”, the local binary sends “${argv}” to the server, and keeps its own options for itself`, () => {
    const expected = { isLocal: false, remote: null, tool: null, ...own, argv: words(argv) };
    assert.deepEqual(ownLine(words(typed), commands), expected);
  });
}

for (const typed of ['ps --remote', 'ps --tool', 'ps --tool Wikibot', '--local --remote beta ps']) {
  test(`“${typed}” is a wrong command line of the local binary`, () => {
    assert.throws(() => ownLine(words(typed), commands), UsageError);
  });
}

test('no command has an option with the name of an option of the local binary itself', () => {
  for (const { name, options } of commands)
    assert.deepEqual(
      Object.keys(options).filter((option) => Object.hasOwn(OWN_OPTIONS, option)),
      [],
      name,
    );
});

for (const { typed, sent } of [
  { typed: 'ps', sent: 'ps wikibot' },
  { typed: 'ps --json', sent: 'ps wikibot --json' },
  { typed: 'ps other', sent: 'ps other' },
  { typed: 'ps wikibot', sent: 'ps wikibot' },
  { typed: 'logs -f -n 5', sent: 'logs wikibot -f -n 5' },
  { typed: 'exec web.1 ls -l', sent: 'exec wikibot web.1 ls -l' },
  { typed: 'exec other web.1 ls', sent: 'exec other web.1 ls' },
  { typed: 'scale', sent: 'scale wikibot' },
  { typed: 'scale web=2', sent: 'scale wikibot web=2' },
  { typed: 'scale other', sent: 'scale other' },
  { typed: 'scale other web=2 worker=1', sent: 'scale other web=2 worker=1' },
  { typed: 'config', sent: 'config wikibot' },
  { typed: 'config list', sent: 'config list wikibot' },
  { typed: 'config get NAME', sent: 'config get wikibot NAME' },
  { typed: 'config get other NAME', sent: 'config get other NAME' },
  { typed: 'config set A=b', sent: 'config set wikibot A=b' },
  { typed: 'config set other A=b', sent: 'config set other A=b' },
  { typed: 'config set KEY -', sent: 'config set wikibot KEY -' },
  { typed: 'config set other KEY -', sent: 'config set other KEY -' },
  { typed: 'config unset A B', sent: 'config unset wikibot A B' },
  { typed: 'config unset other A', sent: 'config unset other A' },
  { typed: 'config import .env --no-restart', sent: 'config import wikibot .env --no-restart' },
  { typed: 'config import other -', sent: 'config import other -' },
  { typed: 'token create ci --days 30', sent: 'token create wikibot ci --days 30' },
  { typed: 'token revoke --all', sent: 'token revoke wikibot --all' },
  { typed: 'token revoke other ci', sent: 'token revoke other ci' },
  { typed: 'schedule run nightly', sent: 'schedule run wikibot nightly' },
  { typed: 'rollback', sent: 'rollback wikibot' },
  { typed: 'rollback wikibot', sent: 'rollback wikibot' },
  { typed: 'rollback other v41', sent: 'rollback other v41' },
  { typed: 'restart wikibot web', sent: 'restart wikibot web' },
  { typed: 'run --list', sent: 'run --list wikibot' },
  { typed: 'run --end run.1', sent: 'run --end run.1 wikibot' },
  { typed: 'run wikibot ls -la', sent: 'run wikibot ls -la' },
  { typed: 'promote wikibot other', sent: 'promote wikibot other' },
  { typed: 'promote other', sent: 'promote other' },
  { typed: 'tools', sent: 'tools' },
  { typed: 'help', sent: 'help' },
  { typed: 'ps --help', sent: 'ps --help' },
  { typed: 'ps --wrong', sent: 'ps --wrong' },
  { typed: 'fly', sent: 'fly' },
]) {
  test(`in a folder of the tool wikibot, “${typed}” is sent as “${sent}”, and no word of it is ambiguous`, () => {
    assert.deepEqual(fillTool(commands, words(typed), wikibot), { argv: words(sent), doubtful: null });
  });
}

for (const { typed, sent } of [
  { typed: 'restart web', sent: 'restart wikibot web' },
  { typed: 'rollback v41', sent: 'rollback wikibot v41' },
  { typed: 'cancel some-id', sent: 'cancel wikibot some-id' },
  { typed: 'token revoke ci', sent: 'token revoke wikibot ci' },
  { typed: 'run bash', sent: 'run wikibot bash' },
  { typed: 'run --detach ls -la', sent: 'run --detach wikibot ls -la' },
]) {
  test(`in a folder of the tool wikibot, “${typed}” is sent as “${sent}”, and the word that may also be the name of a tool is reported`, () => {
    const { argv, doubtful } = fillTool(commands, words(typed), wikibot);
    assert.deepEqual([argv, words(typed).includes(doubtful ?? '')], [words(sent), true]);
  });
}

test('the option --tool names the tool for commands that act on one tool, and other commands refuse the option', () => {
  assert.deepEqual(withTool(commands, ['run', '--detach', 'ls'], wikibot), [
    'run',
    '--detach',
    'wikibot',
    'ls',
  ]);
  assert.deepEqual(withTool(commands, ['restart', 'web'], wikibot), ['restart', 'wikibot', 'web']);
  for (const line of ['promote other', 'tools', 'fly'])
    assert.throws(() => withTool(commands, words(line), wikibot), UsageError, line);
});
