import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { DeployError } from '../core/errors.ts';
import type { LostNamespace } from '../core/lost-namespace.ts';
import type { ToolName } from '../core/names.ts';
import type { Progress } from '../core/progress.ts';
import type { PhaseStep } from '../core/replicas.ts';
import type { Release, Replicas } from '../core/types.ts';
import type { OutsideVars } from '../core/variables/outside-vars.ts';

export interface RollOut {
  readonly release: Release;
  readonly toolNumber: number;
  readonly progress: Progress;
  /** Fires when somebody cancels the deployment, and at shutdown. Has no effect after `beforeSwitch` has returned. */
  readonly signal: AbortSignal;
  /**
   * Called when all new processes are healthy, before they get requests. The only exception is `scale` in a cluster:
   * there, each new process gets requests as soon as this process is healthy. If `beforeSwitch` throws, the runtime
   * stops the new processes, and the old processes continue.
   */
  readonly beforeSwitch: () => Promise<void>;
  /**
   * How many processes of each type run. For a type that is missing here, the release gives the number: see
   * `replicasOf`.
   */
  readonly replicas: Replicas;
  /**
   * Set only for `restart TOOL TYPE`: the process type to restart. `Runtime.scale` then replaces the running processes
   * of this type by new processes.
   */
  readonly renewed?: string;
}

/** One run of the Procfile's `release` process, or of the test command. */
export interface ReleasePhase {
  readonly step: PhaseStep;
  readonly release: Release;
  readonly toolNumber: number;
  readonly progress: Progress;
  /** Fires when somebody cancels the deployment, and at shutdown. */
  readonly signal: AbortSignal;
}

/**
 * The state of a process. `scheduled` means that the process does not run now, and runs when its schedule is due,
 * unless the schedule is paused. `off` means that somebody other than this server has set the replicas of the process's
 * Deployment to 0 in the cluster.
 */
export type ProcessState = 'starting' | 'up' | 'crashed' | 'stopping' | 'scheduled' | 'off';

export interface ProcessStatus {
  /** The name of the process, such as `web.1`. */
  readonly name: string;
  readonly version: number;
  readonly state: ProcessState;
  /** The command of the process. Null if unknown, for example because an earlier server started the release. */
  readonly command: string | null;
  /**
   * When the process started, in milliseconds since 1970. For a scheduled process, when its newest run started. 0 if
   * unknown.
   */
  readonly startedAt: number;
  readonly restarts: number;
  /** Explains the state, such as `exited with code 1` for a crashed process. Null if there is nothing to explain. */
  readonly detail: string | null;
  /** The memory in use, in bytes. Null or missing if it is unknown. */
  readonly memoryBytes?: number | null;
  /** How the process ended the last time, even if it has been restarted since. Null or missing if it has not ended. */
  readonly lastExit?: LastExit | null;
  /** Set for a scheduled process: when it runs. */
  readonly schedule?: ScheduleStatus;
}

export interface LastExit {
  /** When the process ended, in milliseconds since 1970. */
  readonly at: number;
  /** Says how the process ended, for example `exited with code 1`. */
  readonly words: string;
}

/** The end of a live process that should have stayed up, or a failed attempt to start it again. */
export interface Crash extends LastExit {
  readonly tool: ToolName;
  readonly version: number;
  /** The name of the process, such as `web.1`. */
  readonly process: string;
}

export interface ScheduleStatus {
  /** The schedule as written in toolforge.yaml, for example `@daily`. */
  readonly text: string;
  /** The schedule as five cron fields, in UTC. */
  readonly cron: string;
  /**
   * When the process runs next, in milliseconds since 1970. Null if it does not run again: its schedule is never due,
   * is paused by a maintainer, or is suspended or not valid in the cluster; or its release is no longer live, and only
   * its last run is still ending.
   */
  readonly nextAt: number | null;
  /** The newest known run of the scheduled process. Null if no run is known. */
  readonly lastRun: ScheduledRun | null;
}

