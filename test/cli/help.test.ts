import assert from 'node:assert/strict';
import { test } from 'node:test';
import { commands } from '../../src/cli/command-table.ts';
import { Desk } from '../support/cli-services.ts';

test('help lists every command as it is typed at this door', async () => {
  using desk = new Desk();
  const { status, out, err } = await desk.type(['help']);
  assert.equal(status, 0);
  assert.equal(err, '');
  assert.equal(
    out,
    `Usage: ssh -p 2222 alice@127.0.0.1 COMMAND …

  help [COMMAND]                              what the commands are, or how one of them is used
  tools                                       the tools that you maintain, and how they are
  ps TOOL                                     the processes of a tool, and the deployments under way
  logs TOOL                                   what a tool has printed, or the log of a deployment
  releases TOOL                               the releases of a tool, the newest first
  rollback TOOL [vN]                          bring back an old release, config vars included
  redeploy TOOL                               build the live commit again and roll it out
  restart TOOL                                start the processes anew, without an interruption
  scale TOOL [TYPE=COUNT …]                   how many processes of each type run, or run so many
  stop TOOL                                   end the processes until the next restart or deployment
  run TOOL COMMAND …                          run a command with the live release: a migration, a shell
  builds TOOL                                 the builds of a tool, the newest first
  deployments TOOL                            what was asked for and how it ended, the newest first
  cancel TOOL [ID]                            end the running deployment, or the one with this id
  config list TOOL                            the names of the config vars
  config get TOOL NAME                        the value of one config var, as it is
  config set TOOL NAME=value … | TOOL NAME -  set config vars, with a release of their own
  config unset TOOL NAME …                    remove config vars, with a release of their own
  token list TOOL                             the deploy tokens of a tool, the newest first
  token create TOOL NAME                      make a deploy token: a password for machines that opens this tool alone
  token revoke TOOL [NAME|ID]                 end a deploy token at once

More about one of them: ssh -p 2222 alice@127.0.0.1 help COMMAND
`,
  );
});

test('help COMMAND and COMMAND --help tell the same', async () => {
  using desk = new Desk();
  const expected = `Usage: npx toolforge-push logs TOOL [-f] [-n LINES] [-p PROCESS] [--build ID] [--json]

What a tool has printed, or the log of a deployment.
-f continues with new lines until you leave. -n: 100 by default, at most 10000.
-p takes a process type (web) or one process (web.1).
--build takes the id of a build or deployment and shows its log, to its end.
--json: at, process, text.
`;
  const principal = { ...desk.alice, door: 'local' } as const;
  for (const line of [
    ['help', 'logs'],
    ['logs', '--help'],
    ['logs', 'wikibot', '-h'],
  ]) {
    assert.deepEqual(await desk.type(line, { principal }), { status: 0, out: expected, err: '' });
  }
});

test('an empty command line is help, and over HTTP a command stands in a line for curl', async () => {
  using desk = new Desk();
  const { status, out } = await desk.type([], { principal: { ...desk.alice, door: 'http' } });
  assert.equal(status, 0);
  assert.match(out, /^Usage: curl -u alice --data 'COMMAND …' http:\/\/127\.0\.0\.1:8080\/-\/command\n/);
});

test('help on a family tells of all its members', async () => {
  using desk = new Desk();
  const { out } = await desk.type(['help', 'config']);
  const usages = out.match(/alice@127\.0\.0\.1 config \w+/g);
  assert.deepEqual(
    usages?.map((usage) => usage.split(' ').at(-1)),
    ['list', 'get', 'set', 'unset'],
  );
  assert.equal((await desk.type(['help', 'config', 'set'])).out.match(/Usage/g)?.length, 1);
  assert.equal((await desk.type(['help', 'nothing'])).status, 2);
});

test('every command has help, and every flag of it stands in its usage', async () => {
  using desk = new Desk();
  for (const { name, usage, options, isAlias } of commands) {
    if (isAlias === true) continue;
    const { status, out } = await desk.type(['help', ...name.split(' ')]);
    assert.equal(status, 0, name);
    assert.ok(out.includes(`${name} ${usage}`.trimEnd()), name);
    for (const [flag, { short }] of Object.entries(options)) {
      assert.ok(usage.includes(short === undefined ? `[--${flag}` : `[-${short}`), `${name} --${flag}`);
    }
  }
});
