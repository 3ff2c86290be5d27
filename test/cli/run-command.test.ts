import assert from 'node:assert/strict';
import { test } from 'node:test';
import { commands } from '../../src/cli/command-table.ts';
import { DeployError } from '../../src/core/errors.ts';
import type { AuditEvent } from '../../src/core/log/audit.ts';
import { Desk } from '../support/cli-services.ts';
import { otherTool, wikibot } from '../support/store-records.ts';

for (const { name, argv, says } of [
  {
    name: 'a misspelt command',
    argv: ['relaeses', 'wikibot'],
    says: /no command “relaeses”. Did you mean releases\?/,
  },
  { name: 'a shortened command', argv: ['redep', 'wikibot'], says: /Did you mean redeploy/ },
  { name: 'the plural of a command', argv: ['helps'], says: /Did you mean help/ },
  { name: 'an unknown command', argv: ['frobnicate'], says: /no command “frobnicate”.\n ! {5}`help` lists/ },
  { name: 'the name of a property that every object has', argv: ['constructor'], says: /no command/ },
  { name: 'the name of a git program', argv: ['git-shell'], says: /no command/ },
  {
    name: 'a command with control characters',
    argv: ['\u001b]0;x\u0007\u001b[2Jps\n!'],
    says: /^ !.*no command “ps !”/,
  },
  {
    name: 'an unknown flag',
    argv: ['ps', 'wikibot', '--all=s3cret'],
    says: /ps has no flag --all. It knows --json, -h or --help/,
  },
  {
    name: 'an unknown short flag',
    argv: ['logs', 'wikibot', '-x'],
    says: /logs has no flag -x. It knows -f or --follow/,
  },
  // Node's parser needs quadratic time for such a flag: with 64 kB, the server answered nobody for three seconds.
  {
    name: 'a flag of 10,000 letters',
    argv: ['logs', 'wikibot', `-${'f'.repeat(10_000)}`],
    says: /logs has no flag that is so long/,
  },
  {
    name: 'a command of 5000 words',
    argv: ['logs', 'wikibot', ...Array<string>(5000).fill('-f')],
    says: /There are too many words after logs/,
  },
  { name: 'a flag without its value', argv: ['logs', 'wikibot', '-n'], says: /-n needs a value/ },
  {
    name: 'a value for a flag that takes none',
    argv: ['ps', 'wikibot', '--json=s3cret'],
    says: /--json takes no value/,
  },
  {
    name: 'a count that is not a number',
    argv: ['logs', 'wikibot', '-n', 's3cret'],
    says: /-n must be a whole number from 1 to 10000/,
  },
  {
    name: 'a count of zero',
    argv: ['releases', 'wikibot', '-n0'],
    says: /-n must be a whole number from 1 to 1000/,
  },
  { name: 'a count that is too high', argv: ['logs', 'wikibot', '-n', '10001'], says: /to 10000/ },
  {
    name: 'a command without a tool',
    argv: ['ps'],
    says: /ps needs the name of a tool.\n ! {5}Usage: ssh -p 2222 alice@127\.0\.0\.1 ps TOOL/,
  },
  {
    name: 'a path in place of a tool',
    argv: ['ps', '../wikibot'],
    says: /“..\/wikibot” cannot be the name of a tool/,
  },
  {
    name: 'a config var without a tool, whose value is not repeated',
    argv: ['config', 'set', 'SECRET=hunter2'],
    says: /“SECRET=…” cannot be the name of a tool/,
  },
  { name: 'an empty name of a tool', argv: ['ps', ''], says: /cannot be the name of a tool/ },
  {
    name: 'a word too many after a command',
    argv: ['restart', 'wikibot', 'web', 'now'],
    says: /too many words after restart/,
  },
  {
    name: 'a message whose quotes the shell has removed',
    argv: ['deploy', 'wikibot', '-m', 'two', 's3cret'],
    says: /too many words after deploy\. Over SSH, a text with spaces needs two pairs of quotes: "'two words'"/,
  },
  {
    name: 'a message of three words whose quotes the shell has removed',
    argv: ['deploy', 'wikibot', '-m', 'more', 'than', 's3cret'],
    says: /too many words after deploy\. Over SSH, a text with spaces needs two pairs/,
  },
  {
    name: 'a flag of `run` after the tool',
    argv: ['run', 'wikibot', '--list'],
    says: /Flags of run come before the tool, as in run --list TOOL/,
  },
  {
    name: 'a word too few after a command',
    argv: ['config', 'get', 'wikibot'],
    says: /config get needs NAME/,
  },
  {
    name: 'an unknown command of the family `config`',
    argv: ['config', 'show', 'wikibot'],
    says: /There is no command “config show”. There are: config list, config get, config set, config unset, config import, /,
  },
  {
    name: 'a value with a space whose quotes the shell has removed',
    argv: ['config', 'set', 'wikibot', 'GREETING=two', 's3cret'],
    says: /Word 2 .*: ssh -p 2222 alice@127\.0\.0\.1 "config set wikibot NAME='two words'"\. Or type the two words `NAME -`, /,
  },
  {
    name: 'a release without a number',
    argv: ['rollback', 'wikibot', 'last'],
    says: /Write a release as v and its number, for example v42/,
  },
  { name: 'release zero', argv: ['rollback', 'wikibot', 'v0'], says: /Write a release as v and its number/ },
  { name: '--json with -f', argv: ['logs', 'wikibot', '--json', '-f'], says: /cannot be used with -f/ },
  {
    name: '--build with -n',
    argv: ['logs', 'wikibot', '--build', 'd1', '-n', '3'],
    says: /cannot be used with -n, -p, --since, --until, --grep or --json/,
  },
]) {
  test(`${name} is a usage error: exit status 2, no standard output, and no effect`, async () => {
    using desk = new Desk();
    desk.maintain(wikibot, 'alice');
    const { status, out, err } = await desk.type(argv);
    assert.equal(status, 2);
    assert.equal(out, '');
    assert.match(err, says);
    assert.ok(!err.includes('s3cret'));
    assert.ok(!err.includes('\u001b'));
    assert.match(err, /^( ! {5}.*\n)+$/);
    assert.deepEqual(desk.deployments.calls, []);
  });
}

