import { chmod, mkdir } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import type { Config } from '../config.ts';
import type { Log } from '../core/log.ts';
import type { ToolName } from '../core/names.ts';
import type { Release } from '../core/types.ts';
import { whyUnusable } from '../sandbox/built-for.ts';
import { removeTree } from '../sandbox/remove.ts';
import type { Sandbox } from '../sandbox/sandbox.ts';
import { addressList } from './forwarded.ts';
import { Generation } from './generation.ts';
import { addressOf, type HostNameOptions, toolOfHost } from './host-names.ts';
import { runLocally } from './local-one-off.ts';
import { OneOffs } from './one-offs.ts';
import { Ports } from './ports.ts';
import { RELEASE_TYPE, runReleasePhase } from './release-phase.ts';
import { type Route, Router } from './router.ts';
import type { LaunchEnvironment } from './running.ts';
import type {
  Gateway,
  LogLine,
  LogQuery,
  OneOff,
  OneOffEnd,
  ProcessStatus,
  ReleasePhase,
  RollOut,
  Runtime,
} from './runtime.ts';
import { ToolLog } from './tool-log.ts';
import { PAUSES, type Pauses, type ToolProcessParts } from './tool-process.ts';

export interface LocalRuntimeOptions {
  readonly config: Pick<
    Config,
    | 'data'
    | 'domain'
    | 'trusted_proxies'
    | 'health_time'
    | 'settle_time'
    | 'release_time'
    | 'drain_time'
    | 'grace_time'
    | 'run_processes'
    | 'run_memory'
    | 'log_size'
    | 'build_environment'
    | 'concurrent_one_offs'
    | 'one_off_time'
  >;
  readonly sandbox: Sandbox;
  readonly launchEnvironment: LaunchEnvironment;
  /** `http://127.0.0.1:8080`: how the HTTP door is reached, asked for only once it listens. */
  readonly httpOrigin: () => string;
  /** What a maintainer types to see a tool's logs. */
  readonly logsCommand: (tool: string) => string;
  /** What a maintainer types to build anew what is live. */
  readonly redeployCommand: (tool: string) => string;
  readonly log: Log;
  /** Between restarts of a process that crashed. */
  readonly pauses?: Pauses;
}

/**
 * Runs releases on this machine: a supervisor of their processes and a router of their web requests. An
 * artifact's reference is a folder that holds `workspace` and, where there are any, `layers`.
 */
export class LocalRuntime implements Runtime, Gateway {
  readonly #options: LocalRuntimeOptions;
  readonly #hostNames: HostNameOptions;
  readonly #router: Router;
  readonly #ports = new Ports();
  readonly #oneOffs: OneOffs;
  readonly #closing = new AbortController();
  readonly #live = new Map<string, Generation>();
  readonly #stopped = new Set<string>();
  readonly #logs = new Map<string, ToolLog>();
  /** What ends in the background, with what cuts the drain short. */
  readonly #leaving = new Map<
    Generation,
    { readonly gone: Promise<void>; readonly hurry: AbortController }
  >();
  /** What must have ended before a shutdown is done. */
  readonly #underWay = new Set<Promise<void>>();

