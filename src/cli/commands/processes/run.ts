import { once } from 'node:events';
import { DeployError } from '../../../core/errors.ts';
import { oneLine } from '../../../core/progress.ts';
import { ONE_OFF_TYPE } from '../../../core/replicas.ts';
import { withOutside } from '../../../core/variables/outside-vars.ts';
import { liveRelease, outsideVarsOf } from '../../../deploy/release/live-release.ts';
import type { ToolCommand, ToolContext } from '../../command.ts';
import { checkProgram } from '../../command-line/check-program.ts';
import { ago, columns, iso, json, warning } from '../../command-line/printing.ts';
import { UsageError } from '../../command-line/usage-error.ts';
import { whileAllowed } from '../../while-allowed.ts';

export const runOneOffCommand: ToolCommand = {
  name: 'run',
  usage: '[--detach] [--list] [--json] [--end NAME] TOOL COMMAND …',
  summary: 'run a command with the live release: a migration, a shell',
  examples: [
    'run wikibot bash',
    'run wikibot python3 manage.py migrate',
    'run --detach wikibot python3 import.py',
    'run --list wikibot',
  ],
  details: [
    'COMMAND is a program with its arguments and flags. It runs without a shell. To use a shell: run TOOL bash -c "one | two"',
    'Over SSH, your own shell removes one pair of quotes, so add another pair: run TOOL "bash -c \'one | two\'"',
    'If the first word is a process type of the tool, the command of this type runs, with the other words as arguments.',
    'You are connected to the command’s standard input, output and error, and get its exit status. For a terminal: ssh -t',
    '--detach does not wait: it prints the name of the command, such as run.1. Its output is in: logs TOOL -p run.1',
    '`run --list TOOL` shows the commands of `run` and `exec` that run now. --json prints an array of objects with: name, version, startedAt, command.',
    '`run --end run.1 TOOL` ends a command that was started with --detach.',
    'Files that the command writes are deleted when it ends. The release does not change.',
  ],
  exitStatus:
    'Exit status: that of COMMAND; 126 if it cannot be started, 127 if it does not exist. 1 if `run` is refused, 2 if the command line is wrong.',
  action: 'deploy',
  // The audit log keeps the flags and the program, but not its arguments, because people type passwords there.
  audited: ([...words], { detach, list, end }) => [
    ...(detach === true ? ['--detach'] : []),
    ...(list === true ? ['--list'] : []),
    ...(typeof end === 'string' ? ['--end', end] : []),
    ...words.slice(0, 1),
    ...(words.length > 1 ? ['…'] : []),
  ],
  options: {
    detach: { type: 'boolean' },
    list: { type: 'boolean' },
    json: { type: 'boolean' },
    end: { type: 'string' },
  },
  words: { min: 0, max: 10_000 },
  isVerbatim: true,
  takesTerminal: true,
  async run(context) {
    const { services, tool, args, flags, terminal, input, out, err, signal } = context;
    if (flags['list'] === true || flags['end'] !== undefined) return await listOrEnd(context);
    if (flags['json'] === true) throw new UsageError('--json needs --list.');
    if (args.length === 0) throw new UsageError('run needs COMMAND.');
    if (args[0]?.startsWith('-'))
      throw new UsageError('Flags of run come before the tool, as in run --list TOOL.');
    checkProgram(args);
    const release = withOutside(liveRelease(services.store, tool), await outsideVarsOf(services, tool));
    const wanted = { release, toolNumber: services.store.tool(tool).number, command: args };
    if (flags['detach'] === true) {
      const name = await services.runtime.runDetached({
        ...wanted,
        untilForbidden: (ended) => untilForbidden(context, ended),
      });
      const { typed } = context;
      await out(
        `${name}\nIts output: ${typed(`logs ${tool} -f -p ${name}`)}\nTo end it: ${typed(`run --end ${name} ${tool}`)}\n`,
      );
      return 0;
    }
    const { status, why } = await services.runtime.run({
      ...wanted,
      terminal,
      input,
      output: out,
      errors: err,
      signal,
    });
    if (why !== null) await err(warning(why));
    return status;
  },
};

/**
 * Resolves when `ended` fires. @throws DeployError if the person loses the right to run commands before `ended` fires.
 */
async function untilForbidden({ services, principal, tool }: ToolContext, ended: AbortSignal): Promise<void> {
  const watched = { services, principal, signal: ended };
  await whileAllowed(watched, { tool, action: 'deploy' }, async (signal) => {
    if (!signal.aborted) await once(signal, 'abort');
  });
}

/**
 * Lists the one-off commands of the tool, or ends a detached one. @throws UsageError for a wrong command line;
 * DeployError `NOT_RUNNING` if the command to end does not run.
 */
async function listOrEnd({ services, tool, args, flags, out }: ToolContext): Promise<number> {
  const isBoth = flags['list'] === true && flags['end'] !== undefined;
  if (args.length > 0 || flags['detach'] === true || isBoth)
    throw new UsageError('--list and --end take no command and no other flag.');
  if (flags['json'] === true && flags['list'] !== true) throw new UsageError('--json needs --list.');
  if (flags['list'] === true) {
    const statuses = await services.runtime.status(tool);
    const oneOffs = statuses.filter(({ name }) => name.startsWith(`${ONE_OFF_TYPE}.`));
    if (flags['json'] === true) {
      const fields = oneOffs.map(({ name, version, startedAt, command }) => ({
        ...{ name, version, startedAt: iso(startedAt || null), command },
      }));
      await out(json(fields));
      return 0;
    }
    const rows = oneOffs.map(({ name, version, startedAt, command, detail }) => [
      ...[name, `v${version}`, ago(startedAt, Date.now())],
      `${command ?? ''}${detail === null ? '' : ` (${detail})`}`,
    ]);
    await out(
      rows.length === 0
        ? 'No command of `run` or `exec` runs now.\n'
        : columns([['COMMAND', 'VERSION', 'STARTED', 'PROGRAM'], ...rows]),
    );
    return 0;
  }
  const name = String(flags['end']);
  if (services.runtime.endDetached(tool, name)) {
    await out(`${oneLine(name)} is being ended.\n`);
    return 0;
  }
  throw new DeployError(
    'NOT_RUNNING',
    `no command “${oneLine(name).slice(0, 80)}” of ${tool} runs that was started with --detach`,
    `To see which commands run: \`run --list ${tool}\``,
  );
}
