import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Config } from '../../config.ts';
import { ConcurrencyLimit } from '../../core/concurrency/concurrency-limit.ts';
import type { Log } from '../../core/log/log.ts';
import type { LostNamespace } from '../../core/lost-namespace.ts';
import { type ToolName, toolName } from '../../core/names.ts';
import { phaseProcess, RELEASE_TYPE } from '../../core/replicas.ts';
import type { Release, Replicas } from '../../core/types.ts';
import { NOTHING_OUTSIDE, type OutsideVars } from '../../core/variables/outside-vars.ts';
import type { Cluster } from '../../kubernetes/cluster.ts';
import { isNoNamespace } from '../../kubernetes/faults/api-refusals.ts';
import { BackgroundWork } from '../background-work.ts';
import { DetachedOneOffs } from '../detached-one-offs.ts';
import { servedElsewhere } from '../error-pages.ts';
import { isHostLabel, toolOfHost } from '../host-names.ts';
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
  ToTry,
  TriedRollout,
} from '../runtime.ts';
import type { ScheduleRecords } from '../scheduled-runs.ts';
import { notRunning } from '../words/exec-words.ts';
import { Drift } from './drift/drift.ts';
import { LostNamespaces } from './drift/lost-namespaces.ts';
import { ClusterMaintenance } from './maintenance/cluster-maintenance.ts';
import { cronJobs } from './manifests/cron-job-manifests.ts';
import type { ManifestConfig } from './manifests/manifest-config.ts';
import {
  hasNamespace,
  namespaceOf,
  newRolloutId,
  type PreviewOf,
  type Rollout,
} from './manifests/object-names.ts';
import { hasAddress } from './manifests/rollout-manifests.ts';
import { execInPod } from './one-off/exec-in-pod.ts';
import { removeOldOneOffs, runAsPod } from './one-off/one-off-as-pod.ts';
import { readOutsideSecret } from './outside-secret.ts';
import { PodLogs } from './pods/pod-logs.ts';
import { Restarts } from './pods/pod-restarts.ts';
import { type ToolPod, ToolPods } from './pods/tool-pods.ts';
import { processStatuses } from './process-statuses.ts';
import { removeLeftovers } from './resume/remove-leftovers.ts';
import { Resuming, resumeRollout } from './resume/resume-rollout.ts';
import { applyScale, rollOutAndSwitch } from './rollout/go-live.ts';
import { LiveRollouts } from './rollout/live-rollouts.ts';
import { runReleaseJob } from './rollout/release-job.ts';
import { removeTool } from './rollout/remove-tool.ts';
import { renewProcesses } from './rollout/renew-processes.ts';
import { tryRollout } from './rollout/try-rollout.ts';
import type { ObjectParts } from './rollout-objects.ts';
import { ScheduledEnds } from './schedules/scheduled-ends.ts';
import { setSchedules, startRunNow } from './schedules/schedules.ts';
import { assertToolNamespace } from './tool-namespace.ts';

export interface KubernetesRuntimeOptions {
  readonly cluster: Cluster;
  readonly config: ManifestConfig &
    Pick<Config, 'data' | 'build_namespace' | 'drain_time' | 'log_size' | 'concurrent_one_offs'>;
  /** Returns the origin of this server's HTTP server. Requests to its host are not for a tool. */
  readonly httpOrigin: () => string;
  /** What the server keeps about schedules over its restarts. By default, nothing is recorded. */
  readonly schedules?: ScheduleRecords;
  /**
   * Returns the tool of a preview. The objects of the preview are in that tool's namespace. By default, no preview
   * exists.
   */
  readonly previewOf?: PreviewOf;
  readonly log: Log;
  /** Called at each crash of a live process. Must not throw. */
  readonly onCrash?: (crash: Crash) => void;
}

const KNOWN_MS = 60_000;

/**
 * Runs releases on a Kubernetes cluster. Each rollout has its own Deployments beside those of the previous rollout. The
 * selector of the tool's Service decides which rollout gets the requests (docs/decisions/0006). The tools keep running
 * without this server.
 */
