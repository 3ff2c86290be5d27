import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import type { Config } from '../../config.ts';
import { FewAtOnce } from '../../core/few-at-once.ts';
import type { Log } from '../../core/log.ts';
import { type ToolName, toolName } from '../../core/names.ts';
import type { Release } from '../../core/types.ts';
import type { Cluster } from '../../kubernetes/cluster.ts';
import { isHostLabel, toolOfHost } from '../host-names.ts';
import { OneOffs } from '../one-offs.ts';
import { RELEASE_TYPE } from '../release-phase.ts';
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
} from '../runtime.ts';
import { servedElsewhere } from '../served-elsewhere.ts';
import { memoryLimit } from '../service-limits.ts';
import { ToolLog } from '../tool-log.ts';
import { adoption } from './adoption.ts';
import { LiveRollouts } from './live.ts';
import { PodLogs } from './logs.ts';
import type { ManifestConfig } from './manifests-pod.ts';
import { hasNamespace, LABELS, namespaceOf, newRolloutId, type Rollout } from './names.ts';
import { deploymentsOf, ensureNamespace, makeRollout } from './objects.ts';
import { removeOldOneOffs, runAsPod } from './one-off.ts';
import { ToolPods } from './pods.ts';
import { runReleaseJob } from './release-phase.ts';
import { Restarts } from './restarts.ts';
import { type RolloutParts, startRollout, undoRollout } from './rollout.ts';
import { missingStatus, podStatus, type StatusParts } from './status.ts';
import { liveRollout, prepareTraffic } from './traffic.ts';

export interface KubernetesRuntimeOptions {
  readonly cluster: Cluster;
  readonly config: ManifestConfig &
    Pick<
      Config,
      | 'data'
      | 'settle_time'
      | 'release_time'
      | 'drain_time'
      | 'log_size'
      | 'concurrent_one_offs'
      | 'one_off_time'
    >;
  /** How the HTTP door is reached: requests to the server's own host are not for a tool. */
  readonly httpOrigin: () => string;
  readonly log: Log;
}

const KNOWN_MS = 60_000;

/**
 * Runs releases on a Kubernetes cluster. Each rollout has Deployments of its own, beside those of the one before; the
 * selector of the tool's Service is what moves the traffic (docs/decisions/0006). The tools go on without this server.
 */
export class KubernetesRuntime implements Runtime, Gateway {
  readonly #options: KubernetesRuntimeOptions;
  readonly #pods: ToolPods;
  readonly #live: LiveRollouts;
  readonly #podLogs: PodLogs;
  readonly #closing = new AbortController();
  readonly #logs = new Map<string, ToolLog>();
  /** At its start a server resumes every tool. */
  readonly #resumes = new FewAtOnce(8);
  readonly #underWay = new Set<Promise<void>>();
  readonly #oneOffs: OneOffs;
  readonly #serverRun = newRolloutId();

