import { once } from 'node:events';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import type { Mount, Sandbox } from '../../../sandbox/sandbox.ts';
import { inTerminal, OPENED, quoted } from '../../one-off-command.ts';
import type { Terminal } from '../../runtime.ts';
import type { OneOffPipes } from './one-off-pipes.ts';

/**
 * The environment variable that all processes of one `exec` command have. Its value is the id of the command.
 */
export const EXEC_VARIABLE = 'TOOLFORGE_PUSH_EXEC';

/**
 * How many seconds the server waits until an agent takes a request. A process that is just starting has no agent yet.
 */
const AGENT_SECONDS = 3;
const REQUESTS = 'requests';
/** The name of the file with the script of one command. The file is in the folder with the command's pipes. */
const SCRIPT_FILE = 'command';

/**
 * A shell script that starts the agent in the background, and then becomes the command of the process. The agent is a
 * loop in a session of its own. It reads names of folders from the pipe `REQUESTS`, and runs the file `SCRIPT_FILE` of
 * each folder. The shell that starts the loop ends at once, so the loop is no child of the command.
 *
 * `env --default-signal` is needed because shells let background commands ignore Ctrl-C.
 */
const BESIDE = `folder=$1; shift
( /usr/bin/setsid /bin/sh -c '
while read -r id <&8; do
  ( /usr/bin/setsid /usr/bin/env --default-signal "${EXEC_VARIABLE}=$id" /bin/sh "$1/$id/${SCRIPT_FILE}" 8<&- & )
done' sh "$folder" </dev/null >/dev/null 2>&1 8<>"$folder/${REQUESTS}" & )
exec "$@"`;

/**
 * Starts commands beside one process, for `exec`. The server only asks: a program inside the sandbox, the agent, starts
 * the commands. So each command has the rights and limits of the process and cannot get more, whatever the tool does to
 * the agent (decision 26).
 */
export class ExecAgent {
  /** Makes the folder of the agent visible to the process. The process can neither add nor replace files there. */
  readonly mount: Mount;
  readonly #inside: string;

  private constructor(mount: Mount, sandbox: Sandbox) {
    this.mount = mount;
    this.#inside = sandbox.path(mount);
  }

  /** Makes the folder of the agent. @param parent - A folder that the tool's user may enter. */
  static async make(parent: string, toolNumber: number, sandbox: Sandbox): Promise<ExecAgent> {
    const folder = join(parent, 'exec');
    const requests = join(folder, REQUESTS);
    await mkdir(folder);
    // The tool's user must be able to enter the folder, and the umask may have removed that permission.
    await chmod(folder, 0o711);
    await execa('/usr/bin/mkfifo', ['-m', '600', requests], { env: {}, extendEnv: false, stdin: 'ignore' });
    await sandbox.own([requests], toolNumber);
    return new ExecAgent({ source: folder, target: '/run/exec', isWritable: false }, sandbox);
  }

  /** Returns a command that starts the agent and runs `command` beside it. */
  around(command: readonly string[]): string[] {
    return ['/bin/sh', '-c', BESIDE, 'sh', this.#inside, ...command];
  }

  /**
   * Writes the script that runs a command into the folder `pipes.folder`, which must be in the folder of this agent.
   * When the command has ended, the script writes `markBytes(mark)` to the output and to the errors of the command.
   */
  async write(pipes: OneOffPipes, { toolNumber, sandbox, ...command }: ScriptOptions): Promise<void> {
    const path = join(pipes.folder, SCRIPT_FILE);
    // Only the tool's user may read the script: the words of the command may be secrets, and other users of this
    // machine may pass through the folder.
    await writeFile(path, scriptOf(join(this.#inside, pipes.id), command), { mode: 0o400 });
    await sandbox.own([path], toolNumber);
  }

  /**
   * Asks the agent to run the script of a command. This server does not write to the pipe of the agent itself, but
   * starts a program that does: the tool can hold the lock of the pipe for minutes (see `openPipe`).
   *
   * @returns false if the agent takes no request within `AGENT_SECONDS` or until `signal` fires: the agent has not
   * started yet, has been ended, or its pipe is full.
   */
  async request({ id }: OneOffPipes, signal: AbortSignal): Promise<boolean> {
    const words = ['-c', 'echo "$1" >"$2"', 'sh', id, join(this.mount.source, REQUESTS)];
    const asked = execa('timeout', ['-s', 'KILL', String(AGENT_SECONDS), '/bin/sh', ...words], {
      env: { PATH: '/usr/local/bin:/usr/bin:/bin' },
      extendEnv: false,
      stdio: 'ignore',
      reject: false,
    });
    // A program that waits for the lock of the pipe cannot be killed, so do not wait for its end after the time limit.
    const end = AbortSignal.any([signal, AbortSignal.timeout(AGENT_SECONDS * 1000)]);
    const given = end.aborted ? null : once(end, 'abort').then(() => null);
    const result = await Promise.race([asked, given]);
    return result?.exitCode === 0;
  }
}

interface ScriptCommand {
  readonly command: readonly string[];
  readonly terminal: Terminal | null;
  readonly mark: string;
}

interface ScriptOptions extends ScriptCommand {
  readonly toolNumber: number;
  readonly sandbox: Sandbox;
}

/**
 * Returns a script that connects a command's streams to the pipes in `folder`, and writes `OPENED` to the pipe
 * `status`. After the end of the command, the script writes the exit status to `status`. It also writes `mark` to both
 * outputs, so that the server sees the end of the output even if background processes keep the outputs open. The script
 * catches signals, so that it lives long enough to write all this.
 */
function scriptOf(folder: string, { command, terminal, mark }: ScriptCommand): string {
  const pipe = (name: string) => quoted(join(folder, name));
  const words = terminal === null ? command : inTerminal(folder, terminal.size, command);
  const variables = terminal === null ? '' : `export TERM=${quoted(terminal.type)} SHELL=/bin/sh; `;
  return `exec 9>${pipe('status')} <${pipe('in')} 3>${pipe('out')} 4>${pipe('err')}
printf '${OPENED.replace('\n', '\\n')}' >&9
trap : HUP INT QUIT TERM
( ${variables}exec >&3 2>&4 3>&- 4>&- 9>&-; exec ${words.map(quoted).join(' ')} )
status=$?
printf '\\0%s' '${mark}' >&3
printf '\\0%s' '${mark}' >&4
echo "$status" >&9
`;
}
