import type { CommitId, ToolName } from '../core/names.ts';
import type { Deployment, Principal, Replicas } from '../core/types.ts';

/** How a deployment ended. */
export type Verdict =
  | { readonly isLive: true; readonly version: number }
  /** `reason` is one line for the client's report: `build failed: pip exited 1; v41 is still live`. */
  | { readonly isLive: false; readonly reason: string };

/** A push whose commit is in the repository, parked under `refs/deployments/ID`. */
export interface ParkedPush {
  readonly id: string;
  readonly tool: ToolName;
  readonly commit: CommitId;
  /** The commit that the client saw on the deploy branch. Null if it saw no such branch. */
  readonly oldCommit: CommitId | null;
  readonly principal: Principal;
  readonly message: string | null;
  readonly useCache: boolean;
  /**
   * With `--atomic`: updates for the transaction that moves the branch, as lines of `git update-ref --stdin` without
   * newlines.
   */
  readonly withUpdates: readonly string[];
  /** `refs/heads/main`, or `refs/heads/master` for a tool that has no main. */
  readonly branchRef: string;
}

/** A place in the queue of deployments. */
export interface Ticket {
  /** The id of the deployment. If this push joined another push, the other's deployment. */
  readonly id: string;
  readonly isJoined: boolean;
  /** Never rejects. */
  readonly verdict: Promise<Verdict>;
}

/**
 * The queue of deployments, one at a time for each tool. A deployment belongs to the server, so it continues if its
 * client disconnects.
 *
 * Callers authorise first. Each deployment is authorised once more when its turn comes. Methods that need a live
 * release throw DeployError `NOTHING_LIVE`.
 */
export interface Deployments {
  /**
   * Queues a push, or joins the deployment of the same commit.
   *
   * @throws DeployError if the commit may not be deployed: `NOT_A_COMMIT`, `EMPTY_COMMIT`, `TREE_TOO_LARGE`,
   * `NO_LICENCE`.
   */
  submit(push: ParkedPush): Promise<Ticket>;
  /**
   * Makes a release with the artifact and config vars of an old one. Null means the one before the live release.
   *
   * @throws DeployError `NO_RELEASE`, `ARTIFACT_GONE`
   */
  rollback(tool: ToolName, version: number | null, principal: Principal): Ticket;
  /** Builds the live commit again. */
  redeploy(tool: ToolName, options: { readonly useCache: boolean }, principal: Principal): Ticket;
  /**
   * Sets (text) and unsets (null) config vars in a new release. If nothing is live yet, only stores them and returns
   * null.
   *
   * @throws DeployError `BAD_CONFIG_VAR`
   */
  configure(
    tool: ToolName,
    changes: Readonly<Record<string, string | null>>,
    principal: Principal,
  ): Ticket | null;
  /** Replaces the live release's processes without an interruption. */
  restart(tool: ToolName, principal: Principal): Ticket;
  /** Ends the tool's processes until the next deployment or restart. The live release stays the same. */
  stop(tool: ToolName, principal: Principal): Promise<void>;
  /** Cancels the running deployment, or the one with this id. @throws DeployError `NO_DEPLOYMENT` */
  cancel(tool: ToolName, id: string | null, principal: Principal): Deployment;
  /**
   * Yields the deployment's log from its first line, then live until its end, in chunks of whole lines. A slow reader
   * delays nobody.
   */
  follow(
    id: string,
    options: { readonly isColoured: boolean; readonly signal: AbortSignal },
  ): AsyncIterable<string>;
  /**
   * Changes how many processes of each named type the live release runs. Makes no new release.
   *
   * @throws DeployError `NO_PROCESS_TYPE`, `TOO_MANY_PROCESSES`, `ARTIFACT_UNUSABLE`
   */
  scale(tool: ToolName, changes: Replicas, principal: Principal): Ticket;
}