  /** Begins to watch the cluster; what runs there goes on. */
  constructor(options: KubernetesRuntimeOptions) {
    this.#options = options;
    const { cluster, config, log } = options;
    const { signal } = this.#closing;
    this.#oneOffs = new OneOffs(config);
    this.#pods = new ToolPods(config.tool_namespace_prefix);
    this.#live = new LiveRollouts({ parts: this.#parts, drainMs: config.drain_time, log });
    this.#podLogs = new PodLogs({
      cluster,
      toolLog: (tool) => this.#log(tool),
      isKnown: (pod) => this.#live.hasPod(pod),
      log,
      signal,
    });
    this.#pods.listen(this.#podLogs);
    this.#pods.listen(
      new Restarts({
        isLive: ({ tool, rolloutId }) => this.#live.of(tool)?.id === rolloutId,
        memoryBytes: ({ rolloutId, type }) => {
          const release = this.#live.releaseOf(rolloutId);
          return release === null ? config.run_memory : memoryLimit(release, type, config.run_memory);
        },
        say: (tool, text) => void this.#log(tool).append('push', [text]),
      }),
    );
    this.#pods.watch(cluster, log, signal);
  }

  async runReleasePhase(phase: ReleasePhase): Promise<void> {
    const { release } = phase;
    const process = release.artifact.processes.find(({ type }) => type === RELEASE_TYPE);
    if (process === undefined) return;
    const rollout = this.#rollout(release);
    const parts = { ...this.#parts, toolLog: this.#log(release.tool) };
    const signal = AbortSignal.any([phase.signal, this.#closing.signal]);
    await this.#pods.known(signal, KNOWN_MS);
    await this.#owned(runReleaseJob(parts, { rollout, process }, { ...phase, signal }));
  }

  async rollOut(rollOut: RollOut): Promise<void> {
    await this.#pods.known(AbortSignal.any([rollOut.signal, this.#closing.signal]), KNOWN_MS);
    await this.#owned(this.#rollOut(rollOut));
  }

  async resume(release: Release, toolNumber: number): Promise<void> {
    // However long the cluster takes to come: the tools may run all the time.
    await this.#pods.known(this.#closing.signal, Number.POSITIVE_INFINITY);
    await this.#owned(this.#resumes.run(() => this.#resume(release, toolNumber)));
  }

  async stop(tool: ToolName): Promise<void> {
    if (!this.#canRun(tool)) return;
    void this.#owned(removeOldOneOffs(this.#oneOffParts, tool));
    await this.#pods.known(this.#closing.signal, KNOWN_MS);
    await this.#live.stop(tool, namespaceOf(tool, this.#options.config.tool_namespace_prefix));
  }

  async status(tool: ToolName): Promise<ProcessStatus[]> {
    if (!this.#canRun(tool)) return [];
    const namespace = namespaceOf(tool, this.#options.config.tool_namespace_prefix);
    const deployments = await deploymentsOf(this.#parts, tool, namespace, this.#closing.signal);
    const pods = this.#pods.of(tool).filter(({ type }) => type !== RELEASE_TYPE);
    const parts: StatusParts = {
      runMemory: this.#options.config.run_memory,
      release: (id) => this.#live.releaseOf(id),
      isDraining: (id) => this.#live.isLeaving(id),
    };
    const ofPod = (pod: (typeof pods)[number]) =>
      deployments.find(
        ({ metadata }) =>
          metadata?.labels?.[LABELS.rollout] === pod.rolloutId &&
          metadata.labels[LABELS.process] === pod.type,
      ) ?? null;
    const missing = deployments.filter(
      (deployment) =>
        !this.#live.isLeaving(deployment.metadata?.labels?.[LABELS.rollout] ?? '') &&
        !pods.some((pod) => ofPod(pod) === deployment),
    );
    return [
      ...pods.map((pod) => podStatus(pod, ofPod(pod), parts)),
      ...missing.map((deployment) => missingStatus(deployment, parts)),
      ...this.#oneOffs.statuses(tool),
    ];
  }

  logs(tool: ToolName, query: LogQuery): AsyncIterable<LogLine> {
    return this.#log(tool).read(query);
  }

  address(tool: ToolName): string | null {
    const { domain, ingress_url } = this.#options.config;
    if (!isHostLabel(tool) || toolName(tool) === null) return null;
    return ingress_url.replace('TOOL', tool).replace('DOMAIN', domain);
  }

  /** Ends the watching and the one-offs; the tools go on. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all([...this.#underWay, this.#oneOffs.close()]);
  }

  run(oneOff: OneOff): Promise<OneOffEnd> {
    return this.#oneOffs.run(oneOff, (one) => runAsPod(one, this.#oneOffParts));
  }

  artifactsInUse(tool: ToolName): ReadonlySet<string> {
    return this.#oneOffs.artifacts(tool);
  }

  endOneOffs(): Promise<void> {
    return this.#oneOffs.close();
  }

  toolOf(host: string | undefined): string | null {
    const { config, httpOrigin } = this.#options;
    return toolOfHost(host, { domain: config.domain, httpOrigin });
  }

  serve(tool: string, _request: IncomingMessage, response: ServerResponse): void {
    servedElsewhere(this.address(tool as ToolName), response);
  }

  upgrade(_tool: string, _request: IncomingMessage, socket: Duplex): void {
    socket.end('HTTP/1.1 421 Misdirected Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
  }

  async #rollOut({ release, toolNumber, progress, signal, beforeSwitch }: RollOut): Promise<void> {
    const rollout = this.#rollout(release);
    const whole = AbortSignal.any([signal, this.#closing.signal]);
    this.#live.remember(rollout);
    try {
      await startRollout(this.#parts, { rollout, toolNumber, progress, signal: whole });
      await this.#orUndo(rollout, async () => {
        whole.throwIfAborted();
        await beforeSwitch();
      });
    } catch (error) {
      this.#live.forget(rollout);
      throw error;
    }
    // From the record on the release is live, and nothing here may fail.
    const before = this.#live.of(release.tool)?.release.version ?? null;
    const { later } = await this.#live.switchTo(rollout);
    if (later !== null) {
      progress.warn(
        'Requests do not reach the new processes yet: the cluster does not answer. It is tried on.',
      );
      void this.#owned(later);
    }
    if (before !== null && before !== release.version) progress.line(`v${before} draining`);
  }

  async #orUndo(rollout: Rollout, step: () => Promise<void>): Promise<void> {
    try {
      await step();
    } catch (error) {
      await undoRollout(this.#parts, rollout);
      throw error;
    }
  }

  async #resume(release: Release, toolNumber: number): Promise<void> {
    const { signal } = this.#closing;
    signal.throwIfAborted();
    const parts = this.#parts;
    const { tool } = release;
    const fresh = this.#rollout(release);
    const { namespace } = fresh;
    const selected = await liveRollout(parts, tool, namespace, signal);
    const found = adoption(await deploymentsOf(parts, tool, namespace, signal), release, selected);
    const rollout = found.rolloutId === null ? fresh : { ...fresh, id: found.rolloutId };
    void this.#owned(removeOldOneOffs(this.#oneOffParts, tool));
    this.#live.remember(rollout);
    for (const pod of this.#pods.of(tool)) this.#podLogs.pod(pod, true);
    if (found.rolloutId === null) {
      await ensureNamespace(parts, rollout, signal);
      await prepareTraffic(parts, rollout, signal);
      await makeRollout(parts, { rollout, toolNumber, config: parts.config }, signal);
    }
    if (selected === rollout.id && found.others.length === 0) return this.#live.adopt(rollout);
    const { later } = await this.#live.switchTo(rollout);
    if (later !== null) void this.#owned(later);
  }

  /** Nothing of a tool can be here that has no namespace. */
  #canRun(tool: ToolName): boolean {
    return hasNamespace(tool, this.#options.config.tool_namespace_prefix);
  }

  #rollout(release: Release): Rollout {
    const namespace = namespaceOf(release.tool, this.#options.config.tool_namespace_prefix);
    return { release, id: newRolloutId(), namespace };
  }

  get #parts(): RolloutParts & { readonly config: KubernetesRuntimeOptions['config'] } {
    const { cluster, config } = this.#options;
    return { cluster, config, pods: this.#pods, closing: this.#closing.signal };
  }

  get #oneOffParts() {
    return { ...this.#parts, serverRun: this.#serverRun, log: this.#options.log };
  }

  async #owned(work: Promise<void>): Promise<void> {
    const settled = work.catch(() => {});
    this.#underWay.add(settled);
    await settled;
    this.#underWay.delete(settled);
    await work;
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
