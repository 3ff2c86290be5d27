import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { LostNamespace } from '../core/lost-namespace.ts';
import type { ToolName } from '../core/names.ts';
import type { Progress } from '../core/progress.ts';
import type { Release, Replicas } from '../core/types.ts';

export interface RollOut {
  readonly release: Release;
  readonly toolNumber: number;
  readonly progress: Progress;
  /** Aborted by `cancel` and at shutdown. Has no effect after `beforeSwitch` was called. */
  readonly signal: AbortSignal;
  /**
   * Called when all new processes are healthy, before traffic moves to them. If it throws, the new processes are
   * stopped and the old ones continue.
   */
  readonly beforeSwitch: () => Promise<void>;
  /** How many processes of each type run. For a missing type, `replicasOf` decides. */
  readonly replicas: Replicas;
}

/** One run of the Procfile's `release` process. */
export interface ReleasePhase {
  readonly release: Release;
  readonly toolNumber: number;
  readonly progress: Progress;
  /** Aborted by `cancel` and at shutdown. */
  readonly signal: AbortSignal;
}

/** `scheduled` means that the process does not run now, but will when it is due. */
export type ProcessState = 'starting' | 'up' | 'crashed' | 'stopping' | 'scheduled' | 'off';

export interface ProcessStatus {
  /** `web.1` */
  readonly name: string;
  readonly version: number;
  readonly state: ProcessState;
  /** Null if unknown, for example because an earlier server started the release. */
  readonly command: string | null;
  readonly startedAt: number;
  readonly restarts: number;
  /** Why it is not up: `exited with code 1`; null if there is no reason. */
  readonly detail: string | null;
  /** When it runs, if it is a scheduled process. */
  readonly schedule?: ScheduleStatus;
}

export interface ScheduleStatus {
  /** As in toolforge.yaml: `@daily`. */
  readonly text: string;
  /** The same as five cron fields, in UTC. */
  readonly cron: string;
  /** When it is due next, in milliseconds since 1970, or null if never. */
  readonly nextAt: number | null;
  /** The newest known run, or null. */
  readonly lastRun: ScheduledRun | null;
}

export interface ScheduledRun {
  readonly startedAt: number;
  /** Null while it runs. */
  readonly endedAt: number | null;
  /** Null while it runs, and if a signal or a limit ended it. */
  readonly exitCode: number | null;
  /** `exited with code 1`; null while it runs. */
  readonly detail: string | null;
}

export interface LogLine {
  /** ISO 8601, UTC, milliseconds. */
  readonly at: string;
  /** `web.1` */
  readonly process: string;
  readonly text: string;
}

export interface LogQuery {
  /** A process type or name. Null for all processes. */
  readonly process: string | null;
  /** How many of the newest lines, 1 to 10,000. */
  readonly lines: number;
  readonly follow: boolean;
  readonly signal: AbortSignal;
}

/** The terminal of a client. */
export interface Terminal {
  /** The value of TERM: `xterm-256color`. */
  readonly type: string;
  readonly size: TerminalSize;
  /** Called with each new size. */
  onResize(listener: (size: TerminalSize) => void): void;
}

export interface TerminalSize {
  /** 1 to 65,535, like `rows`. */
  readonly columns: number;
  readonly rows: number;
}

/** One run of a command beside the tool's processes. Its client waits for the end. */
export interface OneOff {
  readonly release: Release;
  readonly toolNumber: number;
  /** At least one word. No shell interprets them. */
  readonly command: readonly string[];
  /** The client's terminal, or null for three pipes. With a terminal, all output goes to `output`. */
  readonly terminal: Terminal | null;
  /** Read only as fast as the process reads. Its end closes the process's input. */
  readonly input: AsyncIterable<Uint8Array>;
  /** Resolves when the client has taken the chunk or has gone. Until then the process may have to wait. */
  readonly output: (chunk: Uint8Array) => Promise<void>;
  readonly errors: (chunk: Uint8Array) => Promise<void>;
  /** Fires when the client has gone. The process then gets SIGTERM, or SIGHUP with a terminal; SIGKILL after the grace time. */
  readonly signal: AbortSignal;
}

