import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { allEnded } from '../../core/concurrency/all-ended.ts';
import { DiskRoom } from '../../core/disk/disk-space.ts';
import { removeTree } from '../../core/disk/remove-tree.ts';
import { DeployError } from '../../core/errors.ts';
import type { Log } from '../../core/log/log.ts';
import { masking } from '../../core/masking/masking.ts';
import type { ToolName } from '../../core/names.ts';
import type { Progress } from '../../core/progress.ts';
import type { Artifact } from '../../core/types.ts';
import { isBuiltFor, markBuiltFor } from '../../sandbox/build-mode.ts';
import { certificateVariables } from '../../sandbox/certificate-variables.ts';
import { diskUse } from '../../sandbox/disk/disk-use.ts';
import type { Limits, Sandbox } from '../../sandbox/sandbox.ts';
import {
  markStack,
  nameOfStack,
  newestStack,
  type Stack,
  stackOf,
  type TreeName,
  treeOf,
} from '../../stack/stacks.ts';
import { artifactTooLarge, promotedGone } from '../build-failures.ts';
import { BuildLimits } from '../build-limits.ts';
import type { BuildSettings } from '../build-settings.ts';
import type { AdoptRequest, BuildRequest, Inspection } from '../builder.ts';
import { type BuildContext, targetVariables } from '../buildpack-api/build-context.ts';
import {
  type BuildFolders,
  buildPlaces,
  foldersOf,
  makePlaces,
  platformVariables,
  writeVariables,
} from '../buildpack-api/build-mounts.ts';
import { buildAll } from '../buildpack-api/build-phase.ts';
import { type BuildpackStore, copyBuildpacks, readBuildpacks } from '../buildpack-api/buildpack-store.ts';
import { type Detection, detect } from '../buildpack-api/detection.ts';
import { sayBuilding } from '../buildpack-api/detection-report.ts';
import { escapeId } from '../buildpack-api/layer-environment.ts';
import { type Layer, layerFolder, readLayers } from '../buildpack-api/layers.ts';
import { withOwnBuildpacks, withoutOwn } from '../buildpack-api/own-buildpacks.ts';
import { makeFolder, protectFiles, sweepFolder, takeFiles } from '../folders.ts';
import { largestFolders } from '../largest-folders.ts';
import { assertRunnable, requestedProcesses } from '../source/components.ts';
import { inspectSource } from '../source/inspect-source.ts';
import { type PreparedSource, prepareSource } from '../source/prepared-source.ts';
import type { Artifacts } from './artifact-folders.ts';
import { makeOutline } from './outline.ts';
import { pythonArchives } from './python-archives.ts';
import { type SharingOfBuild, shareLayers } from './share-layers.ts';
import { giveBack, keepLayers, type LayerPlaces, type Progressed, restoreLayers } from './tool-cache.ts';

/** The options of `LocalBuilder`, which passes them on to `LocalBuilds`. */
export interface LocalBuildsOptions {
  readonly config: BuildSettings;
  readonly sandbox: Sandbox;
  /** The folder with the installed buildpacks. */
  readonly buildpacksFolder: string;
  readonly log: Log;
  /** After this many milliseconds without output, a build prints that it is still running. Default 30,000. */
  readonly quietMs?: number;
  /**
   * Set to try one buildpack. The build then fails if this buildpack does not take part. The processes of the build are
   * not checked, so a build without processes is no error.
   */
  readonly trial?: {
    readonly id: string;
    /** Called with the result of the detection. */
    readonly onDetected: (detection: Detection) => void;
  };
}

/** Makes artifacts on this machine: by builds, and by copies of other tools' artifacts. */
export class LocalBuilds {
  readonly #options: LocalBuildsOptions;
  readonly #artifacts: Artifacts;
  #store: Promise<BuildpackStore> | null = null;

  constructor(options: LocalBuildsOptions, artifacts: Artifacts) {
    this.#options = options;
    this.#artifacts = artifacts;
  }

