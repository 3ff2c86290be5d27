import { chmod, mkdir, readdir } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import type { Config } from '../../config.ts';
import { DiskRoom } from '../../core/disk/disk-space.ts';
import { removeTrees } from '../../core/disk/remove-tree.ts';
import type { Log } from '../../core/log/log.ts';
import type { ToolName } from '../../core/names.ts';
import { phaseProcess } from '../../core/replicas.ts';
import { noSchedule } from '../../core/schedule.ts';
import type { Release, Replicas } from '../../core/types.ts';
import type { OutsideVars } from '../../core/variables/outside-vars.ts';
import { whyUnusable } from '../../sandbox/build-mode.ts';
import type { Sandbox } from '../../sandbox/sandbox.ts';
import { BackgroundWork } from '../background-work.ts';
import { DetachedOneOffs } from '../detached-one-offs.ts';
import { addressOf, type HostNameOptions, toolOfHost } from '../host-names.ts';
import { ToolLogs } from '../logs/log-folder.ts';
import { OneOffs } from '../one-offs.ts';
import type {
  Crash,
  DetachedOneOff,
  Exec,
  Gateway,
  LogLine,
  LogQuery,
  OneOff,
  OneOffEnd,
  ProcessStatus,
  ReleasePhase,
  RollOut,
  Runtime,
} from '../runtime.ts';
import { ScheduledRuns, type ScheduleRecords } from '../scheduled-runs.ts';
import { unfulfilled } from '../service-limits.ts';
import { notRunning } from '../words/exec-words.ts';
import { sayDraining } from '../words/rollout-words.ts';
import { runReleasePhase } from './local-release-phase.ts';
import { LocalRetirement } from './local-retirement.ts';
import { LocalRollout, type LocalRolloutParts } from './local-rollout.ts';
import { Maintenance } from './maintenance-mode.ts';
import { execLocally } from './one-off/local-exec.ts';
import { runLocally } from './one-off/local-one-off.ts';
import { readOutsideFile } from './outside-file.ts';
import { DiskWatch } from './processes/disk-watch.ts';
import { Ports } from './processes/ports.ts';
import { type ReadPlainFile, readReplicaFile } from './processes/replica-file.ts';
import type { LaunchEnvironment } from './processes/running-process.ts';
import { StartTurns } from './processes/start-turns.ts';
import { type Clock, systemClock } from './processes/timetable.ts';
import { PAUSES, type Pauses } from './processes/tool-process.ts';
import { addressList } from './router/forwarded-headers.ts';
import { type Route, Router } from './router/router.ts';

export interface LocalRuntimeOptions {
  readonly config: Pick<
    Config,
    | 'data'
    | 'domain'
    | 'trusted_proxies'
    | 'health_time'
    | 'settle_time'
    | 'release_time'
    | 'schedule_time'
    | 'scheduled_processes'
    | 'drain_time'
    | 'answer_time'
    | 'grace_time'
    | 'run_processes'
    | 'run_memory'
    | 'run_disk'
    | 'run_files'
    | 'replica_folder'
    | 'config_vars_folder'
    | 'log_size'
    | 'build_environment'
    | 'concurrent_one_offs'
    | 'one_off_time'
  >;
  readonly sandbox: Sandbox;
  readonly launchEnvironment: LaunchEnvironment;
  /**
   * Returns the origin of the HTTP server, such as `http://127.0.0.1:8080`. Called only after the server has begun to
   * listen.
   */
  readonly httpOrigin: () => string;
  /** Returns the command with which a maintainer sees a tool's logs. */
  readonly logsCommand: (tool: string) => string;
  /** Returns the command with which a maintainer builds the live commit again. */
  readonly redeployCommand: (tool: string) => string;
  readonly log: Log;
  /** Reads a tool's file replica.my.cnf. Without this function, no tool gets such a file. */
  readonly readPlainFile?: ReadPlainFile;
  /** Called at each crash of a live process. Must not throw. */
  readonly onCrash?: (crash: Crash) => void;
  /** Returns the new name if `tool` is the old name of a renamed tool, otherwise null. By default, always null. */
  readonly renamedTo?: (tool: string) => ToolName | null;
  /**
   * The store gives each tool and each preview a number. For the number of a preview, this function returns the number
   * of its tool, because both use one share of this machine. It returns every other number unchanged. By default,
   * returns all numbers unchanged.
   */
  readonly shareOf?: (toolNumber: number) => number;
  /** The pauses before a crashed process is restarted, and before a failed scheduled run is retried. */
  readonly pauses?: Pauses;
  /**
   * The records about scheduled processes, which the server still knows after a restart. By default, nothing is
   * recorded.
   */
  readonly schedules?: ScheduleRecords;
  /** The clock for scheduled processes; by default the system's clock. */
  readonly clock?: Clock;
}

