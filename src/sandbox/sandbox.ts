import type { Readable } from 'node:stream';
import { signalName } from '../core/text/signal-name.ts';

export interface Mount {
  /** A folder or a file of this machine, which the command sees at `target`. */
  readonly source: string;
  /** An absolute path inside the sandbox. Without isolation, the command sees `source` at its real path instead. */
  readonly target: string;
  readonly isWritable: boolean;
  /**
   * A folder of this machine in which the sandbox puts the files that the command changes below `target`. The files of
   * `source` do not change. The folder must have the folders `changes`, `work` and `view`, owned by the tool's user. If
   * the kernel cannot do this, the command can read the files below `target`, but not change them. Without isolation,
   * this field has no effect: the command works in `source` itself. At most one mount of a command may have this field.
   */
  readonly writesTo?: string;
}

export interface Limits {
  /**
   * The most processes and threads that may run in the sandbox. In the mode `trusted`, only control groups can limit
   * this number.
   */
  readonly processes: number;
  /**
   * The most memory of all processes together, in bytes. In the mode `trusted`, only control groups can limit this sum.
   * Each process has a limit of its own too (`resourceLimits`).
   */
  readonly memoryBytes: number;
  /** The size in bytes of the largest file that a process may write. */
  readonly fileBytes: number;
}

export interface SandboxCommand {
  /** A name for people and logs, such as `web.1 of wikibot`. */
  readonly name: string;
  readonly argv: readonly string[];
  /** The whole environment of the command: it inherits nothing from the server. */
  readonly env: Readonly<Record<string, string>>;
  /** The folder in which the command starts: a path that `Sandbox.path` returned. */
  readonly cwd: string;
  readonly mounts: readonly Mount[];
  /**
   * The root folder of the Debian tree whose /usr, /etc and /var the command sees. If null, the command sees this
   * machine's /usr and a part of this machine's /etc. Without isolation, a command always sees this machine's files.
   */
  readonly tree: string | null;
  /**
   * The number of the tool, from 1. The server's own test of the sandbox has the number 0. If tools have users of their
   * own, each number has its own unprivileged uid.
   */
  readonly toolNumber: number;
  readonly limits: Limits;
  /**
   * Makes the TCP port `inside` of the sandbox reachable at `127.0.0.1:outside`. Null publishes no port. Without
   * isolation, the process must listen on `outside`, and `inside` is not used.
   */
  readonly publish: { readonly outside: number; readonly inside: number } | null;
  /**
   * A network that the command shares with other commands. Such a command must not publish a port. If this network is
   * missing, is not ready yet or has ended, the command gets a network of its own.
   */
  readonly network?: SharedNetwork;
  /** If true, and memory is short, the kernel ends this command before it ends processes of live releases. */
  readonly endsFirst?: boolean;
}

/**
 * A network for commands of one tool that run one after another, such as the phases of a build. So no command needs its
 * own process of pasta, the program that connects a sandbox to the network: pasta takes longer to start and end than
 * the rest of a sandbox. Disposing the object ends the network.
 */
export interface SharedNetwork extends Disposable {}

export interface Exit {
  /** The exit code. Null if a signal killed the process. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /**
   * True if the process was killed because it reached its memory limit, because all processes of its tool together
   * reached their memory limit, or because the machine ran out of memory.
   */
  readonly isOutOfMemory: boolean;
  /**
   * True if it is known that all processes of the tool together reached their memory limit, while this process alone
   * did not reach its own.
   */
  readonly isToolOutOfMemory?: boolean;
  /**
   * True if the server ended the process because it, or all processes of its tool together, had too many locks of
   * files, watches of epoll or connections, or too much unread or unsent data in sockets. Also true if the server could
   * not count these things in time, twice in a row.
   */
  readonly isOverKernelLimits?: boolean;
  /** Set if the server ended the process because of its disk use. */
  readonly disk?: DiskEnd;
}

