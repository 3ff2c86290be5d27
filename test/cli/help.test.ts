import assert from 'node:assert/strict';
import { test } from 'node:test';
import { adminCommands } from '../../src/cli/admin/admin.ts';
import { buildpackCommands } from '../../src/cli/admin/buildpack-commands.ts';
import { recoveryCommands } from '../../src/cli/admin/recovery-commands.ts';
import { stackCommands } from '../../src/cli/admin/stack-commands.ts';
import { completionCommand } from '../../src/cli/client/completion.ts';
import type { CommandShape } from '../../src/cli/command.ts';
import { findCommand } from '../../src/cli/command-line/find-command.ts';
import { checkCount, parseWords } from '../../src/cli/command-line/parse-words.ts';
import { commands } from '../../src/cli/command-table.ts';
import { describeCommand } from '../../src/cli/commands/help.ts';
import { Desk } from '../support/cli-services.ts';
import { deploymentOf, releaseOf, wikibot } from '../support/store-records.ts';

test('over SSH, `help` lists the commands for maintainers, and shows each command as an ssh command', async () => {
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
  previews TOOL                               list the previews of a tool, with their addresses
  previews end TOOL NAME                      end a preview: delete its processes, releases, config vars and data
  redeploy TOOL                               build the live commit again and roll it out
  restart TOOL [TYPE]                         replace the processes of a tool by new ones, without an interruption
  scale TOOL [TYPE=COUNT[:SIZE] …]            show or change how many processes of each type run, and their size
  stop TOOL                                   end the processes of a tool until its next restart or release
  maintenance on TOOL                         show visitors a page about maintenance, while the processes go on
  maintenance off TOOL                        show visitors the tool again
  run TOOL COMMAND …                          run a command with the live release: a migration, a shell
  exec TOOL PROCESS COMMAND …                 run a command beside a running process, with its files and network
  schedule list TOOL                          list the scheduled processes of a tool
  schedule run TOOL NAME                      start a run of a scheduled process now
  schedule pause TOOL NAME                    stop starting runs of a scheduled process, until schedule resume
  schedule resume TOOL NAME                   start runs of a paused scheduled process again when they are due
  schedule history TOOL [NAME]                list the scheduled runs that have ended, the newest first
  schedule output TOOL NAME [RUN]             print the output of a scheduled run that has ended
  builds TOOL                                 list the builds of a tool, the newest first
  deployments TOOL                            list the deployments of a tool and how they ended, the newest first
  cancel TOOL [ID]                            end the current deployment of a tool, or the deployment ID
  config list TOOL                            list the names of the config vars
  config get TOOL NAME                        print the value of one config var
  config set TOOL NAME=value … | TOOL NAME -  set config vars, and start a new release that has them
  config unset TOOL NAME …                    remove config vars, and start a new release without them
  config import TOOL FILE|-                   set the config vars of a .env file, in a new release
  config export TOOL                          print all config vars with their values as a .env file
  config history TOOL                         list who changed which config vars, the newest first
  config share TOOL [NAME …]                  let new previews of a tool begin with the values of these config vars
  config unshare TOOL NAME …                  stop giving new previews of a tool the values of these config vars
  token list TOOL                             list the deploy tokens of a tool, the newest first
  token create TOOL NAME                      make a deploy token: a password for machines, valid for one tool
  token revoke TOOL [NAME|ID]                 end a deploy token at once
  maintainer list TOOL                        list the people who maintain a tool
  maintainer add TOOL USER                    let another user maintain a tool
  maintainer remove TOOL USER                 let a user no longer maintain a tool
  quota TOOL                                  show what a tool uses of its limits

More about one command: ssh -p 2222 alice@127.0.0.1 help COMMAND
`,
  );
});

test('`help COMMAND` and `COMMAND --help` print the same text', async () => {
  using desk = new Desk();
  const expected = `Usage: npx toolforge-push logs TOOL [-f] [-n LINES] [-p PROCESS] [--since TIME] [--until TIME] [--grep TEXT] [--build ID] [--json]

Show the output of a tool, or the log of a deployment.
-f also shows new lines until you press Ctrl-C. -n: how many lines, 100 by default, at most 10000.
-p takes a process type (web) or one process (web.1).
The log continues across restarts and releases. It also has the output of releases that failed to start.
--since and --until: a time ago (30m, 2h, 1d) or a time in UTC (2026-11-29, 2026-11-29T18:30). Both include the time itself.
--grep shows only lines that contain TEXT. TEXT is not a pattern, and upper and lower case differ.
Over SSH, your own shell removes one pair of quotes, so write a TEXT with spaces as: --grep "'no luck'"
--build takes the id of a build or deployment, and shows the log of the deployment until the deployment ends.
Each line has its time in UTC, the release, and the process that printed it. Lines of a process with the name push are from this server.
--json prints an array of objects with: at, process, version (null for lines that belong to no release), text.

For example:
    npx toolforge-push logs wikibot
    npx toolforge-push logs wikibot -f -p web
    npx toolforge-push logs wikibot --since 2h --grep error

Exit status: 0 if everything went well, 1 if the command is refused or fails, 2 if the command line is wrong.
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

test('over HTTP, an empty command line prints the help, and the help shows commands as curl commands', async () => {
  using desk = new Desk();
  const { status, out } = await desk.type([], { principal: { ...desk.alice, door: 'http' } });
  assert.equal(status, 0);
  assert.match(out, /^Usage: curl -u alice --data 'COMMAND …' http:\/\/127\.0\.0\.1:8080\/-\/command\n/);
});

test('`help` on a family of commands, such as `config`, describes each command of the family', async () => {
  using desk = new Desk();
  const { out } = await desk.type(['help', 'config']);
  const usages = out.match(/(?<=^Usage: .*)alice@127\.0\.0\.1 config \w+/gm);
  assert.deepEqual(
    usages?.map((usage) => usage.split(' ').at(-1)),
    ['list', 'get', 'set', 'unset', 'import', 'export', 'history', 'share', 'unshare'],
  );
  assert.equal((await desk.type(['help', 'config', 'set'])).out.match(/Usage/g)?.length, 1);
  assert.equal((await desk.type(['help', 'nothing'])).status, 2);
});

test('every command has help, and its usage line names each flag of the command', async () => {
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

/** Every command, also those that work only on the machine of the server. */
const everyCommand: readonly CommandShape[] = [
  ...commands,
  ...adminCommands,
  ...stackCommands,
  ...buildpackCommands,
  ...recoveryCommands,
  completionCommand,
];

for (const command of everyCommand) {
  test(`the examples of ${command.name} are correct command lines, and its help shows them with the exit status`, () => {
    const { name, examples } = command;
    const help = describeCommand(command, (words) => `$ ${words}`);
    assert.match(help, /^Exit status: /m);
    assert.ok(examples.length > 0);
    for (const example of examples) {
      assert.ok(help.includes(`    $ ${example}\n`));
      const found = findCommand(everyCommand, example.split(' '));
      assert.equal(found?.command.name, command.isAlias === true ? found?.command.name : name, example);
      const { positionals } = parseWords(command, found?.words ?? []);
      const hasTool = 'action' in command && command.action !== null;
      if (hasTool) assert.match(positionals[0] ?? '', /^wikibot(-beta)?$/, example);
      assert.doesNotThrow(() => checkCount(command, hasTool ? positionals.slice(1) : positionals), example);
      // Over SSH, an example with quotes would need a second pair of quotes around the whole command.
      assert.doesNotMatch(example, /['"]/);
    }
  });
}

const listing = /^(list|show) (?!visitors)/;

for (const command of commands.filter(({ name, summary }) => name !== 'help' && listing.test(summary))) {
  test(`the command ${command.name} prints its list as valid JSON with --json`, async () => {
    assert.ok('json' in command.options);
    using desk = new Desk();
    desk.maintain(wikibot, 'alice');
    desk.store.addDeployment(deploymentOf('d1'));
    desk.store.addRelease(releaseOf('d1'));
    desk.store.goLive(wikibot, 1, 'd1', Date.now());
    const principal = { ...desk.alice, isOperator: true };
    const words = [...command.name.split(' '), ...(command.action === null ? [] : ['wikibot']), '--json'];
    const { status, out, err } = await desk.type(words, { principal });
    assert.deepEqual([status, err], [0, '']);
    assert.ok(Array.isArray(JSON.parse(out)));
  });
}

test('every command that lists or shows something has the option --json, also commands that only an operator can use', () => {
  for (const { name, summary, options } of everyCommand)
    if (name !== 'help' && (listing.test(summary) || name.endsWith(' list')))
      assert.ok('json' in options, name);
});

test('`run --list --json` prints valid JSON, and `run --json` without --list is refused', async () => {
  using desk = new Desk();
  desk.maintain(wikibot, 'alice');
  const listed = await desk.type(['run', '--list', '--json', 'wikibot']);
  assert.deepEqual([listed.status, JSON.parse(listed.out)], [0, []]);
  assert.equal((await desk.type(['run', '--json', 'wikibot', 'ls'])).status, 2);
});

test('`help push` says that a push is a command of git', async () => {
  using desk = new Desk();
  const { status, err } = await desk.type(['help', 'push']);
  assert.equal(status, 2);
  assert.match(err, /git push toolforge main/);
});
