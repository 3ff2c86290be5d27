import { join } from 'node:path';
import { removeTree } from '../../core/disk/remove-tree.ts';
import { DeployError } from '../../core/errors.ts';
import type { Log } from '../../core/log/log.ts';
import type { ToolName } from '../../core/names.ts';
import { SOURCE_PATH } from '../../core/network/addresses.ts';
import type { Progress } from '../../core/progress.ts';
import type { Artifact } from '../../core/types.ts';
import type { Cluster } from '../../kubernetes/cluster.ts';
import { whyUnusable } from '../../sandbox/build-mode.ts';
import { BuildLimits } from '../build-limits.ts';
import {
  type AdoptRequest,
  type Builder,
  type BuildRequest,
  BuildResumesLater,
  type FateOf,
  type Inspection,
  ResumeLater,
} from '../builder.ts';
import { Registry } from '../registry/registry.ts';
import { credentialsIn } from '../registry/registry-credentials.ts';
import { inspectSource } from '../source/inspect-source.ts';
import { type PreparedSource, prepareSource } from '../source/prepared-source.ts';
import { BuildNamespace } from './build-namespace.ts';
import { type Following, followBuild, followInspection, logNotRemoved, untilItEnds } from './follow-build.ts';
import { BuilderImages } from './images/builder-image.ts';
import { RegistryLogin } from './images/registry-login.ts';
import { NEWEST, ToolImages } from './images/tool-images.ts';
import { selectorOf } from './job/build-names.ts';
import { deleteJob, jobsOf, startJob } from './job/job-objects.ts';
import { assertConfigured, followedJob, planJob } from './job/plan-job.ts';
import { ROOM_SHARE, roomOf } from './job/quota-wait.ts';
import { annotationsOf, resumableJobs } from './job/resumable-jobs.ts';
import type { KubernetesBuilderConfig } from './kubernetes-builder-config.ts';
import { buildGone } from './output/job-failures.ts';
import { SourceOffers } from './source-offers.ts';

export interface KubernetesBuilderOptions {
  readonly config: KubernetesBuilderConfig;
  readonly cluster: Cluster;
  readonly log: Log;
  /** Returns the HTTP address of this server as builds reach it, `http://HOST:PORT`. Called when a build begins. */
  readonly sourceOrigin: () => string;
  /** After this many milliseconds without output, a line says that the build still runs; 30,000 if not set. */
  readonly quietMs?: number;
  /**
   * If no node has room, or if an image cannot be pulled, a build waits this many milliseconds before it fails; 120,000
   * if not set.
   */
  readonly patienceMs?: number;
}

/**
 * How many milliseconds each step of a cleanup may take, such as deleting the Jobs of a tool, or the images of a build.
 */
const CLEANING_MS = 30_000;
/** How many milliseconds the deletion of all images of a tool may take. */
const FORGETTING_MS = 120_000;
const AWAY_MS = 60_000;
/**
 * A resumed build gets at least this many milliseconds (but at most `build_time`), so that this server can read its
 * result even if its `build_time` is over.
 */
const READING_MS = 120_000;

/**
 * Runs the Cloud Native Buildpacks lifecycle as a Job in a cluster and stores the result as an image. The Job fetches
 * the source over HTTP from this server (`sources`). Once it has the source, a build survives its server, and the next
 * server resumes it.
 */
export class KubernetesBuilder implements Builder {
  /** The sources that the HTTP server hands out to builds. */
  readonly sources = new SourceOffers();
  readonly place: BuildNamespace;
  readonly #options: KubernetesBuilderOptions;
  readonly #registries = new Map<string, Registry>();
  readonly #builderImages: BuilderImages;
  readonly #images: ToolImages;
  readonly #login: RegistryLogin;
  /**
   * The last error of a request to the cluster by `cleanUp`, `resumable` or `forget`. Null if there was none. Until
   * `untilMs`, these three throw this error for every tool and do not ask the cluster.
   */
  #away: { readonly error: unknown; readonly untilMs: number } | null = null;

