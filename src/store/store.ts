import type { CommitId, ToolName } from '../core/names.ts';
import type {
  Artifact,
  Build,
  BuildState,
  Deployment,
  DeploymentRequest,
  DeployToken,
  Release,
  Replicas,
} from '../core/types.ts';

export interface ToolRecord {
  readonly name: ToolName;
  /** 1 and up, never used twice. */
  readonly number: number;
  /** The version that is live; null = none yet. */
  readonly liveVersion: number | null;
  /** True after `stop`, until the next deployment or restart. */
  readonly isStopped: boolean;
}

/** Where a release stands; `created` is one whose rollout has not ended. */
export type ReleaseState = 'created' | 'live' | 'replaced' | 'failed';

export interface ReleaseRecord extends Release {
  readonly state: ReleaseState;
}

/** A release in a list. Its config vars may be half a megabyte, and a tool may have thousands of releases. */
export type ListedRelease = Omit<ReleaseRecord, 'configVars'>;

/**
 * What must outlive the process. Synchronous: every call has been made durable when it returns.
 * Config vars are encrypted at rest. Rows are ordered by a sequence, never by the clock.
 *
 * @throws DeployError `STORE_FULL` when the disk is full; `STORE_NEWER` and `STORE_KEY` at opening, when
 * the file is of a later version or encrypted with another key.
 */
export interface Store {
  /** The tool's record, made at its first use. */
  tool(name: ToolName): ToolRecord;
  tools(): ToolRecord[];
  setStopped(tool: ToolName, isStopped: boolean): void;

  /** `request` where it can be entered again after a restart. */
  addDeployment(deployment: Deployment, request?: DeploymentRequest | null): void;
  updateDeployment(id: string, change: Partial<Omit<Deployment, 'id' | 'tool'>>): void;
  deployment(id: string): Deployment | null;
  /** The newest first. */
  deployments(tool: ToolName, limit: number): Deployment[];
  /** Those in a state that is no end, the oldest first, of all tools. */
  unfinishedDeployments(): Deployment[];
  /** As it was added; null where there was none, as for all that earlier versions added. */
  requestOf(deploymentId: string): DeploymentRequest | null;

  addBuild(build: Build): void;
  endBuild(id: string, state: BuildState, artifact: Artifact | null, endedAt: number): void;
  build(id: string): Build | null;
  /** The newest first. */
  builds(tool: ToolName, limit: number): Build[];
  /** When the tool's builds since `at` were started, the oldest first. */
  buildStarts(tool: ToolName, at: number): number[];
  /** The newest successful build of the commit whose artifact is still there. */
  newestBuildOf(tool: ToolName, commit: CommitId): Build | null;
  /** The artifact has been removed. */
  forgetArtifact(buildId: string): void;

  /** Adds a release with the next version, in state `created`. */
  addRelease(release: Omit<Release, 'version'>): Release;
  release(tool: ToolName, version: number): ReleaseRecord | null;
  /** The newest first, without their config vars: `release` gives those of one. */
  releases(tool: ToolName, limit: number): ListedRelease[];
  failRelease(tool: ToolName, version: number): void;
  /** What the config vars of the tool's releases take that were made in this time. */
  releaseBytes(tool: ToolName, after: number, until: number): number;
  /** The commits of all releases that are or were live, by their versions. */
  releaseCommits(tool: ToolName): ReadonlyMap<number, CommitId>;
  /**
   * The versions that went live and have a copy outside the store, whole or torn, in no order. `goLive` makes one of
   * each.
   */
  copiedVersions(tool: ToolName): number[];
  copiedTools(): ToolName[];
  /** Of those, the versions that this store has never given out: it is older than they are. */
  newerCopies(tool: ToolName): number[];
  /** Makes the copies that are missing, as those of earlier versions of this server. */
  copyReleases(tool: ToolName): void;
  /**
   * In one transaction: enters these releases from their copies with their builds and deployments, and makes the
   * highest the live one, unless a higher one is. For a store that is older than the repositories.
   *
   * @returns those that were entered: the others have no copy, or a torn one.
   */
  readBack(tool: ToolName, versions: readonly number[]): number[];
  /** The next version is above this one. */
  skipVersions(tool: ToolName, upTo: number): void;
  /**
   * Deletes copies of releases that nobody can roll back to any more, and keeps those of the newest. A copy that the
   * store does not know stays.
   */
  dropOldCopies(tool: ToolName): void;
  /**
   * In one transaction: this release is live, the one before is `replaced`, the tool's config vars are the
   * release's, the tool is not stopped, and the deployment is `live`.
   */
  goLive(tool: ToolName, version: number, deploymentId: string, at: number): void;

  configVars(tool: ToolName): Record<string, string>;
  /** Only for a tool that has nothing live; else config vars change with a release. */
  setConfigVars(tool: ToolName, vars: Readonly<Record<string, string>>): void;

  /** `hash` is of its secret, which is not kept. */
  addToken(token: DeployToken, hash: Uint8Array): void;
  token(id: string): { readonly token: DeployToken; readonly hash: Uint8Array } | null;
  /** The newest first, the expired ones too. */
  tokens(tool: ToolName): DeployToken[];
  useToken(id: string, at: number): void;
  /** @returns false where the tool has none by this id. */
  removeToken(tool: ToolName, id: string): boolean;

  /** How many processes of each type were asked for; a type that is not there runs as often as its release says. */
  replicas(tool: ToolName): Replicas;
  /** In one transaction: the tool is to run so many, and the deployment is `live`. */
  setReplicas(tool: ToolName, replicas: Replicas, deploymentId: string, at: number): void;

  close(): void;
}
