import { DeployError } from '../../../core/errors.ts';
import type { ToolName } from '../../../core/names.ts';
import { oneLine } from '../../../core/progress.ts';
import { ONE_OFF_TYPE } from '../../../core/replicas.ts';
import { liveRelease } from '../../../deploy/release/live-release.ts';
import type { ProcessStatus } from '../../../run/runtime.ts';
import { notRunning } from '../../../run/words/exec-words.ts';
import type { ToolCommand } from '../../command.ts';
import { checkProgram } from '../../command-line/check-program.ts';
import { warning } from '../../command-line/printing.ts';
import { UsageError } from '../../command-line/usage-error.ts';

export const execCommand: ToolCommand = {
  name: 'exec',
  usage: 'TOOL PROCESS COMMAND …',
  summary: 'run a command beside a running process, with its files and network',
  examples: ['exec wikibot web.1 bash', 'exec wikibot web.1 ls -l /tmp', 'exec wikibot worker.2 df -h /tmp'],
  details: [
    'PROCESS is the name of a running process, such as web.1. `ps` lists them.',
    'The command has the files, environment, network, user and limits of the process. A command of `run` has files of its own.',
    'COMMAND is a program with its arguments and flags. It runs without a shell. To use a shell: exec TOOL web.1 bash -c "one | two"',
    'Over SSH, your own shell removes one pair of quotes, so add another pair: exec TOOL web.1 "bash -c \'one | two\'"',
    'You are connected to the command’s standard input, output and error, and get its exit status. For a terminal: ssh -t',
    'The command ends when the process ends. The memory of the command counts toward the limit of the process.',
    'The code of the tool runs as the same user, so it can see what you type.',
  ],
  exitStatus:
    'Exit status: that of COMMAND; 126 if it cannot be started, 127 if it does not exist. 1 if `exec` is refused, 2 if the command line is wrong.',
  action: 'deploy',
  // The audit log keeps the process and the program, but not its arguments, because people type passwords there. If the
  // first word is no name of a process, the person has forgotten the process: then the first word is the program, and
  // only this word is kept.
  audited: (args) => {
    const words = withoutDashes(args);
    const kept = PROCESS_NAME.test(words[0] ?? '') ? 2 : 1;
    return [...words.slice(0, kept), ...(words.length > kept ? ['…'] : [])];
  },
  options: {},
  words: { min: 0, max: 10_000 },
  isVerbatim: true,
  isAfterTool: (word) => PROCESS_NAME.test(word),
  takesTerminal: true,
  async run(context) {
    const { services, tool, args, terminal, input, out, err, signal } = context;
    const [process = '', ...command] = withoutDashes(args);
    if (command.length === 0)
      throw new UsageError(`exec needs ${args.length === 0 ? 'PROCESS' : 'COMMAND'}.`);
    checkProgram(command);
    const { number, isStopped } = services.store.tool(tool);
    liveRelease(services.store, tool);
    if (isStopped)
      throw new DeployError(
        'TOOL_STOPPED',
        `the tool ${tool} is stopped`,
        `Start it with: \`restart ${tool}\``,
      );
    assertRuns(tool, process, await services.runtime.status(tool));
    // Refuse a command that begins with `-`: the shell that starts the command would take its first word for one of the
    // shell's own flags.
    if (command[0]?.startsWith('-'))
      throw new UsageError('The command of `exec` must begin with a program, not with a flag.');
    const { status, why } = await services.runtime.exec({
      ...{ tool, process, toolNumber: number, command, terminal, input, signal },
      output: out,
      errors: err,
    });
    if (why !== null) await err(warning(why));
    return status;
  },
};

const PROCESS_NAME = /^[^.]+\.\d+$/;

/** The words after the tool, without a `--` between the process and the command. */
function withoutDashes(args: readonly string[]): readonly string[] {
  return args[1] === '--' ? args.toSpliced(1, 1) : args;
}

/**
 * Checks that a process runs.
 *
 * @throws DeployError `NO_SUCH_PROCESS` if the tool has no process of this name; `NOT_RUNNING` if the process does not
 * run.
 */
function assertRuns(tool: ToolName, name: string, statuses: readonly ProcessStatus[]): void {
  const processes = statuses.filter((status) => !status.name.startsWith(`${ONE_OFF_TYPE}.`));
  const named = processes.filter((status) => status.name === name);
  // Prefer a process that is not stopping, because a release that drains may still have a process of the same name.
  const status = named.find(({ state }) => state !== 'stopping') ?? named[0];
  if (status === undefined) {
    const names = new Set(processes.filter(isRunning).map((one) => one.name));
    throw new DeployError(
      'NO_SUCH_PROCESS',
      `there is no process “${oneLine(name).slice(0, 80)}” of ${tool}`,
      names.size === 0
        ? `No process of ${tool} runs now. To run a command without one: \`run ${tool} COMMAND\``
        : `These processes run: ${[...names].join(', ')}`,
    );
  }
  if (!isRunning(status)) throw notRunning(tool, name, whyNot(status));
}

function isRunning({ state }: ProcessStatus): boolean {
  return state === 'up' || state === 'starting';
}

function whyNot({ state, detail }: ProcessStatus): string | null {
  if (state === 'scheduled') return 'it waits for its schedule';
  if (state === 'stopping') return 'it is being ended';
  return detail === null ? null : oneLine(detail);
}
