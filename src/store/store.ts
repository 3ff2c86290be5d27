import type { CommitId, ToolName } from '../core/names.ts';
import type { ToolLimits } from '../core/tool-limits.ts';
import type {
  Artifact,
  Build,
  BuildState,
  ConfigChange,
  Crashes,
  Deployment,
  DeploymentRequest,
  DeployToken,
  PastRun,
  Release,
  Replicas,
  Sizes,
} from '../core/types.ts';
import type { RenameNote } from './renames/rename-notes.ts';

export interface ToolRecord {
  readonly name: ToolName;
  /**
   * The number of the tool, at least 1. No number is used twice, except that a preview can get the number of an ended
   * preview.
   */
  readonly number: number;
  /** The version of the live release. Null if no release is live. */
  readonly liveVersion: number | null;
  /** True after `stop`, until a restart or until a release goes live. */
  readonly isStopped: boolean;
  /** True if visitors of the tool get a page about maintenance instead of the tool. */
  readonly isInMaintenance: boolean;
}

/** A preview: a tool that belongs to another tool. When the preview ends, the server deletes it. */
export interface Preview {
  readonly name: ToolName;
  /** The tool that the preview belongs to. */
  readonly tool: ToolName;
  /**
   * When the preview was made or its newest deployment was requested, the later of both, in milliseconds since 1970.
   */
  readonly usedAt: number;
  readonly liveVersion: number | null;
  /** True if the preview is being deleted: `markEnding` was called. */
  readonly isEnding: boolean;
}

/** An operator's decision that a tool, or all tools, accept no deployments that change what is live. */
export interface Freeze {
  /** Why the operator froze the tool, in one line. People who push see it. */
  readonly reason: string;
  /** When the operator froze the tool, in milliseconds since 1970. */
  readonly at: number;
  /** True if all tools are frozen. */
  readonly isOfAll: boolean;
}

/** `created`: the rollout has not ended. `replaced`: the release was live earlier. `failed`: it never went live. */
export type ReleaseState = 'created' | 'live' | 'replaced' | 'failed';

export interface ReleaseRecord extends Release {
  readonly state: ReleaseState;
  /**
   * The releases of other tools that promotions made from this release, such as `wikibot v12`. Null if there are none.
   */
  readonly promotedTo: string | null;
}

/** A release that was made on another server. Its artifact and its config vars stayed there. */
export interface EnteredRelease
  extends Pick<Release, 'version' | 'commit' | 'description' | 'by' | 'credential' | 'createdAt'> {
  /** True if the release never went live. */
  readonly isFailed: boolean;
  readonly deployment: Pick<
    Deployment,
    'kind' | 'door' | 'message' | 'reason' | 'createdAt' | 'startedAt' | 'endedAt'
  >;
}

/** What an import enters into the store: everything that another server had about a tool. */
export interface EnteredTool {
  /** The releases of the tool, in ascending order of their versions. */
  readonly releases: readonly EnteredRelease[];
  /** The config vars that the tool's next release gets. */
  readonly configVars: Readonly<Record<string, string>>;
  /** The names of the config vars whose values new previews of the tool get, sorted. */
  readonly sharedConfig: readonly string[];
  readonly replicas: Replicas;
  readonly sizes: Sizes;
  /** The process types whose schedules are paused, sorted. */
  readonly paused: readonly string[];
  readonly limits: Partial<ToolLimits>;
  /** The user who imports the tool. The history of config vars names this user, and the time `at`. */
  readonly by: string;
  readonly at: number;
}

/** A release in a list, without config vars: a tool may have thousands of releases, each with half a megabyte. */
export type ListedRelease = Omit<ReleaseRecord, 'configVars'>;

/**
 * Keeps the records that must outlive the process. Calls are synchronous, except the two that copy releases to files.
 * Config vars are encrypted at rest. "The newest" are the rows that were added last, whatever the clock said.
 *
 * @throws DeployError `STORE_FULL` if the disk is full; `STORE_DAMAGED` if the file is corrupt. At opening,
 * `STORE_NEWER` if a later version of this server wrote the store, and `STORE_KEY` if another key encrypted it.
 */
