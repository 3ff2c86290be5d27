import { join } from 'node:path';
import { parse } from 'smol-toml';
import { z } from 'zod';
import { SOURCE_PATH } from '../../core/addresses.ts';
import { DeployError } from '../../core/errors.ts';
import type { Log } from '../../core/log.ts';
import { masking } from '../../core/masking.ts';
import type { ToolName } from '../../core/names.ts';
import type { Progress } from '../../core/progress.ts';
import type { Artifact } from '../../core/types.ts';
import type { Cluster } from '../../kubernetes/cluster.ts';
import { removeTree } from '../../sandbox/remove.ts';
import { BuildGuard } from '../build-guard.ts';
import type { Builder, BuildRequest } from '../builder.ts';
import { type PreparedSource, prepareSource } from '../prepared-source.ts';
import { credentialsIn } from '../registry/credentials.ts';
import { Registry } from '../registry/registry.ts';
import { BuilderImages } from './builder-image.ts';
import { ToolImages } from './images.ts';
import type { BuildJob } from './job.ts';
import { selectorOf } from './names.ts';
import { deleteJob, jobNames, startJob } from './objects.ts';
import type { KubernetesBuilderConfig } from './options.ts';
import { followPhases } from './phases.ts';
import { assertConfigured, planJob } from './plan.ts';
import { BuildPod } from './pod.ts';
import { RegistryLogin } from './registry-login.ts';
import { SourceOffers } from './source-offers.ts';
import { BuildTelling } from './telling.ts';

export interface KubernetesBuilderOptions {
  readonly config: KubernetesBuilderConfig;
  readonly cluster: Cluster;
  readonly log: Log;
  /** The HTTP door as builds reach it, `http://HOST:PORT`; asked when a build begins. */
  readonly sourceOrigin: () => string;
  /** After this long without output a build says that it goes on; 30,000 where not set. */
  readonly quietMs?: number;
  /** How long a build waits for room on a node or an image that cannot be pulled; 120,000 where not set. */
  readonly patienceMs?: number;
}

const report = z.object({ image: z.object({ digest: z.string().regex(/^sha256:[0-9a-f]{64}$/) }) });
/** For what is done when a build has ended, by whatever. */
const CLEANING_MS = 30_000;
const AWAY_MS = 60_000;

/**
 * Runs the lifecycle of Cloud Native Buildpacks as a Job in a cluster and stores what it makes as an image. The source
 * is handed out by this server's HTTP door, from `sources`. A build does not outlive the server that follows it: at
 * the next start its Job is deleted, and its deployment counts as interrupted.
 */
export class KubernetesBuilder implements Builder {
  /** For the HTTP door. */
  readonly sources = new SourceOffers();
  readonly #options: KubernetesBuilderOptions;
  readonly #registries = new Map<string, Registry>();
  readonly #builderImages: BuilderImages;
  readonly #images: ToolImages;
  readonly #login: RegistryLogin;
  /** The cluster did not answer while cleaning up: it is not waited for again for each tool. */
  #away: { readonly error: unknown; readonly untilMs: number } | null = null;

  constructor(options: KubernetesBuilderOptions) {
    const { config, log } = options;
    assertConfigured(config);
    this.#options = options;
    const open = (host: string) => this.#registry(host);
    this.#builderImages = new BuilderImages(open);
    this.#images = new ToolImages({ registry: config.registry, open, maxBytes: config.artifact_size, log });
    this.#login = new RegistryLogin(config, log);
  }

