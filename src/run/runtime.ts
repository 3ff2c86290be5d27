import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { LostPlace } from '../core/lost-place.ts';
import type { ToolName } from '../core/names.ts';
import type { Progress } from '../core/progress.ts';
import type { Release, Replicas } from '../core/types.ts';

export interface RollOut {
  readonly release: Release;
  readonly toolNumber: number;
  readonly progress: Progress;
  /** Aborted by `cancel` and at shutdown; honoured until `beforeSwitch` was called. */
  readonly signal: AbortSignal;
  /**
   * Called once all new processes are healthy and before traffic moves to them. Where it throws, the
   * new processes are stopped and the old ones go on.
   */
  readonly beforeSwitch: () => Promise<void>;
  /** How many processes of each type run; a type that is not there runs as often as `replicasOf` says. */
  readonly replicas: Replicas;
}

/** One run of what the Procfile calls `release`. */
export interface ReleasePhase {
  readonly release: Release;
  readonly toolNumber: number;
  readonly progress: Progress;
  /** Aborted by `cancel` and at shutdown. */
  readonly signal: AbortSignal;
}

/** `scheduled`: it does not run now, and will when it is due. */
export type ProcessState = 'starting' | 'up' | 'crashed' | 'stopping' | 'scheduled' | 'off';

export interface ProcessStatus {
  /** `web.1` */
  readonly name: string;
  readonly version: number;
  readonly state: ProcessState;
  /** Null if it is not known, as of a release that an earlier server started. */
  readonly command: string | null;
  readonly startedAt: number;
  readonly restarts: number;
  /** Why it is not up: `exited with code 1`; null = nothing to say. */
  readonly detail: string | null;
  /** Of a scheduled process: when it runs. */
  readonly schedule?: ScheduleStatus;
}

export interface ScheduleStatus {
  /** As in toolforge.yaml: `@daily`. */
  readonly text: string;
  /** The five fields that it means, in UTC. */
  readonly cron: string;
  /** When it is due next, in milliseconds since 1970; null = never again. */
  readonly nextAt: number | null;
  /** The newest run; null = none that is known of. */
  readonly lastRun: ScheduledRun | null;
}

export interface ScheduledRun {
  readonly startedAt: number;
  /** Null while it runs. */
  readonly endedAt: number | null;
  /** Null while it runs, and where a signal or a limit ended it. */
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
  /** Process type or name; null = all. */
  readonly process: string | null;
  /** How many of the newest lines, 1 to 10,000. */
  readonly lines: number;
  readonly follow: boolean;
  readonly signal: AbortSignal;
}

/** The terminal that somebody sits at. */
export interface Terminal {
  /** What TERM says: `xterm-256color`. */
  readonly type: string;
  readonly size: TerminalSize;
  /** Called with each new size. */
  onResize(listener: (size: TerminalSize) => void): void;
}

export interface TerminalSize {
  /** 1 to 65,535, as rows. */
  readonly columns: number;
  readonly rows: number;
}

/** One run of a command beside the processes that stay up, for somebody who waits for its end. */
export interface OneOff {
  readonly release: Release;
  readonly toolNumber: number;
  /** At least one word; no shell reads them. */
  readonly command: readonly string[];
  /** Null = three pipes. With one, all output is `output`. */
  readonly terminal: Terminal | null;
  /** Read only as fast as the process reads; its end is passed on. */
  readonly input: AsyncIterable<Uint8Array>;
  /** Resolves when the client has taken it, which holds the process back; resolves too when nobody is there any more. */
  readonly output: (chunk: Uint8Array) => Promise<void>;
  readonly errors: (chunk: Uint8Array) => Promise<void>;
  /** The client has gone: the process gets SIGTERM, or with a terminal SIGHUP, and after the grace time SIGKILL. */
  readonly signal: AbortSignal;
}

