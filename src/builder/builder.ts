import type { CommitId, ToolName } from '../core/names.ts';
import type { Progress } from '../core/progress.ts';
import type { Artifact, Process, ServiceSettings } from '../core/types.ts';

export interface BuildRequest {
  /** The id of the build, and of the artifact that it makes. */
  readonly id: string;
  readonly tool: ToolName;
  /** The number of this tool, 1 or more. If each tool has a uid of its own, the sandbox computes it from the number. */
  readonly toolNumber: number;
  readonly commit: CommitId;
  readonly configVars: Readonly<Record<string, string>>;
  /** False if the build must not use anything from an earlier build (`-o no-cache`). */
  readonly useCache: boolean;
  /**
   * Only in a cluster: the artifact whose Debian system the builder replaces by the newest, without building the
   * commit. Absent if the commit must be built.
   */
  readonly rebaseOf?: Artifact;
  /** Writes the files of the commit into the empty folder `folder`. Called at most once. */
  readonly checkOut: (folder: string) => Promise<void>;
}

/**
 * The reason of an abort signal when this server is being stopped. A build that can continue without this server then
 * continues.
 */
export class ResumeLater extends Error {
  override readonly name = 'AbortError';

  constructor() {
    super('the server is being stopped');
  }
}

/** Thrown if this server is being stopped and the build continues without it. The next server calls `resume`. */
export class BuildResumesLater extends Error {
  override readonly name = 'BuildResumesLater';
}

/**
 * Decides what happens to an artifact that exists when the server starts. If the store does not know a finished
 * artifact, or not the end of its build, the artifact is set aside: the store may have been restored from a backup that
 * is older than the artifact. A builder that cannot move an artifact leaves it where it is.
 *
 * @param isFinished - False if the build did not finish.
 */
export type FateOf = (artifactId: string, isFinished: boolean) => 'keep' | 'remove' | 'set-aside';

/** A request for a copy of an artifact of the tool `from`. `id` is the id of the copy. */
export interface AdoptRequest extends Pick<BuildRequest, 'id' | 'tool' | 'toolNumber'> {
  readonly from: ToolName;
}

/** What is known about a commit before its build. */
export interface Inspection {
  /**
   * The processes that files of the source, such as the Procfile, ask for. A build can add others, such as the `web` of
   * a Python tool without a Procfile.
   */
  readonly processes: readonly Process[];
  readonly service: ServiceSettings;
  /** The name that the image of a build would have, without its digest. Absent if builds make no images. */
  readonly reference?: string;
  /** The default values of config vars, from app.json. */
  readonly variables: Readonly<Record<string, string>>;
  /** The names of the config vars that are to be random secrets, from app.json. */
  readonly secrets: readonly string[];
}

/** Turns the source of a tool into an artifact. */
export interface Builder {
  /**
   * Builds one commit. Output goes to `progress` line by line. A build that fails leaves no processes behind, and no
   * files except those of the build cache, unless it throws BuildResumesLater.
   *
   * @throws DeployError that says why the build failed, for example `NO_BUILDPACK`, `NO_PROCESS`, `BUILD_FAILED`,
   * `BUILD_TIMED_OUT`, `BUILD_OUT_OF_DISK` or `BUILD_TOO_LARGE`.
   * @throws AbortError when the signal fires.
   * @throws BuildResumesLater if the signal's reason is a ResumeLater and the build continues without the server.
   */
  build(request: BuildRequest, progress: Progress, signal: AbortSignal): Promise<Artifact>;
  /**
   * Reads the files of a commit and detects its buildpacks, as `build` does, but builds nothing. Leaves no files, no
   * processes and no cluster objects behind, and changes no cache.
   *
   * @throws DeployError if `build` would fail before its first buildpack runs; AbortError when the signal fires.
   */
  inspect(request: BuildRequest, progress: Progress, signal: AbortSignal): Promise<Inspection>;
  /**
   * Why an artifact cannot run with the present settings of this server, or null if it can. The text continues a
   * sentence about the artifact: `was built without isolation, and tools are isolated now`.
   */
  whyUnusable(artifact: Artifact): string | null;
  /**
   * Copies an artifact of another tool, without a build. The copy belongs to the tool of the request alone.
   *
   * @throws DeployError `ARTIFACT_GONE` if the artifact was deleted; `NO_PROMOTION` if builds of this server have no
   * isolation; AbortError when the signal fires.
   */
  adopt(request: AdoptRequest, artifact: Artifact, signal: AbortSignal): Promise<Artifact>;
  /**
   * Tags the stored artifact with the version of its release, such as `v42`, for people. Does nothing if artifacts of
   * this builder cannot have tags.
   */
  tag(tool: ToolName, artifact: Artifact, version: number, signal: AbortSignal): Promise<void>;
  /**
   * Deletes an artifact that no release will run again.
   *
   * @param isKept - Whether the artifact of another build is needed. Builds may share one image, for example two
   *   promotions of one release. By default, all other artifacts are needed.
   */
  remove(tool: ToolName, artifactId: string, isKept?: (id: string) => boolean): Promise<void>;
  /**
   * Deletes all artifacts, caches and build Jobs of a tool that the server is deleting. Its deployments must have
   * ended. Images that the registry refuses to delete stay.
   *
   * @throws if a cluster or a registry does not answer. Call it again later.
   */
  forget(tool: ToolName): Promise<void>;
  /**
   * Called when the server starts. Ends the builds that an earlier server left running, except `resumed`. Keeps,
   * removes or sets aside each artifact of this tool, as `fateOf` says.
   *
   * @param resumed - The ids of the builds that this server will follow with `resume`.
   */
  cleanUp(tool: ToolName, fateOf: FateOf, resumed: ReadonlySet<string>): Promise<void>;
  /**
   * Called when the server starts. Returns the ids of the tool's builds that `resume` can follow: they continued
   * without a server, and may have ended before this start. Empty if builds end together with their server.
   */
  resumable(tool: ToolName): Promise<ReadonlySet<string>>;
  /**
   * Follows a build to its end. Called for the builds that `resumable` returned, and for the unfinished builds of a
   * tool for which `resumable` threw. Needs the request with which the build was started. `progress` gets all output
   * from the first line on.
   *
   * @throws DeployError `BUILD_GONE` if the build no longer exists; otherwise the same errors as from `build`.
   */
  resume(request: BuildRequest, progress: Progress, signal: AbortSignal): Promise<Artifact>;
}