  constructor(options: KubernetesBuilderOptions) {
    const { config, log } = options;
    assertConfigured(config);
    this.#options = options;
    const open = (host: string) => this.#registry(host);
    this.#builderImages = new BuilderImages(open);
    this.place = new BuildNamespace({
      ...{ cluster: options.cluster, namespace: config.build_namespace, log },
      ...{ images: this.#builderImages, image: config.builder_image },
    });
    this.#images = new ToolImages({
      ...{ registry: config.registry, isHarbor: config.harbor_url !== '', open, log },
      ...{ maxBytes: config.artifact_size, mostProcesses: config.process_types },
    });
    this.#login = new RegistryLogin(config, log);
  }

  async build(request: BuildRequest, progress: Progress, signal: AbortSignal): Promise<Artifact> {
    return await this.#guarded(request, { progress, signal, spentMs: 0 }, (folder, guard) =>
      this.#make(request, progress, guard, folder),
    );
  }

  async inspect(request: BuildRequest, progress: Progress, signal: AbortSignal): Promise<Inspection> {
    return await this.#guarded(request, { progress, signal, spentMs: 0 }, (folder, guard) =>
      this.#inspect(request, progress, guard, folder),
    );
  }

  async resumable(tool: ToolName): Promise<ReadonlySet<string>> {
    const { cluster, config } = this.#options;
    const jobs = await this.#ifClusterAnswers((signal) =>
      resumableJobs(cluster, config.build_namespace, tool, signal),
    );
    return new Set(jobs.map(({ build }) => build));
  }

  async resume(request: BuildRequest, progress: Progress, signal: AbortSignal): Promise<Artifact> {
    const { tool, id } = request;
    try {
      return await this.#resume(request, progress, signal);
    } catch (error) {
      if (error instanceof BuildResumesLater) throw error;
      if (signal.reason instanceof ResumeLater) throw new BuildResumesLater(id, { cause: error });
      // Delete the Job here, because `#resume` may have thrown before it followed the Job, and then nothing else
      // deletes the Job.
      await this.#removeJobs(tool, (build) => build === id, AbortSignal.timeout(CLEANING_MS)).catch(
        (failure: unknown) => logNotRemoved(this.#options.log, failure, { tool, build: id }),
      );
      throw error;
    }
  }

  async adopt({ id, tool, from }: AdoptRequest, artifact: Artifact, signal: AbortSignal): Promise<Artifact> {
    // If Harbor is set up, opening the login makes the Harbor project of the tool if it does not exist, and checks that
    // the quota of the project has room.
    await using _login = await this.#login.open(this.#images.repositories(tool), id, signal);
    return await this.#images.adopt({ id, tool, from }, artifact, signal);
  }

  /** Gives the artifact of a release the tag `vN` in the registry. */
  async tag(tool: ToolName, artifact: Artifact, version: number, signal: AbortSignal): Promise<void> {
    await this.#images.tag(tool, artifact, version, signal);
  }

  whyUnusable(artifact: Artifact): string | null {
    return whyUnusable(artifact, 'kubernetes');
  }

  async remove(
    tool: ToolName,
    artifactId: string,
    isKept: (id: string) => boolean = () => true,
  ): Promise<void> {
    await this.#images.remove(tool, artifactId, isKept, AbortSignal.timeout(CLEANING_MS));
  }

  async forget(tool: ToolName): Promise<void> {
    await this.#ifClusterAnswers((signal) => this.#removeJobs(tool, () => true, signal));
    await removeTree(this.#sourcesOf(tool));
    const signal = AbortSignal.timeout(FORGETTING_MS);
    try {
      await this.#images.forget(tool, signal);
      await this.#login.removeProject(this.#images.repositories(tool), signal);
    } catch (err) {
      if (!(err instanceof DeployError && err.code === 'REGISTRY_REFUSED')) throw err;
      this.#options.log.warn(
        { tool, err },
        'the registry does not let this server delete the images of a preview',
      );
    }
  }

  async cleanUp(tool: ToolName, fateOf: FateOf, resumed: ReadonlySet<string>): Promise<void> {
    await this.#ifClusterAnswers((signal) => this.#removeJobs(tool, (build) => !resumed.has(build), signal));
    await removeTree(this.#sourcesOf(tool));
    // Images cannot be set aside, so images that the store does not know stay.
    const isForgotten = (build: string) => !resumed.has(build) && fateOf(build, true) === 'remove';
    await this.#ifRegistryAnswers(tool, 'images', () =>
      this.#images.removeForgotten(tool, isForgotten, AbortSignal.timeout(CLEANING_MS)),
    );
  }

  /** Runs `work` with the limits of a build and the path of a new folder. Deletes this folder when `work` has ended. */
  async #guarded<Result>(
    request: BuildRequest,
    { progress, signal, spentMs }: { progress: Progress; signal: AbortSignal; spentMs: number },
    work: (folder: string, guard: BuildLimits) => Promise<Result>,
  ): Promise<Result> {
    signal.throwIfAborted();
    const { config, quietMs = 30_000 } = this.#options;
    const folder = join(this.#sourcesOf(request.tool), request.id);
    try {
      await using guard = new BuildLimits({ limits: config, folder, progress, signal, quietMs, spentMs });
      try {
        return await work(folder, guard);
      } catch (error) {
        if (error instanceof BuildResumesLater) throw error;
        // If a limit or a signal ended the build, throw its reason instead of the error of the interrupted step.
        guard.signal.throwIfAborted();
        throw error;
      }
    } finally {
      await removeTree(folder);
    }
  }

  /** Starts a Job that makes an image of the commit, and follows it. */
  async #make(
    request: BuildRequest,
    progress: Progress,
    guard: BuildLimits,
    folder: string,
  ): Promise<Artifact> {
    const place = { progress, guard, folder, isInspection: false };
    return await this.#withJob(request, place, (started, oldCache) =>
      this.#follow({ request, progress, guard, ...started }, oldCache),
    );
  }

  /** Starts a Job that only detects the buildpacks of the commit, and follows it. */
  async #inspect(
    request: BuildRequest,
    progress: Progress,
    guard: BuildLimits,
    folder: string,
  ): Promise<Inspection> {
    const { config, cluster, log, patienceMs = 120_000 } = this.#options;
    const place = { progress, guard, folder, isInspection: true };
    return await this.#withJob(request, place, async (started) => {
      const rest = { config, cluster, log, patienceMs, roomMs: config.build_time * ROOM_SHARE };
      await followInspection({ request, progress, guard, ...started, ...rest });
      const { host, image } = this.#images.repositories(request.tool);
      const reference = `${host}/${image}:${NEWEST}`;
      return { ...inspectSource(started.source, config.process_types), reference };
    });
  }

  /**
   * Prepares the source and the Job of a build, or of an inspection, which only detects buildpacks (`Builder.inspect`).
   * Then calls `follow`, which starts the Job.
   */
  async #withJob<Result>(
    request: BuildRequest,
    place: {
      readonly progress: Progress;
      readonly guard: BuildLimits;
      readonly folder: string;
      readonly isInspection: boolean;
    },
    follow: (
      started: Pick<Following, 'source' | 'job'> & { readonly begin: () => Promise<void> },
      oldCache: string | null,
    ) => Promise<Result>,
  ): Promise<Result> {
    const { config, cluster } = this.#options;
    const { tool, id, commit } = request;
    const { progress, guard, folder, isInspection } = place;
    // The registry and the build namespace are checked while git writes the source into `folder`. Even if a check
    // fails, wait for git, because the caller deletes `folder` when this method ends.
    const [preparing, ...asking] = await Promise.allSettled([
      this.#prepareSource(request, folder, progress, guard.signal),
      this.#images.registry(tool).assertUsable(guard.signal),
      this.place.assertUsable(guard.signal),
    ]);
    if (preparing.status === 'rejected') throw preparing.reason;
    for (const answer of asking) if (answer.status === 'rejected') throw answer.reason;
    const source = preparing.value;
    if (source.leftOut !== null) progress.line(source.leftOut);
    const oldCache = await this.#images.cacheDigest(tool, guard.signal);
    const repositories = this.#images.repositories(tool);
    const login = await this.#login.open(repositories, id, guard.signal);
    return await untilItEnds(login, async () => {
      using offer = this.sources.offer(source.folder, config.build_time);
      const builder = await this.#builderImages.find(config.builder_image, guard.signal);
      const origin = config.source_url === '' ? this.#options.sourceOrigin() : config.source_url;
      const job = planJob({
        config,
        request,
        builder,
        repositories,
        registrySecret: login.secret,
        own: source.own,
        sourceUrl: `${origin.replace(/\/$/, '')}${SOURCE_PATH}`,
        annotations: annotationsOf({ commit, account: login.account, oldCache }),
        isInspection,
      });
      const variables = { ...config.build_environment, ...source.buildVariables, ...request.configVars };
      const secrets = { token: offer.token, variables, request, dockerConfig: login.dockerConfig };
      const room = roomOf(config, progress, guard);
      const begin = () => startJob(cluster, job, secrets, room);
      return await follow({ source, job, begin }, oldCache);
    });
  }

  /** Follows a build that an earlier server started. Reports its output again from the first line. */
  async #resume(request: BuildRequest, progress: Progress, signal: AbortSignal): Promise<Artifact> {
    const { cluster, config } = this.#options;
    const { tool, id, commit } = request;
    const jobs = await resumableJobs(cluster, config.build_namespace, tool, signal);
    const known = jobs.find((job) => job.build === id && job.commit === commit);
    if (known === undefined) throw buildGone('the time without this server');
    // Count only so much of `build_time` as used that at least READING_MS is left to read the result, even if this
    // server started late. The cluster itself ends a build that takes too long.
    const spentMs = Math.max(0, Math.min(Date.now() - known.startedAt, config.build_time - READING_MS));
    const job = followedJob(config, this.#images.repositories(tool), { name: known.name, id });
    return await this.#guarded(request, { progress, signal, spentMs }, (folder, guard) =>
      untilItEnds(this.#login.known(known.account), async () => {
        const preparing = this.#prepareSource(request, folder, progress, guard.signal);
        const source = await preparing.catch((error: unknown) => {
          throw signal.reason instanceof ResumeLater ? new BuildResumesLater(id, { cause: error }) : error;
        });
        if (source.leftOut !== null) progress.line(source.leftOut);
        return await this.#follow({ request, source, progress, guard, job, begin: null }, known.oldCache);
      }),
    );
  }

  #prepareSource(
    request: BuildRequest,
    folder: string,
    progress: Progress,
    signal: AbortSignal,
  ): Promise<PreparedSource> {
    const mostScheduled = this.#options.config.scheduled_processes;
    return prepareSource({ ...request, mostScheduled }, join(folder, 'workspace'), progress, signal);
  }

  async #follow(
    build: Pick<Following, 'request' | 'source' | 'progress' | 'guard' | 'job' | 'begin'>,
    oldCache: string | null,
  ): Promise<Artifact> {
    const { config, cluster, log, patienceMs = 120_000 } = this.#options;
    const { request, source, progress, guard } = build;
    const { tool, id } = request;
    const artifact = await followBuild({
      ...build,
      ...{ config, cluster, log, patienceMs, roomMs: config.build_time * ROOM_SHARE },
      finish: async (digest) => {
        const before = request.rebaseOf?.reference.split('@')[1];
        if (before !== undefined && (await this.#images.haveSameBase(tool, [before, digest], guard.signal)))
          throw onNewest();
        const made = { id, digest, source, warn: (text: string) => progress.warn(text) };
        return await this.#images.artifactOf(tool, made, guard.signal);
      },
      removeImage: () => this.#ifRegistryAnswers(tool, 'image', () => this.remove(tool, id)),
    });
    await this.#ifRegistryAnswers(tool, 'old cache', () =>
      this.#images.removeOldCache(tool, oldCache, AbortSignal.timeout(CLEANING_MS)),
    );
    log.info({ tool, build: id, bytes: artifact.bytes }, 'artifact built');
    return artifact;
  }

  async #removeJobs(tool: ToolName, isMeant: (build: string) => boolean, signal: AbortSignal): Promise<void> {
    const { cluster, config } = this.#options;
    for (const { name, build } of await jobsOf(cluster, config.build_namespace, selectorOf(tool), signal)) {
      if (isMeant(build)) await deleteJob(cluster, config.build_namespace, name, signal);
    }
  }

  /**
   * Runs requests to the cluster for one tool. If they fail, throws the same error for every tool during the next
   * minute, without asking the cluster.
   */
  async #ifClusterAnswers<Result>(ask: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
    if (this.#away !== null && performance.now() < this.#away.untilMs) throw this.#away.error;
    try {
      return await ask(AbortSignal.timeout(CLEANING_MS));
    } catch (error) {
      this.#away = { error, untilMs: performance.now() + AWAY_MS };
      throw error;
    }
  }

  /**
   * Runs `action`, which deletes something in the registry. If the registry refuses or does not answer, logs the error
   * and goes on: what is then left in the registry takes space, but does no other harm.
   */
  async #ifRegistryAnswers(tool: ToolName, what: string, action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (error) {
      const isAway =
        error instanceof DeployError || (error instanceof DOMException && error.name === 'TimeoutError');
      if (!isAway) throw error;
      this.#options.log.warn({ tool, what, err: error }, 'cannot delete from the registry');
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

function onNewest(): DeployError {
  return new DeployError(
    'NO_REBASE',
    'the live image is on the newest run image already',
    'Nothing to do. Operators: deploy/builder/build-images --update makes a newer run image.',
  );
}