test('the audit log has each command that changes something or shows secrets, with its result, but no values', async () => {
  using desk = new Desk();
  desk.maintain(wikibot, 'alice');
  const type = (line: string) => desk.type(line.split(' '));
  await type('ps wikibot');
  await type('config list wikibot');
  await type('config list wikibot --show-values');
  await type('config set wikibot API_KEY=s3cret-value');
  await type('config set wikibot API_KEY s3cret-value');
  await type('rollback wikibot v2');
  desk.deployments.verdict = { isLive: false, reason: 'no' };
  await type('restart wikibot');
  assert.deepEqual(
    desk.events.map(({ what, who, tool, facts }) => [what, who.uid, tool, facts]),
    [
      ['config list', 'alice', 'wikibot', { words: [], status: 0 }],
      ['config set', 'alice', 'wikibot', { words: ['API_KEY'], status: 0 }],
      ['rollback', 'alice', 'wikibot', { words: ['v2'], status: 0 }],
      ['restart', 'alice', 'wikibot', { words: [], refused: 'NOT_LIVE' }],
    ],
  );
});

test('threat 83: the audit log has the first 2000 characters of a long command, and how many words are left out', async () => {
  using desk = new Desk();
  desk.maintain(wikibot, 'alice');
  await desk.type([
    'config',
    'unset',
    wikibot,
    ...Array.from({ length: 1000 }, () => 'A_LONG_NAME_OF_20_XX'),
  ]);
  const [{ facts }] = desk.events as [AuditEvent];
  const { words, more } = facts as { words: string[]; more: number };
  assert.deepEqual([words.length, more], [100, 900]);
});

const wordsFor: Record<string, string[]> = {
  'config get': ['NAME'],
  'config import': ['-'],
  'config set': ['NAME=value'],
  'config unset': ['NAME'],
  'config unshare': ['NAME'],
  'maintainer add': ['carol'],
  'maintainer remove': ['carol'],
  'previews end': ['NAME'],
  promote: ['hello'],
  run: ['true'],
  'schedule output': ['NAME'],
  'schedule pause': ['NAME'],
  'schedule resume': ['NAME'],
  'schedule run': ['NAME'],
  'token create': ['NAME'],
  'token revoke': ['ID'],
};