export interface ScheduledRun {
  readonly startedAt: number;
  /** When the run ended. Null while it lasts. Equals `startedAt` if the time of the end is unknown. */
  readonly endedAt: number | null;
  /**
   * The exit code of the run. Null if the run still lasts, took too long, was ended by a signal, or could not be
   * started, or if its result is unknown.
   */
  readonly exitCode: number | null;
  /** Says how the run ended, for example `exited with code 1`. Null while it runs. */
  readonly detail: string | null;
}

export interface LogLine {
  /** When the line was printed: ISO 8601, UTC, with milliseconds. */
  readonly at: string;
  /** The name of the process, such as `web.1`. `push` for what this server says. */
  readonly process: string;
  /**
   * The release of the process. Null if the line belongs to no release, or if an early version of this server, which
   * wrote no releases into logs, wrote the line.
   */
  readonly version: number | null;
  readonly text: string;
}

export interface LogQuery {
  /** A process type or name. Null for all processes. */
  readonly process: string | null;
  /** How many of the newest lines to return, 1 to 10,000. */
  readonly lines: number;
  readonly follow: boolean;
  /** If set, only lines that match are returned, and `lines` counts only these. */
  readonly match?: LogMatch;
  readonly signal: AbortSignal;
}

/** Which lines of a log somebody asks for. A line must fulfil everything that is not null. */
export interface LogMatch {
  /** The earliest time of a line, in the form of `LogLine.at`. Null for no limit. */
  readonly since: string | null;
  /** The latest time of a line, in the form of `LogLine.at`. Null for no limit. */
  readonly until: string | null;
  /** A text that the line contains, in the same case. Null if the line may have any text. */
  readonly text: string | null;
}

/** The terminal of a client. */
export interface Terminal {
  /** The value of TERM for the process, for example `xterm-256color`. */
  readonly type: string;
  readonly size: TerminalSize;
  /** Registers a function that is called with each new size of the terminal. */
  onResize(listener: (size: TerminalSize) => void): void;
}

export interface TerminalSize {
  /** The width in characters. `columns` and `rows` are from 1 to 65,535. */
  readonly columns: number;
  readonly rows: number;
}

/**
 * A one-off command: one run of a command beside the tool's processes. The client that started it waits for its end,
 * unless it is detached.
 */
export interface OneOff {
  readonly release: Release;
  readonly toolNumber: number;
  /** The words of the command, at least one. No shell interprets them. */
  readonly command: readonly string[];
  /**
   * The client's terminal. Null if the process gets three pipes instead. With a terminal, all output goes to `output`.
   */
  readonly terminal: Terminal | null;
  /** The client's input, read only as fast as the process reads. Its end closes the input of the process. */
  readonly input: AsyncIterable<Uint8Array>;
  /**
   * Sends a chunk of output to the client. Resolves when the client has taken the chunk or has disconnected. Until then
   * the process may have to wait.
   */
  readonly output: (chunk: Uint8Array) => Promise<void>;
  readonly errors: (chunk: Uint8Array) => Promise<void>;
  /**
   * Fires when the command must end, for example because the client has disconnected or has lost its right to the
   * command. The process then gets SIGTERM; with a terminal it gets SIGHUP instead, except for `run` in a cluster.
   * After the grace time it gets SIGKILL.
   */
  readonly signal: AbortSignal;
  /** For `exec`: the name of the process beside which the command runs. */
  readonly beside?: string;
}

/**
 * A command that runs beside a process of the live release: with the files, environment, user and limits of that
 * process.
 */
export interface Exec extends Omit<OneOff, 'release'> {
  readonly tool: ToolName;
  /** The name of the process, such as `web.1`. */
  readonly process: string;
}