export interface Store {
  /**
   * The record of the tool. Makes the record at the first use of the tool. @throws DeployError `TOOL_RENAMED` as
   * `assertNamed` does.
   */
  tool(name: ToolName): ToolRecord;
  /** The record of the tool. Null if it has none. */
  recordOf(name: ToolName): ToolRecord | null;
  /** All records. With thousands of tools, this takes tens of milliseconds. */
  tools(): ToolRecord[];
  setStopped(tool: ToolName, isStopped: boolean): void;
  setMaintenance(tool: ToolName, isInMaintenance: boolean): void;

  /** The tool that a preview belongs to. Null if there is no preview `name`. */
  previewOf(name: ToolName): ToolName | null;
  /** For the number of a preview, returns the number of its tool. Returns every other number unchanged. */
  shareOf(toolNumber: number): number;
  /** The previews of one tool, or of all tools if `tool` is not set. Sorted by name, including those that are ending. */
  previews(tool?: ToolName): Preview[];
  /** The preview `name`. Null if there is none. */
  preview(name: ToolName): Preview | null;
  /** Makes a preview of `tool`, with the values of the tool's shared config vars and with limits of its own. */
  addPreview(
    name: ToolName,
    tool: ToolName,
    made: { limits: Partial<ToolLimits>; by: string; at: number },
  ): void;
  /** Records that a preview is ending: it has no live release any more, and its config vars are deleted. */
  markEnding(preview: ToolName): void;
  /** Deletes everything that the store has about a preview. Its builds still count in `buildStarts` of its tool. */
  removePreview(preview: ToolName, now: number): void;
  /** The names of the config vars whose values new previews of the tool get, sorted. */
  sharedConfig(tool: ToolName): readonly string[];
  setSharedConfig(tool: ToolName, names: readonly string[]): void;

  /**
   * The limits that an operator has set for this tool. Empty if the settings of the server apply. For a preview, each
   * limit is the lower one of two: that of the preview and that of the tool that it belongs to. But `replicas` is
   * always that of the preview.
   */
  ownLimits(tool: ToolName): Partial<ToolLimits>;
  /**
   * The limits that were set for this tool itself. Unlike `ownLimits`, ignores for a preview the limits of its tool.
   */
  storedLimits(tool: ToolName): Partial<ToolLimits>;
  /** Replaces the limits of the tool. The memory limit applies to processes that start later. */
  setOwnLimits(tool: ToolName, limits: Partial<ToolLimits>): void;

  /**
   * Enters what another server had about a tool, in one transaction. The store must have nothing about the tool, except
   * limits, which stay. The releases that were live on the other server get the state `replaced`, and nothing is live
   * here.
   */
  enterTool(tool: ToolName, entered: EnteredTool): void;

  /**
   * Gives a tool another name, in one transaction, with everything that the store has about it. The tool keeps its
   * number. The store must have nothing of a tool `to`, except an empty record.
   *
   * The copies of its releases outside the store are then out of date. Delete them, and call `copyReleases`.
   *
   * @returns the rename, for `addNotes`.
   */
  renameTool(from: ToolName, to: ToolName, at: number): RenameNote;
  /** The present name of the tool whose name was once `old`. Null if no tool had this name, or if a tool has it now. */
  renamedTo(old: string): ToolName | null;
  /**
   * Refuses a name that a tool had before it was renamed. Every method that makes the record of a tool calls this
   * method, except `addPreview`, `renameTool`, `reuseName`, `enterTool` and `readBack`.
   *
   * @throws DeployError `TOOL_RENAMED` if `renamedTo` returns a name.
   */
  assertNamed(tool: ToolName): void;
  /** Makes the record of a new tool whose name another tool had before it was renamed. */
  reuseName(tool: ToolName): void;

  /** Freezes a tool, or changes the reason. @param tool - Null means all tools, also those that will be added later. */
  freeze(tool: ToolName | null, reason: string, at: number): void;
  /**
   * Ends the freeze of one tool, or if `tool` is null, the freeze of all tools. Tools that are frozen by name then stay
   * frozen.
   *
   * @returns false if there was no such freeze.
   */
  unfreeze(tool: ToolName | null): boolean;
  /**
   * The freeze of the tool itself. If there is none: for a preview, the freeze of the tool that it belongs to, or else
   * the freeze of all tools. Null if there is none of these.
   */
  freezeOf(tool: ToolName): Freeze | null;