export class KubernetesRuntime implements Runtime, Gateway {
  readonly #options: KubernetesRuntimeOptions;
  readonly #pods: ToolPods;
  readonly #live: LiveRollouts;
  readonly #podLogs: PodLogs;
  readonly #ends: ScheduledEnds;
  readonly #drift: Drift;
  readonly #lost: LostNamespaces;
  readonly #logs: ToolLogs;
  /** Limits how many tools are resumed or cleaned up at the same time after a start of the server. */
  readonly #resumes = new ConcurrencyLimit(8);
  readonly #backgroundWork = new BackgroundWork();
  readonly #resuming = new Resuming();
  readonly #maintenance = new ClusterMaintenance();
  readonly #oneOffs: OneOffs;
  readonly #detached: DetachedOneOffs;
  readonly #serverRun = newRolloutId();

  /** Begins to watch the cluster. Does not change running tools. */
  constructor(options: KubernetesRuntimeOptions) {
    this.#options = options;
    this.#logs = new ToolLogs(options);
    const { cluster, config, log } = options;
    const signal = this.#backgroundWork.closing;
    this.#oneOffs = new OneOffs(config, 'kubernetes');
    this.#detached = new DetachedOneOffs({
      run: (oneOff, start) => this.#oneOffs.run(oneOff, start),
      toolLog: (tool) => this.#logs.of(tool),
      log,
    });
    this.#pods = new ToolPods(config.tool_namespace_prefix, options.previewOf);
    this.#live = new LiveRollouts({ parts: this.#parts, drainMs: config.drain_time, log });
    this.#podLogs = new PodLogs({
      cluster,
      toolLog: (tool) => this.#logs.of(tool),
      isKnown: (pod) => this.#live.hasPod(pod),
      log,
      signal,
    });
    this.#pods.listen(this.#podLogs);
    this.#pods.listen(
      new Restarts({
        isLive: ({ tool, rolloutId }) => this.#live.of(tool)?.id === rolloutId,
        memoryBytes: (pod) => this.#live.memoryOf(pod, config.run_memory),
        say: ({ tool, version }, text) => void this.#logs.of(tool).append('push', [text], version),
        onCrash: options.onCrash ?? (() => {}),
      }),
    );
    this.#ends = new ScheduledEnds({
      scheduleOf: (pod) => this.#live.scheduleOf(pod),
      mostMs: config.schedule_time,
      memoryBytes: config.run_memory,
      records: options.schedules,
      say: (pod, texts) => {
        const toolLog = this.#logs.of(pod.tool);
        void this.#podLogs.written(pod.uid).then(() => toolLog.append('push', texts, pod.version));
      },
    });
    this.#pods.listen(this.#ends);
    this.#lost = new LostNamespaces(this.#live, (tool) => this.#namespace(tool as ToolName));
    this.#drift = new Drift(this.#live, this.#lost);
    this.#pods.listen(this.#drift);
    this.#pods.watch(cluster, log, signal);
    void this.#backgroundWork.own(this.#drift.watch());
  }

  async assertReady(tool: ToolName, signal: AbortSignal): Promise<void> {
    await this.#inPlace(tool, () => {
      const place = { tool, namespace: this.#namespace(tool) };
      return assertToolNamespace(this.#options, place, signal);
    });
  }

  async outsideVars(tool: ToolName): Promise<OutsideVars> {
    if (!this.#canRun(tool)) return NOTHING_OUTSIDE;
    const signal = this.#backgroundWork.closing;
    return await this.#inPlace(tool, () => readOutsideSecret(this.#options, tool, { signal }));
  }

  async runReleasePhase(phase: ReleasePhase): Promise<void> {
    const { release } = phase;
    const found = phaseProcess(release, phase.step);
    if (found === undefined) return;
    // `launchedAs` keeps the command's own process type, whose environment the command gets.
    const launchedAs = found.launchedAs === undefined ? found.type : found.launchedAs;
    // A test command also gets the type `release`, so that its pod never counts as a process of the tool.
    const process = { ...found, type: RELEASE_TYPE, launchedAs };
    const command = { rollout: this.#rollout(release, {}), process, toolLog: this.#logs.of(release.tool) };
    const signal = this.#backgroundWork.with(phase.signal);
    await this.#pods.known(signal, KNOWN_MS);
    const run = () => runReleaseJob(this.#parts, command, { ...phase, signal });
    await this.#backgroundWork.own(this.#inPlace(release.tool, run));
  }

  async rollOut(rollOut: RollOut): Promise<void> {
    await this.#untilKnown(rollOut.release.tool, rollOut.signal);
    await this.#backgroundWork.own(this.#inPlace(rollOut.release.tool, () => this.#rollOut(rollOut)));
  }

  async tryOut({ release, toolNumber, replicas, previewOf, signal }: ToTry): Promise<TriedRollout> {
    const { config } = this.#options;
    const whole = previewOf ?? release.tool;
    const place = { namespace: this.#namespace(whole), ...(previewOf === null ? {} : { previewOf }) };
    const rollout = this.#rollout(release, replicas, newRolloutId(), place);
    return await this.#inPlace(whole, () => tryRollout(this.#live, { rollout, toolNumber, config }, signal));
  }

  async scale(rollOut: RollOut): Promise<void> {
    await this.#untilKnown(rollOut.release.tool, rollOut.signal);
    await this.#backgroundWork.own(this.#inPlace(rollOut.release.tool, () => this.#scale(rollOut)));
  }

  async resume(release: Release, toolNumber: number, replicas: Replicas): Promise<void> {
    await this.#resuming.run(release.tool, async () => {
      // The wait has no time limit: while the cluster's API does not answer, the tools may still run, so the resume
      // must not fail.
      await this.#pods.known(this.#backgroundWork.closing, Number.POSITIVE_INFINITY);
      await this.#backgroundWork.own(
        this.#resumes.run(() => this.#resume(this.#rollout(release, replicas), toolNumber)),
      );
    });
  }

  async stop(tool: ToolName): Promise<void> {
    this.#detached.endAll(tool);
    if (!this.#canRun(tool)) return;
    await this.#untilKnown(tool, this.#backgroundWork.closing);
    const stopping = this.#inPlace(tool, () => this.#live.stop(tool, this.#namespace(tool)));
    await stopping.catch((error: unknown) => {
      // If the namespace is missing or is being deleted, the cluster deletes its processes too. So ignore this error.
      if (!isNoNamespace(error)) throw error;
    });
  }

  async remove(tool: ToolName): Promise<void> {
    this.#maintenance.forget(tool);
    await Promise.all([this.#oneOffs.endAll(tool), this.stop(tool)]);
    if (this.#canRun(tool)) {
      const place = { tool, namespace: this.#namespace(tool) };
      const removing = this.#inPlace(tool, () => removeTool(this.#parts, place));
      await this.#backgroundWork.own(removing).catch((error: unknown) => {
        if (!isNoNamespace(error)) throw error;
      });
    }
    await this.#logs.remove(tool);
  }

  async letGo(tool: ToolName): Promise<void> {
    throw new Error(`The tool ${tool} cannot get another name, because a namespace keeps its name for ever.`);
  }

  async status(tool: ToolName): Promise<ProcessStatus[]> {
    if (!this.#canRun(tool)) return [];
    const seen = { live: this.#live, drift: this.#drift, lost: this.#lost, ends: this.#ends };
    const statuses = await processStatuses(seen, tool, this.#namespace(tool));
    return [...statuses, ...this.#oneOffs.statuses(tool)];
  }

  async beginMaintenance(release: Release, toolNumber: number): Promise<boolean> {
    const { tool } = release;
    await this.#untilKnown(tool, this.#backgroundWork.closing);
    const page = { release, ...this.#place(tool), toolNumber, config: this.#options.config };
    const beginning = this.#inPlace(tool, () => this.#maintenance.begin(this.#live, page));
    return await this.#backgroundWork.own(beginning);
  }

  keepMaintenance(tool: ToolName): void {
    this.#maintenance.keep(tool);
  }

  async endMaintenance(tool: ToolName): Promise<void> {
    if (!this.#canRun(tool)) return;
    await this.#untilKnown(tool, this.#backgroundWork.closing);
    const place = { tool, namespace: this.#namespace(tool) };
    const ending = this.#inPlace(tool, () => this.#maintenance.end(this.#live, place));
    await this.#backgroundWork.own(ending);
  }

  lostNamespace(tool: ToolName): LostNamespace | null {
    return this.#lost.of(tool);
  }

  logs(tool: ToolName, query: LogQuery): AsyncIterable<readonly LogLine[]> {
    return this.#logs.of(tool).read(query);
  }

  async dropOldLogs(tool: ToolName, before: number): Promise<void> {
    await this.#logs.of(tool).dropOld(before);
  }

  address(tool: ToolName): string | null {
    const { config } = this.#options;
    const { domain, ingress_url } = config;
    if (!isHostLabel(tool) || toolName(tool) === null || !hasAddress(tool, config)) return null;
    return ingress_url.replace('TOOL', tool).replace('DOMAIN', domain);
  }

  /** Ends the watches of the cluster and all one-off commands. The tools keep running. */
  async close(): Promise<void> {
    await Promise.all([this.#backgroundWork.close(), this.endOneOffs()]);
  }

  async cleanUp(tool: ToolName): Promise<void> {
    if (!this.#canRun(tool)) return;
    const namespace = this.#namespace(tool);
    await this.#pods.known(this.#backgroundWork.closing, Number.POSITIVE_INFINITY);
    if (this.#lost.of(tool) !== null) return;
    await this.#backgroundWork.own(
      this.#resumes.run(async () => {
        const hasPlace = await removeLeftovers(this.#live, tool, namespace);
        if (!hasPlace) return;
        await removeOldOneOffs(this.#oneOffParts, tool, namespace);
        await this.#maintenance.cleanUp(this.#live, { tool, namespace });
      }),
    );
  }

  run(oneOff: OneOff): Promise<OneOffEnd> {
    return this.#oneOffs.run(oneOff, (one) =>
      this.#inPlace(one.release.tool, () => runAsPod(one, this.#place(one.release.tool), this.#oneOffParts)),
    );
  }

  async exec(exec: Exec): Promise<OneOffEnd> {
    const { tool, process: beside } = exec;
    await this.#untilKnown(tool, exec.signal);
    const live = this.#live.of(tool);
    const pod = live && this.#pods.ofRollout(live).find((one) => one.name === beside && isEnterable(one));
    if (!live || !pod) throw notRunning(tool, beside);
    return await this.#oneOffs.run({ ...exec, release: live.release, beside }, (one) =>
      this.#inPlace(tool, () => execInPod({ ...one, beside }, pod, this.#parts)),
    );
  }

  runDetached(oneOff: DetachedOneOff): Promise<string> {
    return this.#detached.start(oneOff, (one) =>
      this.#inPlace(one.release.tool, () => runAsPod(one, this.#place(one.release.tool), this.#oneOffParts)),
    );
  }

  endDetached(tool: ToolName, name: string): boolean {
    return this.#detached.end(tool, name);
  }

  artifactsInUse(tool: ToolName): ReadonlySet<string> {
    const running = this.#pods.of(tool).filter(({ isOver }) => !isOver);
    const ids = running.flatMap(({ rolloutId }) => this.#live.releaseOf(rolloutId)?.artifact.id ?? []);
    return new Set([...this.#oneOffs.artifacts(tool), ...ids]);
  }

  async startScheduledRun(tool: ToolName, type: string): Promise<void> {
    await this.#untilKnown(tool, this.#backgroundWork.closing);
    const place = { tool, namespace: this.#namespace(tool) };
    await this.#inPlace(tool, () => startRunNow(this.#parts, place, type));
  }

  async applyPauses(tool: ToolName): Promise<void> {
    await this.#untilKnown(tool, this.#backgroundWork.closing);
    const place = { tool, namespace: this.#namespace(tool) };
    await this.#inPlace(tool, () =>
      this.#live.whileLive(tool, (live) => setSchedules(this.#parts, place, cronJobs(live))),
    );
  }

  async endOneOffs(): Promise<void> {
    await this.#oneOffs.close();
    await this.#detached.logged();
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

  /**
   * Waits until this server has listed the pods of the cluster, and then, without a time limit, until the tool is no
   * longer being resumed.
   *
   * @throws DeployError `CLUSTER_UNREACHABLE` if the pods are not listed after a minute; an error if this server may not
   * watch pods; the signal's reason when the signal fires.
   */
  async #untilKnown(tool: ToolName, signal: AbortSignal): Promise<void> {
    const whole = this.#backgroundWork.with(signal);
    await this.#pods.known(whole, KNOWN_MS);
    await this.#resuming.ended(tool, whole);
  }

  async #rollOut(rollOut: RollOut): Promise<void> {
    const { later } = await rollOutAndSwitch(
      this.#live,
      this.#rollout(rollOut.release, rollOut.replicas),
      rollOut,
    );
    if (later !== null) void this.#backgroundWork.own(later);
  }

  async #scale(rollOut: RollOut): Promise<void> {
    const { release, replicas } = rollOut;
    const live = this.#live.of(release.tool);
    const isHere = live?.release.version === release.version && this.#lost.of(release.tool) === null;
    if (!isHere) return await this.#rollOut(rollOut);
    const { renewed } = rollOut;
    if (renewed === undefined) return await applyScale(this.#live, { ...live, replicas }, rollOut);
    await renewProcesses(this.#live, live, { ...rollOut, renewed });
  }

  async #resume(fresh: Rollout, toolNumber: number): Promise<void> {
    const onKnown = (): void => {
      for (const pod of this.#pods.of(fresh.release.tool)) this.#podLogs.pod(pod, true);
    };
    const { tool } = fresh.release;
    // Resume nothing if the tool has a live rollout by now: a rollout that began before `resume` was called may have
    // gone live meanwhile.
    if (this.#live.of(tool) !== null) return;
    try {
      const { later } = await resumeRollout(this.#live, { fresh, toolNumber, onKnown });
      if (later !== null) void this.#backgroundWork.own(later);
    } catch (error) {
      const why = await this.#lost.explain(tool, error);
      if (this.#options.config.make_namespaces || !isNoNamespace(why)) throw why;
      // The namespace is missing, so only remember the release as live. When the namespace exists again, `Drift`, which
      // restores deleted objects, starts the release.
      this.#live.resume(fresh, toolNumber);
      await this.#lost.look(tool);
    }
  }

  /**
   * Runs `work`, which uses the tool's namespace.
   *
   * @throws the error of `work`, or a DeployError if `work` failed because the namespace is missing or being deleted.
   */
  async #inPlace<Result>(tool: ToolName, work: () => Promise<Result>): Promise<Result> {
    try {
      return await work();
    } catch (error) {
      throw await this.#lost.explain(tool, error);
    }
  }

  /**
   * False if the name of the tool, or for a preview the name of the preview's tool, cannot be in the name of a
   * namespace. Then the tool has nothing in the cluster.
   */
  #canRun(tool: ToolName): boolean {
    return hasNamespace(this.#previewOf(tool) ?? tool, this.#options.config.tool_namespace_prefix);
  }

  #namespace(tool: ToolName): string {
    return namespaceOf(this.#previewOf(tool) ?? tool, this.#options.config.tool_namespace_prefix);
  }

  #previewOf(tool: ToolName): ToolName | null {
    return this.#options.previewOf?.(tool) ?? null;
  }

  #place(tool: ToolName): Pick<Rollout, 'namespace' | 'previewOf'> {
    const previewOf = this.#previewOf(tool);
    return { namespace: this.#namespace(tool), ...(previewOf === null ? {} : { previewOf }) };
  }

  #rollout(
    release: Release,
    replicas: Replicas,
    id = this.#live.newId(release.tool),
    place = this.#place(release.tool),
  ): Rollout {
    return {
      release,
      id,
      ...place,
      replicas,
      isPaused: (type) => this.#options.schedules?.isPaused(release.tool, type) === true,
    };
  }

  get #parts(): ObjectParts {
    const { cluster, config } = this.#options;
    const isInMaintenance = (tool: string) => this.#maintenance.isOn(tool);
    return { cluster, config, pods: this.#pods, isInMaintenance, closing: this.#backgroundWork.closing };
  }

  get #oneOffParts() {
    return { ...this.#parts, serverRun: this.#serverRun, log: this.#options.log };
  }
}

/** True if `exec` can run a command in the pod, beside the pod's process. */
function isEnterable({ isTerminating, isOver }: ToolPod): boolean {
  return !isTerminating && !isOver;
}