/** A one-off command whose client does not wait. It has no input and no terminal, and its output goes to the log. */
export interface DetachedOneOff extends Pick<OneOff, 'release' | 'toolNumber' | 'command'> {
  /**
   * Watches, while the command runs, whether the person who started it still has the right to run it. Rejects with the
   * reason if the command must end. Otherwise resolves when `ended` fires, at the end of the command.
   */
  readonly untilForbidden?: (ended: AbortSignal) => Promise<void>;
}

export interface OneOffEnd {
  /** The exit status, 0 to 255: 128 + N if signal N ended the process. */
  readonly status: number;
  /**
   * Why the command was ended, as a full sentence: it used too much memory, disk or time, or this server stops. Null in
   * all other cases, also if the client disconnected.
   */
  readonly why: string | null;
}

/**
 * A rollout that `Runtime.tryOut` only tries, for a dry run. Nothing has been built or stored, so the version of the
 * release is 0, and the digest of its image may be unknown.
 */
export interface ToTry extends Pick<RollOut, 'release' | 'toolNumber' | 'replicas' | 'signal'> {
  /** If this is a rollout of a preview, the tool of the preview. The preview may not exist yet. Otherwise null. */
  readonly previewOf: ToolName | null;
}

/** What a rollout would do to an object of the cluster. */
export interface ObjectChange {
  readonly kind: string;
  /**
   * The name of the cluster object. For an object that each rollout makes anew, this is the process type instead, or
   * `config` for the Secret of the config vars.
   */
  readonly name: string;
  readonly change: 'created' | 'changed' | 'removed';
}