  async build(request: BuildRequest, progress: Progress, signal: AbortSignal): Promise<Artifact> {
    signal.throwIfAborted();
    const { config } = this.#options;
    const folder = join(this.#sourcesOf(request.tool), request.id);
    try {
      await using guard = new BuildGuard({
        limits: config,
        folder,
        progress,
        signal,
        quietMs: this.#options.quietMs ?? 30_000,
      });
      try {
        return await this.#make(request, folder, progress, guard);
      } catch (error) {
        // What ended it is the reason, whatever the step that was under way made of that.
        guard.signal.throwIfAborted();
        throw error;
      }
    } finally {
      await removeTree(folder);
    }
  }

  /** Gives the artifact of a release the tag `vN` in the registry. */
  async tag(tool: ToolName, artifact: Artifact, version: number, signal: AbortSignal): Promise<void> {
    await this.#images.tag(tool, artifact, version, signal);
  }

  whyUnusable({ kind }: Artifact): string | null {
    return kind === 'image' ? null : 'was built for this server alone, and tools run in a cluster now';
  }

  async remove(tool: ToolName, artifactId: string): Promise<void> {
    await this.#images.remove(tool, artifactId, AbortSignal.timeout(CLEANING_MS));
  }

  async cleanUp(tool: ToolName, keep: ReadonlySet<string>): Promise<void> {
    const { cluster, config } = this.#options;
    const signal = AbortSignal.timeout(CLEANING_MS);
    if (this.#away !== null && performance.now() < this.#away.untilMs) throw this.#away.error;
    try {
      for (const name of await jobNames(cluster, config.build_namespace, selectorOf(tool), signal)) {
        await deleteJob(cluster, config.build_namespace, name, signal);
      }
    } catch (error) {
      this.#away = { error, untilMs: performance.now() + AWAY_MS };
      throw error;
    }
    await removeTree(this.#sourcesOf(tool));
    await this.#ifRegistryAnswers(tool, 'images', () => this.#images.removeOthers(tool, keep, signal));
  }

  /** The story of one build, from the commit to the image. */
  async #make(
    request: BuildRequest,
    folder: string,
    progress: Progress,
    guard: BuildGuard,
  ): Promise<Artifact> {
    const { config, log } = this.#options;
    const { tool, id } = request;
    progress.step('Detecting buildpacks');
    // The registry is asked while git writes files; all must have ended before the folder goes.
    const [preparing, ...asking] = await Promise.allSettled([
      prepareSource(
        { ...request, mostScheduled: config.scheduled_processes },
        join(folder, 'workspace'),
        guard.signal,
      ),
      this.#images.registry(tool).assertUsable(guard.signal),
      this.#builderImages.find(config.builder_image, guard.signal),
    ]);
    if (preparing.status === 'rejected') throw preparing.reason;
    for (const answer of asking) if (answer.status === 'rejected') throw answer.reason;
    const source = preparing.value;
    if (source.leftOut !== null) progress.line(source.leftOut);
    const oldCache = await this.#images.cacheDigest(tool, guard.signal);
    const digest = await this.#run(request, source, progress, guard);
    const { service, components } = source;
    const made = { id, digest, service, components, warn: (text: string) => progress.warn(text) };
    const artifact = await this.#images.artifactOf(tool, made, guard.signal);
    await this.#ifRegistryAnswers(tool, 'old cache', () =>
      this.#images.removeOldCache(tool, oldCache, AbortSignal.timeout(CLEANING_MS)),
    );
    log.info({ tool, build: id, bytes: artifact.bytes }, 'artifact built');
    return artifact;
  }

  /** From a source to the digest of an image. Nothing of the build is left in the cluster afterwards. */
  async #run(
    request: BuildRequest,
    source: PreparedSource,
    progress: Progress,
    guard: BuildGuard,
  ): Promise<string> {
    const { config, cluster, log } = this.#options;
    const { tool, id } = request;
    await using login = await this.#login.open(this.#images.repositories(tool), id, guard.signal);
    using offer = this.sources.offer(source.folder, config.build_time);
    const builder = await this.#builderImages.find(config.builder_image, guard.signal);
    const origin = config.source_url === '' ? this.#options.sourceOrigin() : config.source_url;
    const job = planJob({
      config,
      request,
      builder,
      repositories: this.#images.repositories(tool),
      registrySecret: login.secret,
      sourceUrl: `${origin.replace(/\/$/, '')}${SOURCE_PATH}`,
    });
    const place = { namespace: job.namespace, name: job.name, labels: selectorOf(tool, job.name) };
    await using pod = new BuildPod(cluster, place);
    const telling = new BuildTelling({ progress, guard, source, config, job });
    const timesMs: Record<string, number> = {};
    let isDone = false;
    try {
      const variables = { ...config.build_environment, ...request.configVars };
      const secrets = { token: offer.token, variables, request, dockerConfig: login.dockerConfig };
      await startJob(cluster, job, secrets, guard.signal);
      await followPhases({
        cluster,
        namespace: job.namespace,
        pod,
        guard,
        mask: masking(request.configVars),
        limits: job.limits,
        patienceMs: this.#options.patienceMs ?? 120_000,
        waiting: (words) => progress.line(`waiting: the build ${words}`),
        enter: (phase) => telling.enter(phase),
        line: (phase, text) => telling.line(phase, text),
        ended: (phase, end) => telling.ended(phase, end),
        timed: (phase, ms) => {
          timesMs[phase] = ms;
        },
      });
      isDone = true;
      return report.parse(parse(pod.endOf('export')?.message ?? '')).image.digest;
    } finally {
      log.info({ tool, build: id, timesMs }, isDone ? 'build done' : 'build ended');
      await this.#removeJob(job, pod, isDone);
      // It may have got as far as the registry before it was ended.
      if (!isDone && telling.hasReached('export')) {
        await this.#ifRegistryAnswers(tool, 'image', () => this.remove(tool, id));
      }
    }
  }

  /** For what only takes room when it stays, and goes the next time: no build fails of it, and no start. */
  async #ifRegistryAnswers(tool: ToolName, what: string, action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (error) {
      const isAway =
        error instanceof DeployError || (error instanceof DOMException && error.name === 'TimeoutError');
      if (!isAway) throw error;
      this.#options.log.warn({ tool, what, err: error }, 'not removed from the registry');
    }
  }

  /** At once, and where it was cut short until nothing of it runs any more. */
  async #removeJob(job: BuildJob, pod: BuildPod, isDone: boolean): Promise<void> {
    const { cluster, log } = this.#options;
    const signal = AbortSignal.timeout(CLEANING_MS);
    try {
      await deleteJob(cluster, job.namespace, job.name, signal);
      if (!isDone && pod.name !== null) await pod.until(() => pod.isGone, signal);
    } catch (error) {
      // Why the build ended says more; the Job has its own end, after which the cluster deletes it.
      log.error({ err: error, job: job.name }, 'build not removed from the cluster');
    }
  }

  #sourcesOf(tool: ToolName): string {
    return join(this.#options.config.data, 'run/sources', tool);
  }

  #registry(host: string): Registry {
    const { config } = this.#options;
    const known = this.#registries.get(host);
    if (known !== undefined) return known;
    const registry = new Registry({
      host,
      isPlainHttp: config.registry_plain_http.includes(host),
      credentials: credentialsIn(config.registry_credentials),
    });
    this.#registries.set(host, registry);
    return registry;
  }
}
