import { randomUUID } from 'node:crypto';
import { closeSync, constants, openSync } from 'node:fs';
import { chmod, mkdir } from 'node:fs/promises';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { execa } from 'execa';
import { removeTree } from '../../sandbox/remove.ts';
import type { Mount, Sandbox } from '../../sandbox/sandbox.ts';
import type { TerminalSize } from '../runtime.ts';

/** What the command inside opens, by these names in the folder. */
const NAMES = ['in', 'out', 'err', 'size'] as const;

/**
 * Named pipes between this server and one process in a sandbox, in a folder that is mounted read-only for it alone:
 * the sandbox's own standard streams are used by what wraps the process, and no others come through.
 */
export class OneOffPipes implements AsyncDisposable {
  readonly mount: Mount;
  readonly input: Socket;
  readonly output: Socket;
  readonly errors: Socket;
  readonly #sizes: Socket;
  /** The pipes open for both, so that neither side waits for the other or sees an end too early. */
  readonly #keepers: Map<(typeof NAMES)[number], number>;
  /** The newest, while the one before is on its way: the loop inside may have been stopped. */
  #nextSize: TerminalSize | null = null;
  #isResizing = false;

  /** Everything is opened before any code of the tool runs. */
  private constructor(folder: string) {
    this.mount = { source: folder, target: '/run/one-off', isWritable: false };
    const { keepers, ends } = openAll(folder);
    this.#keepers = keepers;
    const reader = (fd: number) => quiet(new Socket({ fd, readable: true, writable: false }));
    const writer = (fd: number) => quiet(new Socket({ fd, readable: false, writable: true }));
    this.input = writer(ends.in);
    this.output = reader(ends.out);
    this.errors = reader(ends.err);
    this.#sizes = writer(ends.size);
  }

  /** @param parent - A folder that the tool's user may pass through. */
  static async make(parent: string, toolNumber: number, sandbox: Sandbox): Promise<OneOffPipes> {
    const folder = join(parent, randomUUID());
    const paths = NAMES.map((name) => join(folder, name));
    await mkdir(folder);
    try {
      // The umask could have said otherwise.
      await chmod(folder, 0o711);
      await execa('/usr/bin/mkfifo', ['-m', '600', ...paths], { env: {}, extendEnv: false, stdin: 'ignore' });
      await Promise.all(paths.map((path) => sandbox.own(path, toolNumber)));
      return new OneOffPipes(folder);
    } catch (error) {
      await removeTree(folder);
      throw error;
    }
  }

  /**
   * The process has opened its ends: from now on an end of either side is seen by the other. What reads the sizes
   * may not have come yet: they keep until then.
   */
  opened(): void {
    this.#let('in', 'out', 'err');
  }

  /** Tells the terminal inside its new size. */
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

  /** The terminal inside is hung up (SIGHUP). */
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
    for (const stream of [this.input, this.output, this.errors, this.#sizes]) stream.destroy();
    await removeTree(this.mount.source);
  }
}

/** Both what keeps the pipes and this side's ends of them; where one cannot be had, none is left open. */
function openAll(folder: string) {
  const opened: number[] = [];
  const open = (name: (typeof NAMES)[number], flags: number): number => {
    const fd = openSync(join(folder, name), flags | constants.O_NONBLOCK);
    opened.push(fd);
    return fd;
  };
  try {
    // fifo(7): on Linux opening for both never waits.
    const keepers = new Map(NAMES.map((name) => [name, open(name, constants.O_RDWR)]));
    const ends = {
      in: open('in', constants.O_WRONLY),
      out: open('out', constants.O_RDONLY),
      err: open('err', constants.O_RDONLY),
      size: open('size', constants.O_WRONLY),
    };
    return { keepers, ends };
  } catch (error) {
    for (const fd of opened) closeSync(fd);
    throw error;
  }
}

/** EPIPE: the process has closed it, or has ended; how it ended says why. */
function quiet(socket: Socket): Socket {
  return socket.on('error', () => {});
}