  /** Adds a deployment. @param request - Given if the deployment can be resumed after a restart of the server. */
  addDeployment(deployment: Deployment, request?: DeploymentRequest | null): void;
  updateDeployment(id: string, change: Partial<Omit<Deployment, 'id' | 'tool'>>): void;
  deployment(id: string): Deployment | null;
  /** The deployments of a tool, the newest first. */
  deployments(tool: ToolName, limit: number): Deployment[];
  /** The deployments of all tools that have not ended, the oldest first. */
  unfinishedDeployments(): Deployment[];
  /**
   * The request that was added with the deployment. Null if it was added without one, or if the deployment has ended
   * and its release is not live.
   */
  requestOf(deploymentId: string): DeploymentRequest | null;

  addBuild(build: Build): void;
  endBuild(id: string, state: BuildState, artifact: Artifact | null, endedAt: number): void;
  build(id: string): Build | null;
  /** The builds of a tool, the newest first. */
  builds(tool: ToolName, limit: number): Build[];
  /** The ids of the builds that still have their artifact, the newest first. */
  buildsWithArtifact(tool: ToolName): string[];
  /**
   * The start times after `at` of all builds of a tool and of its previews, the oldest first. For a preview, those of
   * the tool that it belongs to.
   */
  buildStarts(tool: ToolName, at: number): number[];
  /** The newest successful build of the commit that still has its artifact. Null if there is no such build. */
  newestBuildOf(tool: ToolName, commit: CommitId): Build | null;
  /** Records that the artifact of the build was deleted. */
  forgetArtifact(buildId: string): void;

  /** Adds a release with the next version, in state `created`. */
  addRelease(release: Omit<Release, 'version'>): Release;
  /** The release, with the memory limit and the sizes that the tool has now. Null if the store lacks the release. */
  release(tool: ToolName, version: number): ReleaseRecord | null;
  /**
   * The releases of a tool, the newest first, without config vars.
   *
   * @param before - Only releases with a lower version. By default, all.
   */
  releases(tool: ToolName, limit: number, before?: number): ListedRelease[];
  /** The state and the artifact's id of every release of the tool, the newest first. */
  artifactIds(tool: ToolName): { version: number; state: ReleaseRecord['state']; artifact: string }[];
  /** Records that a promotion made the release `to` of another tool, such as `wikibot v12`, from this release. */
  notePromotion(tool: ToolName, version: number, to: string): void;
  failRelease(tool: ToolName, version: number): void;
  /** For each release in state `created`: its version, and the id of the deployment that made it. */
  createdReleases(tool: ToolName): ReadonlyMap<number, string>;
  /**
   * The bytes of config vars and artifacts in releases of the tool and its previews that were created after `after` and
   * at or before `until`.
   */
  releaseBytes(tool: ToolName, after: number, until: number): number;
  /** For each release that is or was live: its version and its commit. */
  releaseCommits(tool: ToolName): ReadonlyMap<number, CommitId>;
  /**
   * The versions that have a copy outside the store, intact or torn, in no order. `copyRelease` makes a copy shortly
   * before the release goes live.
   */
  copiedVersions(tool: ToolName): number[];
  copiedTools(): ToolName[];
  /**
   * The versions that have a copy and are higher than every version that the store has assigned. If there are any, the
   * store is outdated.
   */
  newerCopies(tool: ToolName): number[];
  /** Makes the missing copies of the newest releases that went live: earlier versions of this server made none. */
  copyReleases(tool: ToolName): Promise<void>;
  /**
   * Repairs a store that is older than the copies of releases. Gives each tool the number in its newest copy, because
   * its files belong to this number. From then on, no other tool gets this number, even if the store lacks the tool.
   *
   * @returns the tools that got another number.
   */
  settleNumbers(): ToolName[];
  /**
   * Repairs a store that lacks releases, for example because an old backup was restored. In one transaction, enters the
   * releases `versions` from their copies, with builds and deployments. Makes the highest of them live, unless a higher
   * release is live.
   *
   * @returns the entered versions. The other `versions` have no copy, or a torn one.
   */
  readBack(tool: ToolName, versions: readonly number[]): number[];
  /** Makes sure that the tool's next release gets a version higher than `upTo`. */
  skipVersions(tool: ToolName, upTo: number): void;
  /**
   * Deletes old copies of releases that no rollback can use any more. Keeps copies of releases that the store lacks.
   */
  dropOldCopies(tool: ToolName): void;
  /**
   * Deletes rows of deployments, builds, releases and changes of config vars beyond the newest of the tool, by default
   * 1,000 of each (`keep_history`). Keeps what is live, what a rollback can run, and what has not ended. Keeps the
   * builds and releases of the last two days, too, because daily limits count them.
   */
  dropOldRows(tool: ToolName, now: number): void;
  /**
   * Copies a release that will go live at the time `at` (in milliseconds since 1970), unless an intact copy exists.
   * Resolves when the copy is on the disk. Call this before `goLive`. `failRelease` deletes the copy.
   *
   * @throws DeployError `STORE_FULL` if the disk cannot be written.
   */
  copyRelease(tool: ToolName, version: number, at: number): Promise<void>;
  /**
   * In one transaction: makes this release and its deployment `live` and the previous release `replaced`, gives the
   * tool the release's config vars, and clears `isStopped`. If an earlier version of this server made the previous
   * release, also records the numbers that `replicasKept` returns, as if `scale` had set them. If the release is live
   * already, the tool's config vars stay, because they may be newer.
   */
  goLive(tool: ToolName, version: number, deploymentId: string, at: number): void;