const ofMaintainers = commands.filter(
  ({ action, isForOperator }) => action !== null && isForOperator !== true,
);
for (const command of ofMaintainers) {
  test(`threat 29: the command ${command.name} answers the same for an unknown tool and for somebody else’s tool`, async () => {
    using desk = new Desk();
    desk.maintain(otherTool, 'bob');
    const words = wordsFor[command.name] ?? [];
    const theirs = await desk.type([...command.name.split(' '), otherTool, ...words]);
    const unknown = await desk.type([...command.name.split(' '), 'other-toot', ...words]);
    assert.equal(theirs.status, 1);
    assert.equal(theirs.out, '');
    assert.match(theirs.err, /There is no tool other-tool that alice maintains/);
    assert.equal(unknown.err, theirs.err.replaceAll('other-tool', 'other-toot'));
    assert.deepEqual(desk.deployments.calls, []);
    assert.deepEqual(desk.store.tools(), []);
  });

  // `promote` needs the right to a second tool, and `download` needs a live release. This desk has neither.
  if (['promote', 'download'].includes(command.name)) continue;

  test(`the command ${command.name} on a disabled tool is ${command.action === 'read' ? 'allowed' : 'refused'}`, async () => {
    using desk = new Desk();
    desk.maintain(wikibot, 'alice', true);
    const { status, err } = await desk.type([
      ...command.name.split(' '),
      wikibot,
      ...(wordsFor[command.name] ?? []),
    ]);
    assert.equal(status, command.action === 'read' ? 0 : 1);
    if (command.action === 'deploy') assert.match(err, /wikibot is disabled/);
    assert.deepEqual(desk.deployments.calls, []);
  });
}

test('`promote` needs the right to deploy the target tool, and is in the audit log of both tools', async () => {
  using desk = new Desk();
  desk.maintain(wikibot, 'alice');
  desk.maintain(otherTool, 'bob');
  const foreign = await desk.type(['promote', wikibot, otherTool]);
  assert.equal(foreign.status, 1);
  assert.match(foreign.err, /There is no tool other-tool that alice maintains/);
  desk.maintain(otherTool, 'alice', true);
  const disabled = await desk.type(['promote', wikibot, otherTool]);
  assert.match(disabled.err, /other-tool is disabled/);
  assert.deepEqual(desk.deployments.calls, []);
  desk.maintain(otherTool, 'alice');
  assert.equal((await desk.type(['promote', wikibot, otherTool])).status, 0);
  assert.deepEqual(desk.deployments.calls[0], ['promote', wikibot, otherTool, false]);
  const noted = desk.events.filter(({ what }) => what === 'promote').map(({ tool }) => tool);
  assert.deepEqual(noted.slice(-2), [otherTool, wikibot]);
});

test('a credential that is only for one tool gives no access to another tool of the same person', async () => {
  using desk = new Desk();
  desk.maintain(wikibot, 'alice');
  desk.maintain(otherTool, 'alice');
  const principal = { ...desk.alice, onlyTool: otherTool };
  assert.equal((await desk.type(['ps', wikibot], { principal })).status, 1);
  assert.equal((await desk.type(['ps', otherTool], { principal })).status, 0);
});

test('a command accepts the name of a tool in the form of its repository, such as /wikibot.git', async () => {
  using desk = new Desk();
  desk.maintain(wikibot, 'alice');
  for (const name of ['wikibot', 'wikibot.git', '/wikibot.git']) {
    assert.equal((await desk.type(['ps', name])).status, 0, name);
  }
});

test('a refused command prints the message and the hint, and exits with 1', async () => {
  using desk = new Desk();
  desk.maintain(wikibot, 'alice');
  desk.deployments.refusal = new DeployError(
    'NO_RELEASE',
    'there is\u001b[2J no v9',
    'See: releases wikibot',
  );
  const { status, out, err } = await desk.type(['rollback', 'wikibot', 'v9']);
  assert.equal(status, 1);
  assert.equal(out, '');
  assert.equal(err, ' !     There is no v9.\n !     See: releases wikibot\n');
});

test('a bug in a command is not printed as a refusal: the error is passed on to the caller', async () => {
  using desk = new Desk();
  desk.maintain(wikibot, 'alice');
  desk.runtime.status = () => Promise.reject(new Error('a bug'));
  await assert.rejects(desk.type(['ps', 'wikibot']), /a bug/);
});