  private constructor(options: LocalRuntimeOptions) {
    this.#options = options;
    this.#oneOffs = new OneOffs(options.config);
    this.#hostNames = { domain: options.config.domain, httpOrigin: options.httpOrigin };
    this.#router = new Router({
      routeOf: (tool) => this.#routeOf(tool),
      logsCommand: options.logsCommand,
      trustedProxies: addressList(options.config.trusted_proxies),
      log: options.log,
    });
  }

  /** Removes what an earlier server left in the run folder; its processes must have ended (`Sandbox.endLeftovers`). */
  static async open(options: LocalRuntimeOptions): Promise<LocalRuntime> {
    const folder = runFolder(options);
    await removeTree(folder);
    await mkdir(folder, { recursive: true });
    await chmod(folder, 0o711);
    return new LocalRuntime(options);
  }

  async runReleasePhase(phase: ReleasePhase): Promise<void> {
    const { release, toolNumber } = phase;
    const process = release.artifact.processes.find(({ type }) => type === RELEASE_TYPE);
    if (process === undefined) return;
    const start = {
      release,
      toolNumber,
      process,
      name: `${RELEASE_TYPE}.1`,
      toolLog: this.#log(release.tool),
    };
    const signal = AbortSignal.any([phase.signal, this.#closing.signal]);
    await this.#owned(runReleasePhase(start, { ...phase, signal }, this.#parts(release)));
  }

  async rollOut(rollOut: RollOut): Promise<void> {
    await this.#owned(this.#rollOut(rollOut));
  }

  async resume(release: Release, toolNumber: number): Promise<void> {
    this.#closing.signal.throwIfAborted();
    const next = this.#generation(release, toolNumber);
    this.#switchTo(next);
    const why = whyUnusable(release.artifact, this.#options.sandbox.mode);
    if (why === null) return next.keepUp();
    const detail = `${why}: build it anew (${this.#options.redeployCommand(release.tool)})`;
    this.#options.log.warn({ tool: release.tool, version: release.version, why }, 'tool not started');
    await next.refuse(detail);
  }

  async stop(tool: ToolName): Promise<void> {
    const live = this.#live.get(tool);
    this.#live.delete(tool);
    this.#stopped.add(tool);
    if (live !== undefined) this.#retire(live);
    await this.#hurry((generation) => generation.release.tool === tool);
  }

  async status(tool: ToolName): Promise<ProcessStatus[]> {
    const generations = [this.#live.get(tool), ...this.#leaving.keys()];
    const staying = generations
      .filter((generation) => generation?.release.tool === tool)
      .flatMap((generation) => generation?.processes ?? [])
      .map((process) => process.status);
    return [...staying, ...this.#oneOffs.statuses(tool)];
  }

  logs(tool: ToolName, query: LogQuery): AsyncIterable<LogLine> {
    return this.#log(tool).read(query);
  }

  address(tool: ToolName): string | null {
    return addressOf(tool, this.#hostNames);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all([...this.#underWay, this.#oneOffs.close()]);
    for (const live of this.#live.values()) this.#retire(live);
    this.#live.clear();
    await this.#hurry(() => true);
  }

  async run(oneOff: OneOff): Promise<OneOffEnd> {
    const parts = this.#parts(oneOff.release);
    return await this.#oneOffs.run(oneOff, (one, name) => runLocally(one, name, parts));
  }

  artifactsInUse(tool: ToolName): ReadonlySet<string> {
    return this.#oneOffs.artifacts(tool);
  }

  endOneOffs(): Promise<void> {
    return this.#oneOffs.close();
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

  async #owned(work: Promise<void>): Promise<void> {
    const settled = work.catch(() => {});
    this.#underWay.add(settled);
    await settled;
    this.#underWay.delete(settled);
    await work;
  }

  async #rollOut({ release, toolNumber, progress, signal, beforeSwitch }: RollOut): Promise<void> {
    const next = this.#generation(release, toolNumber);
    const whole = AbortSignal.any([signal, this.#closing.signal]);
    try {
      await next.start(progress, whole);
      whole.throwIfAborted();
      await beforeSwitch();
    } catch (error) {
      await next.kill();
      throw error;
    }
    const before = this.#switchTo(next);
    next.keepUp();
    if (before !== null && before !== release.version) progress.line(`v${before} draining`);
  }

  /** From here on requests go to this generation. @returns the version that they went to before, or null. */
  #switchTo(next: Generation): number | null {
    const { tool } = next.release;
    const before = this.#live.get(tool);
    this.#live.set(tool, next);
    this.#stopped.delete(tool);
    if (before !== undefined) this.#retire(before);
    return before?.release.version ?? null;
  }

  #retire(generation: Generation): void {
    const { drain_time } = this.#options.config;
    const hurry = new AbortController();
    const limit = AbortSignal.any([hurry.signal, AbortSignal.timeout(drain_time)]);
    const gone = generation
      .drain(limit)
      .catch((err: unknown) => this.#options.log.error({ err }, 'old release not ended'))
      .finally(() => this.#leaving.delete(generation));
    this.#leaving.set(generation, { gone, hurry });
  }

  /** Ends the drain of some generations now. Resolves when they are gone. */
  async #hurry(isMeant: (generation: Generation) => boolean): Promise<void> {
    const meant = [...this.#leaving]
      .filter(([generation]) => isMeant(generation))
      .map(([, leaving]) => leaving);
    for (const { hurry } of meant) hurry.abort();
    await Promise.all(meant.map(({ gone }) => gone));
  }

  #routeOf(tool: string): Route {
    const live = this.#live.get(tool);
    if (live === undefined) return this.#stopped.has(tool) ? { kind: 'stopped' } : { kind: 'none' };
    const { web } = live;
    if (web === null) return { kind: 'no-web' };
    if (web.port !== null) return { kind: 'up', port: web.port, traffic: live.traffic };
    const { state, name, detail } = web.status;
    return state === 'crashed' ? { kind: 'crashed', detail: `${name} ${detail}` } : { kind: 'starting' };
  }

  #generation(release: Release, toolNumber: number): Generation {
    return new Generation(release, toolNumber, this.#log(release.tool), this.#parts(release));
  }

  #parts(release: Release): ToolProcessParts {
    const { config, sandbox, launchEnvironment, log, pauses } = this.#options;
    return {
      config,
      sandbox,
      launchEnvironment,
      log: log.child({ tool: release.tool, version: release.version }),
      pauses: pauses ?? PAUSES,
      ports: this.#ports,
      folder: runFolder(this.#options),
      host: new URL(this.address(release.tool) ?? 'http://localhost').host,
    };
  }

  #log(tool: string): ToolLog {
    const { config, log } = this.#options;
    const known = this.#logs.get(tool);
    if (known !== undefined) return known;
    const made = new ToolLog({ folder: join(config.data, 'logs', tool), sizeBytes: config.log_size, log });
    this.#logs.set(tool, made);
    return made;
  }
}

function runFolder({ config }: LocalRuntimeOptions): string {
  return join(config.data, 'run');
}