  /** Counts one more crash of a live process. May be lost in a power failure. */
  addCrash(tool: ToolName, version: number, crash: { process: string; at: number; words: string }): void;
  /** How often the processes of the tool's releases crashed, the newest release first. */
  crashes(tool: ToolName): Crashes[];

  /** The config vars that the tool's next release gets. */
  configVars(tool: ToolName): Record<string, string>;
  /**
   * Stores the config vars for the tool's next release, and who changed them. Call this only if no deployment of the
   * tool is under way, because `goLive` at the end of that deployment would replace these config vars.
   */
  setConfigVars(tool: ToolName, vars: Readonly<Record<string, string>>, by: string): void;
  /**
   * The changes of the config vars that the tool's next release gets, the newest first.
   *
   * @param skip - How many of the newest changes to skip. By default 0.
   */
  configChanges(tool: ToolName, limit: number, skip?: number): ConfigChange[];

  /** Adds a deploy token. `hash` is the SHA-256 of its secret; the secret itself is not kept. */
  addToken(token: DeployToken, hash: Uint8Array): void;
  token(id: string): { readonly token: DeployToken; readonly hash: Uint8Array } | null;
  /** The deploy tokens of a tool, the newest first, including expired ones. */
  tokens(tool: ToolName): DeployToken[];
  useToken(id: string, at: number): void;
  /** Revokes a deploy token. @returns false if the tool has no token with this id. */
  removeToken(tool: ToolName, id: string): boolean;

  /** The sizes of processes that `scale` has set. */
  sizes(tool: ToolName): Sizes;
  /**
   * The numbers of processes that `scale` or `goLive` set. For a type without a number, the number in the release
   * applies.
   */
  replicas(tool: ToolName): Replicas;
  /**
   * In one transaction: sets the numbers of processes, and makes the deployment `live`. With `sizes`, also stores these
   * sizes of process types, which then apply to all releases of the tool.
   */
  setReplicas(tool: ToolName, replicas: Replicas, deploymentId: string, at: number, sizes?: Sizes): void;

  /** The process types whose schedules maintainers have paused, sorted. */
  pausedSchedules(tool: ToolName): readonly string[];
  setPaused(tool: ToolName, type: string, isPaused: boolean): void;
  /**
   * Records a scheduled run that has ended, unless the store has a run of this type with the same start. Keeps the
   * newest runs of a tool, by default 1,000 (`keep_history`).
   */
  addScheduledRun(tool: ToolName, run: Omit<PastRun, 'number'>): void;
  /** The scheduled runs that have ended, the newest first. If `type` is null, the runs of all process types. */
  scheduledRuns(tool: ToolName, type: string | null, limit: number): PastRun[];

  close(): void;
}
