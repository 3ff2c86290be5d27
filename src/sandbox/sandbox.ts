import type { Readable } from 'node:stream';

export interface Mount {
  /** A folder of this machine. */
  readonly source: string;
  /** An absolute path inside. */
  readonly target: string;
  readonly isWritable: boolean;
}

export interface Limits {
  /** Processes and threads at once. */
  readonly processes: number;
  /** Of one process (RLIMIT_DATA), and of all together where a cgroup can be had. */
  readonly memoryBytes: number;
  /** The largest file that may be written. */
  readonly fileBytes: number;
}

export interface SandboxCommand {
  /** For people and logs: `web.1 of wikibot`. */
  readonly name: string;
  readonly argv: readonly string[];
  /** All of it: nothing is inherited. */
  readonly env: Readonly<Record<string, string>>;
  /** A path as `Sandbox.path` gives it. */
  readonly cwd: string;
  readonly mounts: readonly Mount[];
  /** 1 and up: each number gets its own unprivileged uid where the server is root. */
  readonly toolNumber: number;
  readonly limits: Limits;
  /**
   * A TCP port inside that is reached at `127.0.0.1:outside`; null = none. Without isolation the two are
   * the same, `inside` is not used and the process must listen on `outside`.
   */
  readonly publish: { readonly outside: number; readonly inside: number } | null;
}

export interface Exit {
  /** Null when ended by a signal. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** True where the memory limit ended it. */
  readonly isOutOfMemory: boolean;
  /** Set if it was ended because of what it wrote to disk. */
  readonly disk?: DiskEnd;
}

/**
 * Why a process was ended because of what it wrote to disk: it passed a limit, all processes of its tool together made
 * too many files, or the disk was nearly full.
 */
export type DiskEnd =
  | { readonly kind: 'bytes' | 'entries' | 'entries-of-tool'; readonly limit: number }
  | { readonly kind: 'room' };

export interface SandboxProcess {
  /** Standard output and standard error, interleaved. It must be consumed. */
  readonly output: Readable;
  readonly exited: Promise<Exit>;
  /** Sends SIGTERM to the process itself, not to what wraps it. */
  terminate(): void;
  /** Ends it and everything that it started, at once. */
  kill(): void;
  /** The TCP ports that something inside listens on, for saying what was seen instead of PORT. */
  listeningPorts(): Promise<number[]>;
}

/** How tools' code and buildpacks are kept apart from the machine and from each other. */
export interface Sandbox {
  /** `trusted`: no isolation, one trusted user, real paths. */
  readonly mode: 'isolated' | 'trusted';
  /** How a folder mounted at `target` is called by the code inside: `target`, or the source without isolation. */
  path(mount: Mount): string;
  /** @throws DeployError `NOT_PASSABLE` where no program can be given that command or environment. */
  start(command: SandboxCommand): SandboxProcess;
  /** Gives a folder to the tool's uid, recursively. */
  own(folder: string, toolNumber: number): Promise<void>;
  /** Ends whatever an earlier server with the same data folder left running. */
  endLeftovers(): Promise<void>;
}
