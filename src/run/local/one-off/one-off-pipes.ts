import { randomUUID } from 'node:crypto';
import { closeSync, constants, openSync } from 'node:fs';
import { chmod, mkdir } from 'node:fs/promises';
import { Socket } from 'node:net';
import { basename, join } from 'node:path';
import { execa } from 'execa';
import { removeTree } from '../../../core/disk/remove-tree.ts';
import type { Mount, Sandbox } from '../../../sandbox/sandbox.ts';
import type { TerminalSize } from '../../runtime.ts';

/**
 * The names of the pipes in the folder. In the sandbox, the scripts of `onPipes`, `inTerminal` and `ExecAgent` open
 * them. Only `exec` uses `status`.
 */
const NAMES = ['in', 'out', 'err', 'size', 'status'] as const;

/**
 * The named pipes between this server and a one-off command in a sandbox. Their folder is mounted read-only. A command
 * of `run` has the folder alone, and a command of `exec` shares it with the process of the tool. A command of `run`
 * does not get the standard streams of its sandbox, because the script that wraps the command prints to them.
 */
export class OneOffPipes implements AsyncDisposable {
  readonly mount: Mount;
  readonly input: Socket;
  readonly output: Socket;
  readonly errors: Socket;
  /** The pipe to which the script of an `exec` command writes that the command starts, and its exit status. */
  readonly status: Socket;
  readonly #sizes: Socket;
  /**
   * Descriptors that hold each pipe open for reading and writing, so that neither this server nor the command waits for
   * the other or sees an early end.
   */
  readonly #keepers: Map<(typeof NAMES)[number], number>;
  /**
   * The newest size of the terminal, while an earlier size is being written. Writing takes long if the loop in the
   * sandbox that reads sizes is stopped.
   */
  #nextSize: TerminalSize | null = null;
  #isResizing = false;

  /** Opens all pipes in the folder. Must run before the command starts. For `exec`, the tool can open the pipes too. */
  private constructor(folder: string) {
    this.mount = { source: folder, target: '/run/one-off', isWritable: false };
    const { keepers, ends } = openAll(folder);
    this.#keepers = keepers;
    const reader = (fd: number) => quiet(new Socket({ fd, readable: true, writable: false }));
    const writer = (fd: number) => quiet(new Socket({ fd, readable: false, writable: true }));
    this.input = writer(ends.in);
    this.output = reader(ends.out);
    this.errors = reader(ends.err);
    this.status = reader(ends.status);
    this.#sizes = writer(ends.size);
  }

  /** The folder with the pipes. */
  get folder(): string {
    return this.mount.source;
  }

  /** The name of the folder, a random UUID. */
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

  /**
   * Closes the keepers of all pipes except `size`. Call this when the command has opened these pipes.
   * From then on, this server and the command see when the other side closes a pipe. The pipe `size` is still held
   * open, because its reader may not have opened it yet.
   */
  opened(): void {
    this.#let('in', 'out', 'err', 'status');
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
    this.#let('size');
  }

  #let(...names: readonly (typeof NAMES)[number][]): void {
    for (const name of names) {
      const keeper = this.#keepers.get(name);
      if (keeper !== undefined && this.#keepers.delete(name)) closeSync(keeper);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#let(...NAMES);
    for (const stream of [this.input, this.output, this.errors, this.status, this.#sizes]) stream.destroy();
    await removeTree(this.mount.source);
  }
}

/**
 * Opens each pipe twice: for reading and writing, so that it stays open (`keepers`), and as this server's own end. If a
 * pipe cannot be opened, closes all that are open.
 */
function openAll(folder: string) {
  const opened: number[] = [];
  const open = (name: (typeof NAMES)[number], flags: number): number => {
    const fd = openSync(join(folder, name), flags | constants.O_NONBLOCK);
    opened.push(fd);
    return fd;
  };
  try {
    // fifo(7): on Linux, opening for reading and writing never blocks.
    const keepers = new Map(NAMES.map((name) => [name, open(name, constants.O_RDWR)]));
    const ends = {
      in: open('in', constants.O_WRONLY),
      out: open('out', constants.O_RDONLY),
      err: open('err', constants.O_RDONLY),
      status: open('status', constants.O_RDONLY),
      size: open('size', constants.O_WRONLY),
    };
    return { keepers, ends };
  } catch (error) {
    for (const fd of opened) closeSync(fd);
    throw error;
  }
}

/** Ignores errors of a pipe, such as EPIPE: the process has closed the pipe or ended, and its exit gives the reason. */
function quiet(socket: Socket): Socket {
  return socket.on('error', () => {});
}
