import { SetAside } from '../../core/disk/set-aside.ts';
import type { ToolName } from '../../core/names.ts';
import type { Progress } from '../../core/progress.ts';
import type { Artifact } from '../../core/types.ts';
import { whyUnusable } from '../../sandbox/build-mode.ts';
import { pruneStacks } from '../../stack/prune-stacks.ts';
import type { AdoptRequest, Builder, BuildRequest, FateOf, Inspection } from '../builder.ts';
import { Artifacts } from './artifact-folders.ts';
import type { LocalBuilds, LocalBuildsOptions } from './local-builds.ts';
import { SharedFiles } from './shared-files.ts';

/**
 * Runs Cloud Native Buildpacks in a sandbox on this machine, with the same results as the lifecycle, the program that
 * other platforms use for buildpacks. Makes each artifact at its final place, `artifacts/TOOL/ID` in the data folder,
 * as the folders `workspace` and `layers`.
 */
export class LocalBuilder implements Builder {
  readonly #options: LocalBuildsOptions;
  readonly #artifacts: Artifacts;
  readonly #sharedFiles: SharedFiles;
  #builds: Promise<LocalBuilds> | null = null;
  #swept: Promise<void> | null = null;

  constructor(options: LocalBuildsOptions) {
    this.#options = options;
    this.#artifacts = new Artifacts(options.config.data);
    this.#sharedFiles = new SharedFiles(options.config.data);
  }

  async build(request: BuildRequest, progress: Progress, signal: AbortSignal): Promise<Artifact> {
    return await (await this.#loaded()).build(request, progress, signal);
  }

  async inspect(request: BuildRequest, progress: Progress, signal: AbortSignal): Promise<Inspection> {
    return await (await this.#loaded()).inspect(request, progress, signal);
  }

  async adopt(request: AdoptRequest, artifact: Artifact, signal: AbortSignal): Promise<Artifact> {
    return await (await this.#loaded()).adopt(request, artifact, signal);
  }

  /**
   * Loads the code of builds and copies the buildpacks, so that the first build does not wait for this. Ignores errors,
   * because the first build does the same, and reports them.
   */
  async warmUp(): Promise<void> {
    try {
      await (await this.#loaded()).warmUp();
    } catch {}
  }

  /** Loads the code of builds after the start, because the 45 modules would make each start of the server slower. */
  #loaded(): Promise<LocalBuilds> {
    this.#builds ??= import('./local-builds.ts').then(
      ({ LocalBuilds }) => new LocalBuilds(this.#options, this.#artifacts),
    );
    // If loading fails, for example because this machine has no file descriptor left, the next build loads the code
    // again.
    this.#builds.catch(() => {
      this.#builds = null;
    });
    return this.#builds;
  }

  whyUnusable(artifact: Artifact): string | null {
    return whyUnusable(artifact, this.#options.sandbox.mode);
  }

  /** Does nothing, because an artifact in a folder has no tags. */
  async tag(): Promise<void> {}

  async remove(tool: ToolName, artifactId: string): Promise<void> {
    await this.#artifacts.remove(tool, artifactId);
    await this.#sharedFiles.sweep();
    const removed = await pruneStacks(this.#options.config.data);
    if (removed.length > 0) this.#options.log.info({ stacks: removed }, 'unused stacks removed');
  }

  async forget(tool: ToolName): Promise<void> {
    await this.#artifacts.removeAll(tool);
    await this.#sharedFiles.sweep();
    await pruneStacks(this.#options.config.data);
  }

  /** Ends no processes: the sandbox has already ended those that an earlier server left running. */
  async cleanUp(tool: ToolName, fateOf: FateOf): Promise<void> {
    const { config, log } = this.#options;
    const moved = await this.#artifacts.sort(tool, fateOf, new SetAside(config.data));
    if (moved.length > 0) log.warn({ tool, artifacts: moved }, 'unknown artifacts moved to set-aside');
  }

  /**
   * Returns no builds, because local builds are child processes of the server and end when the server ends. The first
   * call also deletes the copies in the folder `shared` that no artifact uses, because an interrupted build may have
   * left some.
   */
  async resumable(): Promise<ReadonlySet<string>> {
    this.#swept ??= this.#sharedFiles
      .sweep()
      .catch((err: unknown) => this.#options.log.error({ err }, 'cannot sweep the shared files'));
    await this.#swept;
    return new Set();
  }

  async resume({ id }: BuildRequest): Promise<never> {
    throw new Error(`build ${id} ended with the server that ran it`);
  }
}