/** The changes that a rollout would make in a cluster. */
export interface TriedRollout {
  readonly objects: readonly ObjectChange[];
  /**
   * `has-room` if the quota of the namespace has room for the new processes beside the processes that run now. If the
   * quota has no room, the error that says why. Null if the server cannot know, or if the rollout would start nothing.
   */
  readonly quota: 'has-room' | DeployError | null;
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
   * Reads the tool's config vars from outside: a file of the operator on this machine, or a Secret in the tool's
   * namespace. A release that is given to this runtime must already have these config vars: call `withOutside` first.
   *
   * @throws DeployError `OUTSIDE_CONFIG` if the file or the Secret cannot be used; the cluster's refusal.
   */
  outsideVars(tool: ToolName): Promise<OutsideVars>;
  /**
   * Runs the release's test command, or its process of type `release`, to its end, if the release has such a process.
   * Must run before the rollout. The output goes to `progress` and to the tool's log.
   *
   * @throws DeployError `TEST_FAILED` or `RELEASE_FAILED` if the command failed; `TEST_TIMED_OUT` or
   * `RELEASE_TIMED_OUT` if the command took too long or, in a cluster, did not start in time; the cluster's refusal.
   */
  runReleasePhase(phase: ReleasePhase): Promise<void>;
  /**
   * Starts the processes of a release, waits until they are healthy, moves the requests to them, and drains and stops
   * the old processes. Returns when the requests have moved, before draining ends. If a cluster does not move the
   * requests at the first attempt, warns `progress`, returns, and keeps trying.
   *
   * @throws DeployError `ROLLOUT_CRASHED` if a process ended; `ROLLOUT_TIMED_OUT` if a process did not become healthy
   * in time; the reason why the cluster cannot start a process; the error of `beforeSwitch`; the signal's reason when
   * the signal fires. The old release then still serves, and no process of the new release runs. If a process failed,
   * `progress` got its last output.
   */
  rollOut(rollOut: RollOut): Promise<void>;
  /**
   * Asks the cluster, by dry runs, what a rollout would change there. Changes nothing. Null if there is no cluster.
   *
   * @throws DeployError if the cluster would refuse the rollout; the signal's reason when the signal fires.
   */
  tryOut(rollOut: ToTry): Promise<TriedRollout | null>;
  /**
   * Makes a live release run again after a start of the server or a rename of the tool. In a cluster, processes that
   * still run stay. May return before the processes are healthy. From then on, processes that end are restarted.
   */
  resume(release: Release, toolNumber: number, replicas: Replicas): Promise<void>;
  /**
   * Ends all processes of the tool and its detached commands, but no other one-off commands. Resolves when the
   * processes have ended. In a cluster, waits at most 10 minutes for the pods of a rollout, and a minute for runs of
   * schedules. Then it resolves even if pods still exist. It also resolves if a pod still exists 30 s after its grace
   * time: the node of that pod counts as lost.
   */
  stop(tool: ToolName): Promise<void>;
  /**
   * Ends everything of a tool that the server is deleting, also its one-off commands and its maintenance mode, and
   * deletes the tool's log. Resolves when all of this is done.
   */
  remove(tool: ToolName): Promise<void>;
  /**
   * Ends everything of a tool that gets another name, also its one-off commands. When this has resolved, nothing writes
   * to the files of the tool any more, and `resume` can start the tool under its new or its old name. A runtime of a
   * cluster always throws, because it cannot rename a tool.
   */
  letGo(tool: ToolName): Promise<void>;
  status(tool: ToolName): Promise<ProcessStatus[]>;
  /**
   * Begins the maintenance mode of a tool. In this mode, visitors get status 503 and a page: the file
   * `maintenance.html` of the live release, at its top or in its folder `public`, or else a plain page. The processes
   * continue. Rollouts and `stop` do not change the mode. After a rollout, visitors get the page of the new release; in
   * a cluster, this takes a few seconds.
   *
   * @param live - The live release. The tool may be stopped.
   * @returns true if visitors get the tool's own page.
   * @throws DeployError `PAGE_TOO_LARGE` if the tool's own page is larger than `MAX_PAGE_BYTES`; in a cluster, also
   * `NO_MAINTENANCE` if the pod that shows the page does not start, or the cluster's refusal. The tool is then not in
   * maintenance, unless it was before.
   */
  beginMaintenance(live: Release, toolNumber: number): Promise<boolean>;
  /**
   * Continues the maintenance mode of a tool. Called for each tool in maintenance before `resume`, and at a start of
   * the server also before the server listens. On one machine, visitors get the plain page until the live release has
   * been resumed.
   */
  keepMaintenance(tool: ToolName): void;
  /**
   * Ends the maintenance mode of a tool, if it is on: visitors get the live release again, unless the tool is stopped.
   * No request is lost.
   *
   * @throws DeployError the cluster's refusal. The tool then still counts as in maintenance.
   */
  endMaintenance(tool: ToolName): Promise<void>;
  /**
   * Returns the tool's namespace if the live release does not run because that namespace was deleted; otherwise null.
   */
  lostNamespace(tool: ToolName): LostNamespace | null;
  /** Yields the lines of the tool's log that the query asks for, in batches. */
  logs(tool: ToolName, query: LogQuery): AsyncIterable<readonly LogLine[]>;
  /** Deletes each file of the tool's log if its newest line is from before this moment, in milliseconds since 1970. */
  dropOldLogs(tool: ToolName, before: number): Promise<void>;
  /**
   * Returns the tool's web address. Null if the tool's name cannot be a host name, or if the host would be the server's
   * own.
   */
  address(tool: ToolName): string | null;
  /** Ends, at shutdown, everything that must not run without the server. In a cluster, processes of tools continue. */
  close(): Promise<void>;
  /**
   * Changes how many processes of the live release run. Starts missing processes, waits until all are healthy, and
   * calls `beforeSwitch`. Then drains and ends surplus processes. New processes get requests after `beforeSwitch`, but
   * in a cluster as soon as each is healthy. All other processes continue. If the release does not run yet, rolls it
   * out. With `renewed`, starts new processes of this type beside the old processes, and then drains and ends the old
   * processes. The new processes get free names, such as `web.2`, because the old processes still have theirs.
   *
   * @throws as `rollOut` does. The numbers of processes then stay as they were.
   */
  scale(rollOut: RollOut): Promise<void>;
  /**
   * Ends what an earlier server left unfinished for the tool, such as the processes of a release that never went live.
   * Called after a start of the server: after `resume`, or without `resume` if the tool is stopped or has no live
   * release.
   */
  cleanUp(tool: ToolName): Promise<void>;
  /**
   * Runs a one-off command with the release's artifact and config vars, isolated like the tool's processes. `status`
   * lists the command, for example as `run.1`. Rollouts and `stop` do not end the command. Its output is in no log.
   *
   * @throws DeployError `TOO_MANY_ONE_OFFS` if `concurrent_one_offs` commands of the tool run already;
   * `ARTIFACT_UNUSABLE` if the artifact cannot run with the present settings of the server; `NO_TERMINAL` if the server
   * cannot give the command a terminal; `SHUTTING_DOWN` if the server is being stopped; `ONE_OFF_FAILED` if the command
   * could not be started or, in a cluster, nobody knows how it ended; `ATTACH_FAILED` if the cluster does not connect
   * this server to the command; the cluster's refusal.
   */
  run(oneOff: OneOff): Promise<OneOffEnd>;
  /**
   * Runs a command beside a running process, as `Exec` says. `status` lists the command like a one-off command, and the
   * limits of `run` apply. The command ends with the process. Processes that the command leaves in the background
   * belong to the process of the tool from then on, but they get SIGKILL if the command itself had to be killed.
   *
   * @throws DeployError `NOT_RUNNING` if the process does not run, `PROCESS_ENDED` if the process ends before the
   * command, `EXEC_FAILED` if the command could not be started; otherwise as `run` does.
   */
  exec(exec: Exec): Promise<OneOffEnd>;
  /**
   * Begins to start a one-off command as `run` does, and does not wait for its start or end. Its output goes to the
   * tool's log. The limits of `run` apply, but `stop` ends the command.
   *
   * @returns the name of the command in `status` and in the log, such as `run.1`. A later command may get the same
   * name.
   * @throws DeployError `TOO_MANY_ONE_OFFS`, `ARTIFACT_UNUSABLE` or `SHUTTING_DOWN`, as `run` does. The tool's log
   * reports every later failure.
   */
  runDetached(oneOff: DetachedOneOff): Promise<string>;
  /**
   * Begins to end a command that `runDetached` has started. @returns false if the tool runs no command of this name.
   */
  endDetached(tool: ToolName, name: string): boolean;
  /**
   * Returns the ids of the artifacts that live processes of the tool use, and that must not be deleted. One-off
   * commands and draining processes count too. Processes of a rollout that is not live yet need not count.
   */
  artifactsInUse(tool: ToolName): ReadonlySet<string>;
  /**
   * Starts a run of a scheduled process of the live release now, even if its schedule is paused. Does not wait until
   * the process has started. In a cluster, returns when the Job of the run exists.
   *
   * @throws DeployError `NO_SCHEDULE` if the live release has no scheduled process of this type that can run;
   * `RUN_UNDER_WAY` if its last run has not ended, or if the tool already has the largest allowed number of runs; the
   * cluster's refusal.
   */
  startScheduledRun(tool: ToolName, type: string): Promise<void>;
  /**
   * Pauses or continues the schedules of the live release, as `ScheduleRecords.isPaused` now says. Runs that have begun
   * are not ended.
   */
  applyPauses(tool: ToolName): Promise<void>;
  /** Ends all one-off commands and accepts no more. Called at shutdown, while clients are still connected. */
  endOneOffs(): Promise<void>;
}

/** Passes web requests to tools. The HTTP server asks the gateway before it serves a request itself. */
export interface Gateway {
  /**
   * Returns the part of a Host header before the domain of the tools. Null if the host is not below that domain, or if
   * the host is the server's own.
   */
  toolOf(host: string | undefined): string | null;
  serve(tool: string, request: IncomingMessage, response: ServerResponse): void;
  upgrade(tool: string, request: IncomingMessage, socket: Duplex, head: Buffer): void;
}
