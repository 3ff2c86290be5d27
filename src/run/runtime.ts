import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
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

export type ProcessState = 'starting' | 'up' | 'crashed' | 'stopping';

export interface ProcessStatus {
  /** `web.1` */
  readonly name: string;
  readonly version: number;
  readonly state: ProcessState;
  readonly command: string;
  readonly startedAt: number;
  readonly restarts: number;
  /** Why it is not up: `exited with code 1`; null = nothing to say. */
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

/** Release → running processes. */
export interface Runtime {
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
}

/** The way of web requests to tools; the HTTP door asks it first. */
export interface Gateway {
  /** The tool that this Host header belongs to, or null where it is the server's own. */
  toolOf(host: string | undefined): string | null;
  serve(tool: string, request: IncomingMessage, response: ServerResponse): void;
  upgrade(tool: string, request: IncomingMessage, socket: Duplex, head: Buffer): void;
}