export interface OneOffEnd {
  /** 0 to 255; 128 + N if the signal N ended it. */
  readonly status: number;
  /** Why this server ended the process: a full sentence, or null if it did not. */
  readonly why: string | null;
}

/** Runs the processes of releases. */
export interface Runtime {
  /**
   * Checks before a build, as far as possible, that a release of the tool could be started.
   *
   * @throws DeployError that says what the operator must repair, for example a missing namespace.
   */
  assertReady(tool: ToolName, signal: AbortSignal): Promise<void>;
  /**
   * Runs the release's process of type `release`, if it has one, to its end. Must run before the rollout. Its output
   * goes to `progress`.
   *
   * @throws DeployError `RELEASE_FAILED`, `RELEASE_TIMED_OUT`.
   */
  runReleasePhase(phase: ReleasePhase): Promise<void>;
  /**
   * Starts the release's processes, waits until they are healthy, moves the traffic, and drains and stops the old
   * processes. Returns when the traffic has moved, before draining ends.
   *
   * @throws DeployError `ROLLOUT_CRASHED`, `ROLLOUT_TIMED_OUT`, `ROLLOUT_UNHEALTHY`. The old release then still serves,
   * and no process of the new one runs. The last log lines went to `progress`.
   */
  rollOut(rollOut: RollOut): Promise<void>;
  /** Called after a start of the server. Starts a live release again, and restarts it until it is healthy. */
  resume(release: Release, toolNumber: number, replicas: Replicas): Promise<void>;
  /** Ends all processes of the tool. Resolves when they are gone. */
  stop(tool: ToolName): Promise<void>;
  status(tool: ToolName): Promise<ProcessStatus[]>;
  /** The tool's namespace, if the live release does not run because it was deleted; otherwise null. */
  lostNamespace(tool: ToolName): LostNamespace | null;
  logs(tool: ToolName, query: LogQuery): AsyncIterable<LogLine>;
  /** The tool's web address. Null if its name cannot be a host name. */
  address(tool: ToolName): string | null;
  /** Called at shutdown. Ends everything that must not outlive the server. */
  close(): Promise<void>;
  /**
   * Changes how many processes of the live release run. Starts missing processes and, when all are healthy, gives them
   * requests. Then calls `beforeSwitch`, and drains and ends surplus processes. Does not touch the others. Rolls the
   * release out if it does not run yet.
   *
   * @throws DeployError as `rollOut`. The numbers then stay as before.
   */
  scale(rollOut: RollOut): Promise<void>;
  /**
   * Called at start, after `resume` or if the tool has no live release. Ends what an earlier server had started for a
   * release that never went live.
   */
  cleanUp(tool: ToolName): Promise<void>;
  /**
   * Runs a command with the release's artifact and config vars, isolated like the tool's processes. `status` lists it
   * as `run.1`. Rollouts and `stop` do not end it. Its output is in no log.
   *
   * @throws DeployError `TOO_MANY_ONE_OFFS`, `ARTIFACT_UNUSABLE`, `ONE_OFF_FAILED` if it could not be started,
   * `NO_TERMINAL`, `SHUTTING_DOWN`, or the cluster's refusal.
   */
  run(oneOff: OneOff): Promise<OneOffEnd>;
  /** Ids of the artifacts that must stay, because processes of the tool use them; one-offs and draining processes count. */
  artifactsInUse(tool: ToolName): ReadonlySet<string>;
  /** Called at shutdown, while clients are still connected. Ends all one-offs and accepts no more. */
  endOneOffs(): Promise<void>;
}

/** Passes web requests to tools. The HTTP server asks it first. */
export interface Gateway {
  /** The tool that this Host header names, or null if it names the server itself. */
  toolOf(host: string | undefined): string | null;
  serve(tool: string, request: IncomingMessage, response: ServerResponse): void;
  upgrade(tool: string, request: IncomingMessage, socket: Duplex, head: Buffer): void;
}