export interface OneOffEnd {
  /** 0 to 255; 128 + N where the signal N ended it. */
  readonly status: number;
  /** Why it was ended, where the process itself could not say so: a full sentence, or null. */
  readonly why: string | null;
}

/** Release → running processes. */
export interface Runtime {
  /**
   * Before a build: that a release of the tool could be started at all, as far as that can be known.
   *
   * @throws DeployError that says what the operator must mend, as that the tool's namespace is not there.
   */
  assertReady(tool: ToolName, signal: AbortSignal): Promise<void>;
  /**
   * Runs the release's process of type `release`, if it has one, to its end: before any of its other processes
   * starts. What it prints goes to `progress`.
   *
   * @throws DeployError `RELEASE_FAILED`, `RELEASE_TIMED_OUT`.
   */
  runReleasePhase(phase: ReleasePhase): Promise<void>;
  /**
   * Starts the release's processes, waits until they are healthy, moves the traffic, drains and stops the
   * old ones. Returns when traffic has moved; draining goes on by itself.
   *
   * @throws DeployError `ROLLOUT_CRASHED`, `ROLLOUT_TIMED_OUT`, `ROLLOUT_UNHEALTHY`; the old release
   * then serves as before and nothing of the new one runs. The last log lines went to `progress`.
   */
  rollOut(rollOut: RollOut): Promise<void>;
  /** After a start of the server: brings a live release up again, with restarts until it is healthy. */
  resume(release: Release, toolNumber: number, replicas: Replicas): Promise<void>;
  /** Ends all processes of the tool; resolves when they are gone. */
  stop(tool: ToolName): Promise<void>;
  status(tool: ToolName): Promise<ProcessStatus[]>;
  /** Why nothing of the live release runs although nobody stopped it: its namespace was deleted; null otherwise. */
  lostPlace(tool: ToolName): LostPlace | null;
  logs(tool: ToolName, query: LogQuery): AsyncIterable<LogLine>;
  /** Where people reach the tool; null where its name cannot be a host name. */
  address(tool: ToolName): string | null;
  /** Ends everything, at shutdown. */
  close(): Promise<void>;
  /**
   * Runs the live release in other numbers: what is missing is started and gets requests once all of it is healthy,
   * then what is too much is drained and ended. What runs and is to stay is not touched. `beforeSwitch` stands between
   * the two. A release that does not run here yet is rolled out.
   *
   * @throws DeployError as `rollOut`; then as many run as before.
   */
  scale(rollOut: RollOut): Promise<void>;
  /**
   * At start, once the tool's live release is resumed or where it has none: ends what an earlier server had begun for
   * it and that never got live.
   */
  cleanUp(tool: ToolName): Promise<void>;
  /**
   * Runs a command with the release's artifact and config vars, kept apart as the tool's processes are. It is in
   * `status` as `run.1`; rollouts and `stop` leave it alone. What it prints is in no log.
   *
   * @throws DeployError `TOO_MANY_ONE_OFFS`, `ARTIFACT_UNUSABLE`, `ONE_OFF_FAILED` where it could not be started,
   * `NO_TERMINAL`, `SHUTTING_DOWN`, or the cluster's refusal.
   */
  run(oneOff: OneOff): Promise<OneOffEnd>;
  /** Ids of the artifacts that something of the tool still runs from, one-offs and what leaves included: they must stay. */
  artifactsInUse(tool: ToolName): ReadonlySet<string>;
  /** Ends all one-offs and takes no more, at shutdown, while their clients can still be told. */
  endOneOffs(): Promise<void>;
}

/** The way of web requests to tools; the HTTP door asks it first. */
export interface Gateway {
  /** The tool that this Host header belongs to, or null where it is the server's own. */
  toolOf(host: string | undefined): string | null;
  serve(tool: string, request: IncomingMessage, response: ServerResponse): void;
  upgrade(tool: string, request: IncomingMessage, socket: Duplex, head: Buffer): void;
}
