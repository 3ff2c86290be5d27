import type { CommitId, ToolName } from '../core/names.ts';
import type { Progress } from '../core/progress.ts';
import type { Artifact } from '../core/types.ts';

export interface BuildRequest {
  /** Also the artifact's id. */
  readonly id: string;
  readonly tool: ToolName;
  /** A small number of the tool's own, 1 and up; its uid in the sandbox is made from it. */
  readonly toolNumber: number;
  readonly commit: CommitId;
  readonly configVars: Readonly<Record<string, string>>;
  /** False: nothing of an earlier build is used (`-o no-cache`). */
  readonly useCache: boolean;
  /** Puts the commit's files into this empty folder. Called once. */
  readonly checkOut: (folder: string) => Promise<void>;
}

/**
 * The reason of a signal that fires because this server is being stopped: a build that can go on without it shall.
 */
export class HandOver extends Error {
  override readonly name = 'AbortError';

  constructor() {
    super('the server is being stopped');
  }
}

/** A build was left to go on without this server, after a `HandOver`; `takeUp` follows it again. */
export class BuildGoesOn extends Error {
  override readonly name = 'BuildGoesOn';
}

/**
 * What becomes of an artifact that is found at the start. `set-aside` is for what the store does not know: the store
 * may be older. A builder that cannot move such an artifact leaves it where it is.
 *
 * @param isFinished - False if the build did not come to its end.
 */
export type FateOf = (artifactId: string, isFinished: boolean) => 'keep' | 'remove' | 'set-aside';

/** Source → artifact. */
export interface Builder {
  /**
   * Builds one commit. Output goes to `progress` line by line.
   *
   * @throws DeployError `NO_BUILDPACK`, `BUILD_FAILED`, `BUILD_TIMED_OUT`, `BUILD_OUT_OF_DISK`,
   * `BUILD_OUT_OF_MEMORY`, `BUILD_OUT_OF_PROCESSES`, `BUILD_TOO_MUCH_OUTPUT`, `BUILD_SERVICE_TEMPLATE`, `BUILD_TOOLFORGE_YAML`, `NO_PROCESS`; AbortError when the signal fires. Nothing of the build is left behind then, and
   * no process of it runs on. BuildGoesOn where the signal's reason is a HandOver and the build needs no server.
   */
  build(request: BuildRequest, progress: Progress, signal: AbortSignal): Promise<Artifact>;
  /**
   * Why an artifact cannot run as this server is set up now, as the rest of a sentence about it (`was built without
   * isolation, and tools are isolated now`); null = it can.
   */
  whyUnusable(artifact: Artifact): string | null;
  /** Writes the version of a release on its artifact, `v42`, for people who look at what is stored; where that has names. */
  tag(tool: ToolName, artifact: Artifact, version: number, signal: AbortSignal): Promise<void>;
  /** Forgets an artifact that no release will run again. */
  remove(tool: ToolName, artifactId: string): Promise<void>;
  /**
   * At start: ends what an earlier server left running, and does with each artifact of this tool what `fateOf` says.
   *
   * @param takenUp - Builds of `underWay` that go on.
   */
  cleanUp(tool: ToolName, fateOf: FateOf, takenUp: ReadonlySet<string>): Promise<void>;
  /**
   * At start: the ids of the tool's builds that went on without a server, or have ended meanwhile, and can be taken
   * up; none where builds end with their server.
   */
  underWay(tool: ToolName): Promise<ReadonlySet<string>>;
  /**
   * Follows a build of `underWay` to its end, with the request that it was started with. Progress tells everything
   * from the first line on, as `build` did.
   *
   * @throws as `build`; DeployError `BUILD_GONE` where it is not there any more.
   */
  takeUp(request: BuildRequest, progress: Progress, signal: AbortSignal): Promise<Artifact>;
}