  async build(request: BuildRequest, progress: Progress, signal: AbortSignal): Promise<Artifact> {
    signal.throwIfAborted();
    const { config, sandbox, log } = this.#options;
    const { tool } = request;
    if (request.rebaseOf !== undefined) throw notInCluster(tool);
    await new DiskRoom(config.data).assertRoom();
    await this.#artifacts.prepare(tool);
    const store = await this.#buildpacks();
    const stack = await this.#stack();
    const newest = request.useCache ? await this.#artifacts.newest(tool) : null;
    // The newest artifact may have been built for another kind of sandbox or another Debian release. Then its layers,
    // and the layers in the cache, may need files that do not exist in this sandbox, so the build uses none of them.
    const isOther =
      newest !== null &&
      (!isBuiltFor(newest, sandbox.mode) || nameOfStack(stackOf(newest)) !== (stack?.name ?? null));
    const previous = isOther || newest === null ? null : foldersOf(newest);
    const folders = foldersOf(this.#artifacts.folder(tool, request.id));
    const layerPlaces: LayerPlaces = {
      layers: folders.layers,
      cache: this.#artifacts.cache(tool),
      // An artifact that an early version of this server built may lack the folder `outline`, which describes its
      // layers. Then the build uses none of these layers.
      previous: previous !== null && existsSync(previous.outline) ? previous : null,
    };
    if (!request.useCache || isOther) await removeTree(layerPlaces.cache);
    const state: BuildState = { moved: [], reached: new Map() };
    // Fails if the folder exists, because a build never overwrites an artifact.
    await mkdir(folders.artifact, { mode: 0o700 });
    try {
      return await this.#inContext(request, { folders, store, stack, progress, signal }, async (context) => {
        const artifact = await this.#make(request, context, store, layerPlaces, state);
        log.info({ tool, build: request.id, bytes: artifact.bytes }, 'artifact built');
        return artifact;
      });
    } catch (error) {
      await this.#clear(folders.artifact, layerPlaces, state, error);
      throw error;
    }
  }

  async inspect(request: BuildRequest, progress: Progress, signal: AbortSignal): Promise<Inspection> {
    signal.throwIfAborted();
    const { config } = this.#options;
    await new DiskRoom(config.data).assertRoom();
    await this.#artifacts.prepare(request.tool);
    const store = await this.#buildpacks();
    const stack = await this.#stack();
    const folders = foldersOf(this.#artifacts.folder(request.tool, request.id));
    await mkdir(folders.artifact, { mode: 0o700 });
    try {
      return await this.#inContext(request, { folders, store, stack, progress, signal }, async (context) => {
        const { source } = await this.#detect(request, context, store);
        for (const warning of source.warnings) progress.warn(warning);
        return inspectSource(source, config.process_types);
      });
    } finally {
      await removeTree(folders.artifact);
    }
  }

  /** Makes the context of a build or an inspection, with its folders, limits and network, and runs `work` in it. */
  async #inContext<T>(
    request: BuildRequest,
    opened: {
      readonly folders: BuildFolders;
      readonly store: BuildpackStore;
      readonly stack: Stack | null;
      readonly progress: Progress;
      readonly signal: AbortSignal;
    },
    work: (context: BuildContext) => Promise<T>,
  ): Promise<T> {
    const { config, sandbox, quietMs = 30_000 } = this.#options;
    const { folders, stack, progress, signal } = opened;
    // Write the id of the stack into the artifact's folder, so that `pruneStacks` does not delete a stack that is in
    // use.
    if (stack !== null) await markStack(folders.artifact, stack.id);
    await using guard = new BuildLimits({
      limits: config,
      folder: folders.artifact,
      progress,
      signal,
      quietMs,
    });
    using network = sandbox.shareNetwork(request.toolNumber, sandboxLimits(config));
    return await work(await this.#open(request, { ...opened, guard, network }));
  }

  /**
   * Returns the stack of new builds. Null without isolation, or if there is no stack: builds and tools then see this
   * machine's own /usr.
   */
  async #stack(): Promise<Stack | null> {
    const { config, sandbox } = this.#options;
    return sandbox.mode === 'isolated' ? await newestStack(config.data) : null;
  }

  /**
   * Makes the folders of a build or an inspection, and returns its context. The context has no variables yet, because
   * `#detect` adds them.
   */
  async #open(
    { tool, toolNumber, configVars }: BuildRequest,
    opened: Pick<BuildContext, 'guard' | 'progress' | 'network'> & {
      readonly folders: BuildFolders;
      readonly store: BuildpackStore;
      readonly stack: Stack | null;
    },
  ): Promise<BuildContext> {
    const { config, sandbox } = this.#options;
    const { folders, store, stack, guard, progress, network } = opened;
    const treeNamed = (name: TreeName) => (stack === null ? null : treeOf(config.data, stack.id, name));
    const places = buildPlaces(folders, store.folder, {
      sandbox,
      runTree: treeNamed('run'),
      archives: await pythonArchives(config.build_environment, {
        data: config.data,
        hasUsers: sandbox.hasUsers,
      }),
    });
    const context: BuildContext = {
      name: tool,
      toolNumber,
      sandbox,
      network,
      places,
      tree: treeNamed('build'),
      guard,
      limits: sandboxLimits(config),
      progress,
      mask: await masking(configVars, String(toolNumber)),
      environment: {
        PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        HOME: places.path('home'),
        TMPDIR: places.path('tmp'),
        LANG: 'C.UTF-8',
        ...certificateVariables(),
        // `none` tells buildpacks that there is no stack. If a program is missing, their message can then say that a
        // stack has the program (buildpacks/shared/stack.sh).
        ...(stack === null && sandbox.mode === 'isolated' ? { TOOLFORGE_STACK: 'none' } : {}),
      },
      target: await targetVariables(join(treeNamed('run') ?? '/', 'etc/os-release')),
      variables: {},
    };
    await makePlaces(places);
    return context;
  }

  async adopt(
    { id, tool, toolNumber, from }: AdoptRequest,
    artifact: Artifact,
    signal: AbortSignal,
  ): Promise<Artifact> {
    const { config, sandbox } = this.#options;
    signal.throwIfAborted();
    if (sandbox.mode === 'trusted')
      throw new DeployError(
        'NO_PROMOTION',
        'without isolation, an artifact works only in the folder of its own tool',
        `Push the commit to ${tool} instead. Operators: promotions need isolation (the setting sandbox).`,
      );
    await new DiskRoom(config.data).assertRoom();
    await this.#artifacts.prepare(tool);
    const folders = foldersOf(this.#artifacts.folder(tool, id));
    await mkdir(folders.artifact, { mode: 0o700 });
    try {
      if (!(await this.#artifacts.copy(from, artifact.id, folders.artifact, signal)))
        throw promotedGone(from, tool);
      await sandbox.own([folders.artifact], toolNumber);
      const places = { layers: folders.layers, cache: this.#artifacts.cache(tool), previous: null };
      const group = artifact.buildpacks.map((entry) => entry.split(' ')[0] ?? '');
      await shareLayers(places, group, this.#sharing(toolNumber, signal));
      await this.#artifacts.finish(tool, id, async () => signal.throwIfAborted());
      return { ...artifact, id, reference: folders.artifact };
    } catch (error) {
      await removeTree(folders.artifact);
      throw error;
    }
  }

  /** Reads the files of the commit and detects its buildpacks. */
  async #detect(
    request: BuildRequest,
    withoutVariables: BuildContext,
    store: BuildpackStore,
  ): Promise<{ source: PreparedSource; context: BuildContext; detection: Detection }> {
    const { sandbox, guard, progress, places } = withoutVariables;
    const { folders } = places;
    const mostScheduled = this.#options.config.scheduled_processes;
    const source = await prepareSource(
      { ...request, mostScheduled },
      folders.workspace,
      progress,
      guard.signal,
    );
    if (source.leftOut !== null) progress.line(source.leftOut);
    const { build_environment } = this.#options.config;
    const variables = platformVariables({
      ...build_environment,
      ...source.buildVariables,
      ...request.configVars,
    });
    const context = { ...withoutVariables, variables };
    await writeVariables(places, variables);
    await sandbox.own([folders.artifact], request.toolNumber);
    const { trial } = this.#options;
    const wanted =
      trial === undefined
        ? withOwnBuildpacks(store, source.own)
        : withOwnBuildpacks({ ...store, named: [trial.id] }, withoutOwn(source.own, trial.id));
    const detection = await detect(context, wanted, source);
    trial?.onDetected(detection);
    return { source, context, detection };
  }

  /** Runs one build, from the commit to the finished artifact. */
  async #make(
    request: BuildRequest,
    withoutVariables: BuildContext,
    store: BuildpackStore,
    layerPlaces: LayerPlaces,
    state: BuildState,
  ): Promise<Artifact> {
    const { source, context, detection } = await this.#detect(request, withoutVariables, store);
    const { sandbox, progress, places } = context;
    const { folders } = places;
    const { trial } = this.#options;
    sayBuilding(progress, source, this.#options.config.build_time);
    for (const id of detection.group) {
      state.reached.set(id, 'not started');
      await makeFolder(join(folders.layers, escapeId(id)), 0o755);
    }
    const restored = await restoreLayers(layerPlaces, detection.group, { canLink: sandbox.hasUsers });
    state.moved = restored.moved;
    await sandbox.own([folders.layers], request.toolNumber);
    await restored.link();
    const built = await buildAll(context, detection, (id, reached) => state.reached.set(id, reached));
    const requested = requestedProcesses(built.processes, source, (text) => progress.warn(text));
    if (trial === undefined) assertRunnable(requested.processes, this.#options.config.process_types);
    return await this.#finish(request, context, layerPlaces, {
      ...requested,
      buildpacks: built.buildpacks,
    });
  }

  async #finish(
    request: BuildRequest,
    context: BuildContext,
    layerPlaces: LayerPlaces,
    made: Omit<Artifact, 'id' | 'kind' | 'reference' | 'bytes'>,
  ): Promise<Artifact> {
    const { folders } = context.places;
    const group = made.buildpacks.map((entry) => entry.split(' ')[0] ?? '');
    const { guard } = context;
    const { signal } = guard;
    await allEnded([guard.weigh(), sweepFolder(folders.layers), sweepFolder(folders.workspace)]);
    const finishLayers = async () => {
      await keepLayers(layerPlaces, group);
      const { hasUsers } = this.#options.sandbox;
      await allEnded([
        protectFiles(folders.layers),
        ...(hasUsers ? [this.#takeLinked(layerPlaces, group)] : []),
      ]);
    };
    const finishWorkspace = async () => {
      // Without isolation, a tool could change the files of its artifact at run time, so make them read-only. With
      // isolation, changes at run time never reach the artifact.
      if (this.#options.sandbox.mode === 'trusted') await protectFiles(folders.workspace);
    };
    await allEnded([removeTree(folders.scratch), finishLayers(), finishWorkspace()]);
    await shareLayers(layerPlaces, group, this.#sharing(request.toolNumber, signal));
    await makeOutline(folders, group);
    await markBuiltFor(folders.artifact, this.#options.sandbox.mode);
    const bytes = await this.#artifacts.finish(request.tool, request.id, async () => {
      const use = await diskUse(folders.artifact, signal);
      const limit = this.#options.config.artifact_size;
      if (use.bytes > limit)
        throw artifactTooLarge(limit, use.bytes, await largestFolders(folders.artifact, signal));
      signal.throwIfAborted();
      return use.bytes;
    });
    return { id: request.id, kind: 'slug', reference: folders.artifact, bytes, ...made };
  }

  /** Makes the server the owner of files to which the next build may get hard links. */
  async #takeLinked({ layers }: LayerPlaces, group: readonly string[]): Promise<void> {
    const all = await Promise.all(group.map((buildpack) => readLayers(layers, buildpack)));
    const linked = all.flat().filter(({ metadata }) => metadata['linked'] === true);
    await takeFiles(linked.map((layer) => layerFolder(layers, layer)));
  }

  #sharing(toolNumber: number, signal: AbortSignal): SharingOfBuild {
    const { config, log } = this.#options;
    return { data: config.data, toolNumber, signal, log };
  }

  /**
   * Deletes the files of a failed build, but moves the layers that only builds need to the cache. If the build failed
   * with `BUILD_OUT_OF_DISK`, or if the layers cannot be moved, deletes the cache too.
   */
  async #clear(folder: string, places: LayerPlaces, state: BuildState, error: unknown): Promise<void> {
    const isFull = error instanceof DeployError && error.code === 'BUILD_OUT_OF_DISK';
    try {
      // If the cache filled the disk in this build, it would fill the disk in every later build.
      if (isFull) await removeTree(places.cache);
      else await giveBack(places, state.moved, state.reached);
    } catch (cause) {
      this.#options.log.error({ err: cause }, 'the build cache of a tool is lost');
      await removeTree(places.cache);
    } finally {
      await removeTree(folder);
    }
  }

  /** Copies the buildpacks, which the first build would otherwise do. */
  async warmUp(): Promise<void> {
    await this.#buildpacks();
  }

  async #buildpacks(): Promise<BuildpackStore> {
    const { buildpacksFolder, config } = this.#options;
    this.#store ??= copyBuildpacks(buildpacksFolder, join(config.data, 'buildpacks')).then(readBuildpacks);
    try {
      return await this.#store;
    } catch (error) {
      this.#store = null;
      throw error;
    }
  }
}

function sandboxLimits(config: BuildSettings): Limits {
  return {
    processes: config.build_processes,
    memoryBytes: config.build_memory,
    fileBytes: config.build_disk,
  };
}

function notInCluster(tool: ToolName): DeployError {
  return new DeployError(
    'NO_REBASE',
    'only images in a cluster can be rebased',
    `Without a cluster, a tool gets a newer Debian system when it restarts after \`stack update\`: \`restart ${tool}\``,
  );
}

/** The state of a running build, for the cleanup if it fails. */
interface BuildState {
  moved: readonly Layer[];
  readonly reached: Map<string, Progressed>;
}