/**
 * Runs releases on this machine: supervises their processes and routes their web requests. An artifact's reference is
 * a folder that holds `workspace` and perhaps `layers`.
 */
export class LocalRuntime implements Runtime, Gateway {
  readonly #options: LocalRuntimeOptions;
  readonly #hostNames: HostNameOptions;
  readonly #router: Router;
  readonly #ports = new Ports();
  readonly #oneOffs: OneOffs;
  readonly #detached: DetachedOneOffs;
  readonly #live = new Map<string, LocalRollout>();
  readonly #stopped = new Set<string>();
  readonly #runs: ScheduledRuns;
  readonly #logs: ToolLogs;
  readonly #retirement: LocalRetirement;
  readonly #backgroundWork = new BackgroundWork();
  readonly #diskWatch: DiskWatch;
  readonly #runTurns = new StartTurns(StartTurns.RUNS);
  readonly #rolloutTurns = new StartTurns(StartTurns.ROLLOUTS);
  readonly #maintenance: Maintenance;

  private constructor(options: LocalRuntimeOptions) {
    this.#options = options;
    this.#runs = new ScheduledRuns(options.schedules);
    this.#logs = new ToolLogs(options);
    this.#maintenance = new Maintenance();
    const { run_disk: bytes, run_files: entries } = options.config;
    const room = new DiskRoom(runFolder(options));
    const { shareOf = (toolNumber: number) => toolNumber, log } = options;
    this.#diskWatch = new DiskWatch({ limits: { bytes, entries }, room, shareOf, log });
    this.#oneOffs = new OneOffs(options.config, options.sandbox.mode);
    this.#detached = new DetachedOneOffs({
      run: (oneOff, start) => this.#oneOffs.run(oneOff, start),
      toolLog: (tool) => this.#logs.of(tool),
      log: options.log,
    });
    this.#retirement = new LocalRetirement(options.config.drain_time, options.log);
    this.#hostNames = { domain: options.config.domain, httpOrigin: options.httpOrigin };
    this.#router = new Router({
      ...options,
      routeOf: (tool) => this.#routeOf(tool),
      trustedProxies: addressList(options.config.trusted_proxies),
      answerMs: options.config.answer_time,
    });
  }

  /**
   * Creates a runtime with an empty folder for running processes. Call `endLeftovers` first: it ends the processes of
   * an earlier server.
   */
  static async open(options: LocalRuntimeOptions): Promise<LocalRuntime> {
    const folder = runFolder(options);
    await mkdir(folder, { recursive: true });
    // Delete only what is in the folder. The folder itself can be a mount point, which cannot be deleted.
    await removeTrees((await readdir(folder)).map((name) => join(folder, name)));
    await chmod(folder, 0o711);
    return new LocalRuntime(options);
  }

  async runReleasePhase(phase: ReleasePhase): Promise<void> {
    const { release, toolNumber, step } = phase;
    const process = phaseProcess(release, step);
    if (process === undefined) return;
    const start = {
      release,
      toolNumber,
      process,
      name: `${step}.1`,
      toolLog: this.#logs.of(release.tool),
    };
    const signal = this.#backgroundWork.with(phase.signal);
    await this.#backgroundWork.own(runReleasePhase(start, { ...phase, signal }, this.#parts(release)));
  }

  async rollOut(rollOut: RollOut): Promise<void> {
    await this.#backgroundWork.own(this.#rollOut(rollOut));
  }

  async scale(rollOut: RollOut): Promise<void> {
    await this.#backgroundWork.own(this.#scale(rollOut));
  }

  async assertReady(): Promise<void> {}

  async outsideVars(tool: ToolName): Promise<OutsideVars> {
    return await readOutsideFile(this.#options.config.config_vars_folder, tool);
  }

  async resume(release: Release, toolNumber: number, replicas: Replicas): Promise<void> {
    this.#backgroundWork.closing.throwIfAborted();
    // If the tool already has a live rollout, because a deployment was quicker than this call, there is nothing to
    // resume.
    if (this.#live.has(release.tool)) return;
    // `whyUnusable` and `#newRollout` can throw, so they come before `#switchTo`. After an error, the tool then has no
    // live rollout, and the next call of `resume` tries again.
    const why = whyUnusable(release.artifact, this.#options.sandbox.mode);
    const next = this.#newRollout(release, toolNumber, replicas);
    this.#switchTo(next);
    void this.#maintenance.follow(release);
    if (why === null) return next.keepUp();
    const detail = `${why}: build it again (${this.#options.redeployCommand(release.tool)})`;
    this.#options.log.warn({ tool: release.tool, version: release.version, why }, 'cannot start a tool');
    await next.refuse(detail);
  }

  async stop(tool: ToolName): Promise<void> {
    this.#detached.endAll(tool);
    const live = this.#live.get(tool);
    this.#live.delete(tool);
    this.#stopped.add(tool);
    if (live !== undefined) this.#retirement.add(live);
    await this.#retirement.hurry((rollout) => rollout.release.tool === tool);
  }

  /** Returns null, because only a cluster can test by dry runs what a rollout would change. */
  async tryOut(): Promise<null> {
    return null;
  }

  async remove(tool: ToolName): Promise<void> {
    await this.#end(tool);
    await this.#logs.remove(tool);
  }

  async letGo(tool: ToolName): Promise<void> {
    await this.#end(tool);
    await this.#logs.letGo(tool);
  }

  async #end(tool: ToolName): Promise<void> {
    await Promise.all([this.#oneOffs.endAll(tool), this.stop(tool)]);
    this.#stopped.delete(tool);
    this.#maintenance.end(tool);
  }

  async status(tool: ToolName): Promise<ProcessStatus[]> {
    return [
      ...(this.#live.get(tool)?.statuses(true) ?? []),
      ...this.#retirement.of(tool).flatMap((rollout) => rollout.statuses(false)),
      ...this.#oneOffs.statuses(tool),
    ];
  }

  async beginMaintenance(live: Release): Promise<boolean> {
    return await this.#maintenance.begin(live);
  }

  keepMaintenance(tool: ToolName): void {
    this.#maintenance.keep(tool);
  }

  async endMaintenance(tool: ToolName): Promise<void> {
    this.#maintenance.end(tool);
  }

  /** Always returns null: on a single machine, tools have no namespaces that could be lost. */
  lostNamespace(): null {
    return null;
  }

  logs(tool: ToolName, query: LogQuery): AsyncIterable<readonly LogLine[]> {
    return this.#logs.of(tool).read(query);
  }

  async dropOldLogs(tool: ToolName, before: number): Promise<void> {
    await this.#logs.of(tool).dropOld(before);
  }

  address(tool: ToolName): string | null {
    return addressOf(tool, this.#hostNames);
  }

  /** Does nothing: `endLeftovers` has ended all processes of a killed server before this runtime was created. */
  async cleanUp(): Promise<void> {}

  async close(): Promise<void> {
    await Promise.all([this.#backgroundWork.close(), this.endOneOffs()]);
    for (const live of this.#live.values()) this.#retirement.add(live);
    this.#live.clear();
    await this.#retirement.hurry(() => true);
  }

  async run(oneOff: OneOff): Promise<OneOffEnd> {
    const parts = this.#parts(oneOff.release);
    return await this.#oneOffs.run(oneOff, (one, name) => runLocally(one, name, parts));
  }

  async exec(exec: Exec): Promise<OneOffEnd> {
    const { tool, process: beside } = exec;
    const live = this.#live.get(tool);
    const running = live?.running(beside) ?? null;
    if (live === undefined || running === null || running.over.aborted) throw notRunning(tool, beside);
    const { config, sandbox } = this.#options;
    return await this.#oneOffs.run({ ...exec, release: live.release, beside }, (one) =>
      execLocally({ ...one, beside }, running, { config, sandbox }),
    );
  }

  async runDetached(oneOff: DetachedOneOff): Promise<string> {
    const parts = this.#parts(oneOff.release);
    return await this.#detached.start(oneOff, (one, name) => runLocally(one, name, parts));
  }

  endDetached(tool: ToolName, name: string): boolean {
    return this.#detached.end(tool, name);
  }

  artifactsInUse(tool: ToolName): ReadonlySet<string> {
    const live = this.#live.get(tool);
    const all = [...this.#retirement.of(tool), ...(live === undefined ? [] : [live])];
    return new Set([...this.#oneOffs.artifacts(tool), ...all.map(({ release }) => release.artifact.id)]);
  }

  async startScheduledRun(tool: ToolName, type: string): Promise<void> {
    this.#backgroundWork.closing.throwIfAborted();
    const process = this.#live.get(tool)?.timed(type) ?? null;
    if (process === null) throw noSchedule(tool, type);
    process.runNow();
  }

  /** Does nothing, because each schedule asks `isPaused` when it is due. */
  async applyPauses(): Promise<void> {}

  async endOneOffs(): Promise<void> {
    await this.#oneOffs.close();
    await this.#detached.logged();
  }

  toolOf(host: string | undefined): string | null {
    return toolOfHost(host, this.#hostNames);
  }

  serve(tool: string, request: IncomingMessage, response: ServerResponse): void {
    this.#router.serve(tool, request, response);
  }

  upgrade(tool: string, request: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.#router.upgrade(tool, request, socket, head);
  }

  async #rollOut(rollOut: RollOut): Promise<void> {
    const { release, toolNumber, progress, replicas } = rollOut;
    const next = this.#newRollout(release, toolNumber, replicas);
    const { run_memory } = this.#options.config;
    for (const text of unfulfilled(release, run_memory)) progress.warn(text);
    await this.#start(next, rollOut);
    const before = this.#switchTo(next);
    next.keepUp();
    await this.#maintenance.follow(release);
    sayDraining(progress, before, release);
  }

  async #scale(rollOut: RollOut): Promise<void> {
    const { release, replicas } = rollOut;
    const live = this.#live.get(release.tool);
    if (live?.release.version !== release.version) return await this.#rollOut(rollOut);
    if (rollOut.renewed !== undefined) return await this.#renew(live, rollOut.renewed, rollOut);
    const more = live.missing(replicas);
    await this.#start(more, rollOut);
    live.join(more);
    more.keepUp();
    this.#retirement.add(live.shrinkTo(replicas));
  }

  async #renew(live: LocalRollout, type: string, rollOut: RollOut): Promise<void> {
    const { fresh, old } = live.renewal(type);
    await this.#start(fresh, rollOut);
    live.join(fresh);
    fresh.keepUp();
    this.#retirement.add(live.without(old));
  }

  /** Starts the processes of a rollout and calls `beforeSwitch`. If anything fails, kills these processes. */
  async #start(next: LocalRollout, { progress, signal, beforeSwitch }: RollOut): Promise<void> {
    const whole = this.#backgroundWork.with(signal);
    try {
      await next.start(progress, whole);
      whole.throwIfAborted();
      await beforeSwitch();
    } catch (error) {
      await next.kill();
      throw error;
    }
  }

  /**
   * Sends the tool's requests to this rollout from now on, and begins to end the previous rollout.
   *
   * @returns the version of the previous rollout. Null if there was none.
   */
  #switchTo(next: LocalRollout): number | null {
    const { tool } = next.release;
    const before = this.#live.get(tool);
    this.#live.set(tool, next);
    this.#stopped.delete(tool);
    if (before !== undefined) this.#retirement.add(before);
    return before?.release.version ?? null;
  }

  #routeOf(tool: string): Route {
    const live = this.#live.get(tool);
    const page = this.#maintenance.page(tool);
    if (page !== undefined) return { kind: 'maintenance', page };
    if (live !== undefined) return live.route;
    if (this.#stopped.has(tool)) return { kind: 'stopped' };
    const to = this.#options.renamedTo?.(tool) ?? null;
    return to === null ? { kind: 'none' } : { kind: 'renamed', to, address: this.address(to) };
  }

  #newRollout(release: Release, toolNumber: number, replicas: Replicas): LocalRollout {
    const toolLog = this.#logs.of(release.tool);
    return LocalRollout.of({ release, toolNumber, toolLog, parts: this.#parts(release) }, replicas);
  }

  #parts(release: Release): LocalRolloutParts {
    const { config, sandbox, launchEnvironment, log, onCrash, pauses, clock } = this.#options;
    const read = this.#options.readPlainFile ?? nothingToRead;
    return {
      config,
      sandbox,
      diskWatch: this.#diskWatch,
      launchEnvironment,
      log: log.child({ tool: release.tool, version: release.version }),
      onCrash: onCrash ?? (() => {}),
      pauses: pauses ?? PAUSES,
      clock: clock ?? systemClock,
      runs: this.#runs,
      runTurns: this.#runTurns,
      rolloutTurns: this.#rolloutTurns,
      ports: this.#ports,
      replicaFile: (tool) => readReplicaFile({ folder: config.replica_folder, read, log }, tool),
      folder: runFolder(this.#options),
      host: new URL(this.address(release.tool) ?? 'http://localhost').host,
    };
  }
}

async function nothingToRead(): Promise<null> {
  return null;
}

function runFolder({ config }: LocalRuntimeOptions): string {
  return join(config.data, 'run');
}
