import { constants } from 'node:os';
import type { Readable } from 'node:stream';

export interface Mount {
  /** A folder of this machine. */
  readonly source: string;
  /** An absolute path inside the sandbox. */
  readonly target: string;
  readonly isWritable: boolean;
}

export interface Limits {
  /** The most processes and threads. */
  readonly processes: number;
  /** For each process (RLIMIT_DATA), and for all together if there are cgroups. */
  readonly memoryBytes: number;
  /** The largest file that may be written. */
  readonly fileBytes: number;
}

export interface SandboxCommand {
  /** For people and logs: `web.1 of wikibot`. */
  readonly name: string;
  readonly argv: readonly string[];
  /** The whole environment: nothing is inherited. */
  readonly env: Readonly<Record<string, string>>;
  /** A path as `Sandbox.path` returns it. */
  readonly cwd: string;
  readonly mounts: readonly Mount[];
  /** At least 1. If the server is root, each number gets its own unprivileged uid. */
  readonly toolNumber: number;
  readonly limits: Limits;
  /**
   * Makes the TCP port `inside` reachable at `127.0.0.1:outside`; null = none. Without isolation, the process must listen
   * on `outside`, and `inside` is not used.
   */
  readonly publish: { readonly outside: number; readonly inside: number } | null;
}

export interface Exit {
  /** Null if killed by a signal. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Whether the memory limit ended it. */
  readonly isOutOfMemory: boolean;
  /** Set if it was ended because of what it wrote to disk. */
  readonly disk?: DiskEnd;
}

/**
 * Why a process was ended because of its disk use: it passed a limit, all processes of its tool together made too many
 * files, or the disk was nearly full.
 */
export type DiskEnd =
  | { readonly kind: 'bytes' | 'entries' | 'entries-of-tool'; readonly limit: number }
  | { readonly kind: 'room' };

export interface SandboxProcess {
  /** Standard output and standard error, interleaved. Must be consumed. */
  readonly output: Readable;
  readonly exited: Promise<Exit>;
  /** Sends SIGTERM to the process itself, not to its wrappers. */
  terminate(): void;
  /** Kills it and everything that it started, at once. */
  kill(): void;
  /** The TCP ports that processes inside listen on, for messages about a process that does not listen on PORT. */
  listeningPorts(): Promise<number[]>;
}

/** Runs tools' code and buildpacks, and keeps them apart from the machine and from each other. */
export interface Sandbox {
  /** `trusted`: no isolation, one trusted user, real paths. */
  readonly mode: 'isolated' | 'trusted';
  /** The path of a mounted folder for the code inside: `target`, or without isolation `source`. */
  path(mount: Mount): string;
  /** @throws DeployError `NOT_PASSABLE` if the command or its environment cannot be passed to a program. */
  start(command: SandboxCommand): SandboxProcess;
  /** Gives folders with their content to the tool's uid. */
  own(folders: readonly string[], toolNumber: number): Promise<void>;
}

/** A shell and bwrap exit with 128 + n if signal n killed the command. */
export function fromStatus(status: number): Omit<Exit, 'isOutOfMemory'> {
  const name = Object.entries(constants.signals).find(([, number]) => number + 128 === status)?.[0];
  return name === undefined ? { code: status, signal: null } : { code: null, signal: name as NodeJS.Signals };
}