/** The possible reasons why the server ended a process for which `Exit.isOverKernelLimits` is true. */
export const OVER_KERNEL_LIMITS =
  'more than 2,000 locks of files, more than 50,000 watches of epoll, more than 32 MiB of unread messages in netlink sockets, more than 5,000 TCP connections to the network, or too much unread or unsent data in TCP or UDP sockets while the server was short of memory for sockets, alone or together with the other processes of this tool';
export const KERNEL_LIMITS_HINT =
  'Take fewer locks of files at the same time (flock, fcntl), release those that are no longer needed, watch fewer files by epoll, read or close netlink sockets, read what arrives in TCP and UDP sockets, and close connections that are no longer needed.';

/**
 * Why the server ended a process for its disk use. `room`: the disk was nearly full. `open-files`: the processes of its
 * sandbox together had more than `limit` files open, or mapped or hid so many that deleted files could not be found.
 * `moving`: it moved files and folders all the time, so that they could not be measured. The other kinds: the process,
 * or all processes of its tool together (`-of-tool`), wrote more bytes or made more files and folders (`entries`) than
 * `limit`.
 */
export type DiskEnd =
  | {
      readonly kind: 'bytes' | 'entries' | 'bytes-of-tool' | 'entries-of-tool' | 'open-files';
      readonly limit: number;
    }
  | { readonly kind: 'room' | 'moving' };

export interface SandboxProcess {
  /** The standard output and standard error of the command, interleaved. Callers must consume this stream. */
  readonly output: Readable;
  readonly exited: Promise<Exit>;
  /** Sends SIGTERM to the command itself, not to the programs that wrap it. */
  terminate(): void;
  /** Immediately kills the process and everything that it started. */
  kill(): void;
  /**
   * Tells that the command is live from now on. If memory is short, the kernel then no longer ends it before other live
   * processes (`SandboxCommand.endsFirst`).
   */
  settle(): void;
  /**
   * Sends a signal to each process in this sandbox that was started with this environment variable. Such processes run
   * code of the tool, which can fake or remove the variable.
   */
  signalMarked(variable: string, value: string, name: NodeJS.Signals): Promise<void>;
  /**
   * Returns the TCP ports on which processes in the sandbox listen. If a process does not listen on PORT, the message
   * for the maintainer names these ports.
   */
  listeningPorts(): Promise<number[]>;
  /** The memory that the command and everything it started use now, in bytes. Null if this is unknown. */
  memoryBytes(): number | null;
}

/** Runs tools' code and buildpacks. In the mode `isolated`, keeps them apart from the machine and from each other. */
export interface Sandbox {
  /**
   * In the mode `trusted`, commands run without isolation and see real paths, so the mode suits one trusted user only.
   */
  readonly mode: 'isolated' | 'trusted';
  /**
   * Why this sandbox cannot put the changes of a command into `Mount.writesTo`, as a text for people. Null if it can.
   */
  readonly whyNoChanges: string | null;
  /**
   * Why the kernel does not limit the connections of isolated tools, although this server is root: a text that can
   * follow the word `because`. Otherwise null.
   */
  readonly whyNoFlowLimit: string | null;
  /** True if each tool has a uid of its own. Otherwise all tools run as the user of the server. */
  readonly hasUsers: boolean;
  /**
   * Returns the path at which a command sees a mounted folder: the mount's `target`, or its `source` without isolation.
   */
  path(mount: Mount): string;
  /**
   * Starts a command.
   *
   * @throws DeployError `NOT_PASSABLE` if the command or its environment cannot be passed to a program.
   */
  start(command: SandboxCommand): SandboxProcess;
  /** Starts a network for commands of this tool, and returns at once. The network gets ready later. */
  shareNetwork(toolNumber: number, limits: Limits): SharedNetwork;
  /**
   * Makes the tool's uid the owner of these folders and of everything in them. Does nothing if tools run as the user of
   * the server.
   */
  own(folders: readonly string[], toolNumber: number): Promise<void>;
}

/**
 * Turns an exit status into an exit code or a signal. A shell and bwrap exit with 128 + n if signal n killed the
 * command.
 */
export function fromStatus(status: number): Omit<Exit, 'isOutOfMemory'> {
  const signal = signalName(status - 128);
  return { code: signal === null ? status : null, signal };
}
