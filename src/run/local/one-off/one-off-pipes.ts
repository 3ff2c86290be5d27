import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdir } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { basename, join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { execa } from 'execa';
import { withPipes } from '../../../core/child-pipes.ts';
import { removeTree } from '../../../core/disk/remove-tree.ts';
import type { Mount, Sandbox } from '../../../sandbox/sandbox.ts';
import type { TerminalSize } from '../../runtime.ts';

/**
 * The names of the pipes in the folder of a command. In the sandbox, the scripts of `onPipes`, `inTerminal` and
 * `ExecAgent` open these pipes. Only `exec` uses `status`.
 */
const NAMES = ['in', 'out', 'err', 'size', 'status'] as const;

/**
 * A shell script that starts a program for each pipe in the folder `$1`. The program opens the pipe and passes data
 * between the pipe and a socket to this server. These sockets are the descriptors 3 to 7 of the script, in the order of
 * `NAMES`. When the descriptor 0 ends, because the command has ended or this server was killed, the script kills all of
 * these programs. Otherwise, a program that waits until the sandbox opens its pipe would never end. Each program first
 * closes the sockets of the other programs, so that this server sees the end of each socket.
 */
const PASS_ON = `cd "$1" || exit
( exec 4<&- 5<&- 6<&- 7<&-; exec cat <&3 >in ) &
( exec 3<&- 5<&- 6<&- 7<&-; exec cat >&4 <out ) &
( exec 3<&- 4<&- 6<&- 7<&-; exec cat >&5 <err ) &
( exec 3<&- 4<&- 5<&- 7<&-; exec cat <&6 >size ) &
( exec 3<&- 4<&- 5<&- 6<&-; exec cat >&7 <status ) &
exec 3<&- 4<&- 5<&- 6<&- 7<&-
cat >/dev/null
kill -s KILL 0`;

/**
 * The named pipes between this server and a one-off command in a sandbox. The sandbox sees the folder of the pipes
 * read-only. For `run`, only the command sees this folder. For `exec`, the process beside which the command runs sees
 * it too. A command of `run` does not get the standard streams of its sandbox, because the script that wraps the
 * command prints to them.
 *
 * This server never opens the pipes itself: opening a pipe waits for the lock of the pipe, which a tool can hold for
 * minutes (see `openPipe`). Other programs open the pipes (`PASS_ON`). Each program waits until the sandbox opens the
 * same pipe. So a pipe that is not open yet does not look like a pipe that has ended.
 */
export class OneOffPipes implements AsyncDisposable {
  readonly mount: Mount;
  readonly input: Writable;
  readonly output: Readable;
  readonly errors: Readable;
  /** The pipe to which the script of an `exec` command writes that the command starts, and its exit status. */
  readonly status: Readable;
  readonly #sizes: Writable;
  readonly #programs: ChildProcess;
  /**
   * The newest size of the terminal, while an earlier size is being written. Otherwise null. Writing takes long if the
   * loop in the sandbox that reads sizes is stopped.
   */
  #nextSize: TerminalSize | null = null;
  #isResizing = false;

  private constructor(folder: string) {
    this.mount = { source: folder, target: '/run/one-off', isWritable: false };
    this.#programs = withPipes(
      spawn('/bin/sh', ['-c', PASS_ON, 'sh', folder], {
        env: { PATH: '/usr/local/bin:/usr/bin:/bin' },
        stdio: ['pipe', 'ignore', 'ignore', ...NAMES.map(() => 'pipe' as const)],
        detached: true,
      }).on('error', () => {}),
    );
    const [, , , input, output, errors, sizes, status] = this.#programs.stdio.map((one) =>
      quiet(one as Socket | null),
    );
    if (this.#programs.pid === undefined || !input || !output || !errors || !sizes || !status)
      throw new Error('The programs that open the pipes of a command could not be started.');
    this.input = input;
    this.output = output;
    this.errors = errors;
    this.status = status;
    this.#sizes = sizes;
  }

  /** The folder with the pipes. */
  get folder(): string {
    return this.mount.source;
  }

  /** The name of the folder with the pipes, a random UUID. */
  get id(): string {
    return basename(this.folder);
  }

  /** Creates the pipes in a new folder. @param parent - A folder that the tool's user may enter. */
  static async make(parent: string, toolNumber: number, sandbox: Sandbox): Promise<OneOffPipes> {
    const folder = join(parent, randomUUID());
    const paths = NAMES.map((name) => join(folder, name));
    await mkdir(folder);
    try {
      // The tool's user must be able to enter the folder, and the umask may have removed that permission.
      await chmod(folder, 0o711);
      await execa('/usr/bin/mkfifo', ['-m', '600', ...paths], { env: {}, extendEnv: false, stdin: 'ignore' });
      await sandbox.own(paths, toolNumber);
      return new OneOffPipes(folder);
    } catch (error) {
      await removeTree(folder);
      throw error;
    }
  }

  /** Sends a new size to the terminal inside the sandbox. */
  resize(size: TerminalSize): void {
    this.#nextSize = size;
    if (!this.#isResizing) this.#tellSize();
  }

  #tellSize(): void {
    const size = this.#nextSize;
    if (size === null || this.#sizes.destroyed) return;
    this.#nextSize = null;
    this.#isResizing = true;
    this.#sizes.write(`${size.rows} ${size.columns}\n`, () => {
      this.#isResizing = false;
      this.#tellSize();
    });
  }

  /** Hangs up the terminal inside the sandbox, so that the command gets SIGHUP. */
  hangUp(): void {
    this.#sizes.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const programs = this.#programs;
    for (const stream of programs.stdio) stream?.destroy();
    if (programs.exitCode === null && programs.signalCode === null) await once(programs, 'exit');
    await removeTree(this.mount.source);
  }
}

/**
 * Ignores errors of a socket, such as EPIPE: the command has closed the pipe or ended, and its exit gives the reason.
 */
function quiet(socket: Socket | null): Socket | null {
  return socket?.on('error', () => {}) ?? null;
}
