import assert from 'node:assert/strict';
import { test } from 'node:test';
import { commands } from '../../src/cli/command-table.ts';
import { Desk } from '../support/cli-services.ts';

test('over SSH, help lists every command as an ssh command', async () => {
  using desk = new Desk();
  const { status, out, err } = await desk.type(['help']);
  assert.equal(status, 0);
  assert.equal(err, '');
  assert.equal(
    out,
    `Usage: ssh -p 2222 alice@127.0.0.1 COMMAND …

  help [COMMAND]                              list all commands, or explain one command
  tools                                       list the tools that you maintain, and their states
  ps TOOL                                     list the processes of a tool, and its running and waiting deployments
  logs TOOL                                   show the output of a tool, or the log of a deployment
  deploy TOOL < TAR                           deploy a folder without git: tar cz . | ssh … deploy TOOL
  download TOOL > FILE.tar                    write the files of the live commit to standard output as a tar
  releases TOOL                               list the releases of a tool, the newest first
  rollback TOOL [vN]                          deploy an old release again, with its config vars
  promote SOURCE TARGET                       release what is live on one tool as a release of another tool
  redeploy TOOL                               build the live commit again and roll it out
  restart TOOL [TYPE]                         replace the processes of a tool by new ones, without an interruption
  scale TOOL [TYPE=COUNT[:SIZE] …]            show or change how many processes of each type run, and their size
  stop TOOL                                   end the processes of a tool until its next restart or release
  maintenance on TOOL                         show visitors a page about maintenance, while the processes go on
  maintenance off TOOL                        show visitors the tool again
  run TOOL COMMAND …                          run a command with the live release: a migration, a shell
  schedule list TOOL                          list the scheduled processes of a tool
  schedule run TOOL NAME                      start a run of a scheduled process now
  schedule pause TOOL NAME                    stop starting runs of a scheduled process, until schedule resume
  schedule resume TOOL NAME                   start runs of a paused scheduled process again when they are due
  schedule history TOOL [NAME]                list the scheduled runs that have ended, the newest first
  schedule output TOOL NAME [RUN]             print the output of a scheduled run that has ended
  builds TOOL                                 list the builds of a tool, the newest first
  deployments TOOL                            list the deployments of a tool and how they ended, the newest first
  cancel TOOL [ID]                            end the running deployment of a tool, or the deployment with this id
  config list TOOL                            list the names of the config vars
  config get TOOL NAME                        print the value of one config var exactly as it is stored
  config set TOOL NAME=value … | TOOL NAME -  set config vars, and start a new release that has them
  config unset TOOL NAME …                    remove config vars, and start a new release without them
  config import TOOL FILE|-                   set the config vars of a .env file, in a new release
  config export TOOL                          print all config vars with their values as a .env file
  config history TOOL                         list who changed which config vars, the newest first
  token list TOOL                             list the deploy tokens of a tool, the newest first
  token create TOOL NAME                      make a deploy token: a password for machines, valid for one tool
  token revoke TOOL [NAME|ID]                 end a deploy token at once
  quota TOOL                                  show what a tool uses of its limits

More about one command: ssh -p 2222 alice@127.0.0.1 help COMMAND
`,
  );
});

test('help COMMAND and COMMAND --help print the same text', async () => {
  using desk = new Desk();
  const expected = `Usage: npx toolforge-push logs TOOL [-f] [-n LINES] [-p PROCESS] [--since TIME] [--until TIME] [--grep TEXT] [--build ID] [--json]

Show the output of a tool, or the log of a deployment.
-f also shows new lines until you press Ctrl-C. -n: how many lines, 100 by default, at most 10000.
-p takes a process type (web) or one process (web.1).
The log goes on over restarts and releases. It also has the output of releases that failed to start.
--since and --until: a time ago (30m, 2h, 1d) or a time in UTC (2026-11-29, 2026-11-29T18:30). Both include the time itself.
--grep shows only lines that contain TEXT. TEXT is not a pattern, and upper and lower case differ.
Over SSH, your own shell removes one pair of quotes, so write a TEXT with spaces as: --grep "'no luck'"
--build takes the id of a build or deployment and shows its log until it ends.
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

test('over HTTP, an empty command line prints help, and help shows commands as curl commands', async () => {
  using desk = new Desk();
  const { status, out } = await desk.type([], { principal: { ...desk.alice, door: 'http' } });
  assert.equal(status, 0);
  assert.match(out, /^Usage: curl -u alice --data 'COMMAND …' http:\/\/127\.0\.0\.1:8080\/-\/command\n/);
});

test('help on a family of commands, such as config, describes each command of the family', async () => {
  using desk = new Desk();
  const { out } = await desk.type(['help', 'config']);
  const usages = out.match(/alice@127\.0\.0\.1 config \w+/g);
  assert.deepEqual(
    usages?.map((usage) => usage.split(' ').at(-1)),
    ['list', 'get', 'set', 'unset', 'import', 'export', 'history'],
  );
  assert.equal((await desk.type(['help', 'config', 'set'])).out.match(/Usage/g)?.length, 1);
  assert.equal((await desk.type(['help', 'nothing'])).status, 2);
});

test('every command has help, and the usage line of a command names each of its flags', async () => {
  using desk = new Desk();
  for (const { name, usage, options, isAlias } of commands) {
    if (isAlias === true) continue;
    const principal = { ...desk.alice, isOperator: true };
    const { status, out } = await desk.type(['help', ...name.split(' ')], { principal });
    assert.equal(status, 0, name);
    assert.ok(out.includes(`${name} ${usage}`.trimEnd()), name);
    for (const [flag, { short }] of Object.entries(options)) {
      assert.ok(usage.includes(short === undefined ? `[--${flag}` : `[-${short}`), `${name} --${flag}`);
    }
  }
});
