import type { CommitId, ToolName } from '../core/names.ts';
import type { Deployment, Principal, Replicas } from '../core/types.ts';

/** How a deployment ended. */
export type Verdict =
  | { readonly isLive: true; readonly version: number }
  /** `reason` is one line, as the client's report shows it: `build failed: pip exited 1; v41 is still live`. */
  | { readonly isLive: false; readonly reason: string };

/** A push whose commit is in the repository, parked under `refs/deployments/ID`. */
export interface ParkedPush {
  readonly id: string;
  readonly tool: ToolName;
  readonly commit: CommitId;
  /** What the client believed the deploy branch to be; null = not there. */
  readonly oldCommit: CommitId | null;
  readonly principal: Principal;
  readonly message: string | null;
  readonly useCache: boolean;
  /**
   * With `--atomic`: more updates that move in the transaction that moves the branch, as lines of
   * `git update-ref --stdin` without their end.
   */
  readonly withUpdates: readonly string[];
  /** `refs/heads/main`, or master for a tool that has only that one. */
  readonly branchRef: string;
}

/** A place in the line. */
export interface Ticket {
  /** Of the deployment, which is another's where this push joined one. */
  readonly id: string;
  readonly isJoined: boolean;
  /** Never rejects. */
  readonly verdict: Promise<Verdict>;
}

/**
 * The line of deployments, one at a time for each tool. A deployment belongs to the server: whoever asked
 * for it may leave without changing how it ends.
 *
 * Whoever calls has authorised already; what waits is authorised once more when its turn has come. Methods that need
 * something live throw DeployError `NOTHING_LIVE`.
 */
export interface Deployments {
  /**
   * Takes a push into the line, or joins the deployment of the same commit.
   *
   * @throws DeployError where the commit may not be deployed: `NOT_A_COMMIT`, `EMPTY_COMMIT`, `TREE_TOO_LARGE`,
   * `NO_LICENCE`.
   */
  submit(push: ParkedPush): Promise<Ticket>;
  /** A new release with the artifact and config vars of an old one; null = the one before the live one. @throws DeployError `NO_RELEASE`, `ARTIFACT_GONE` */
  rollback(tool: ToolName, version: number | null, principal: Principal): Ticket;
  /** Builds the live commit again. */
  redeploy(tool: ToolName, options: { readonly useCache: boolean }, principal: Principal): Ticket;
  /** Sets (text) and unsets (null) config vars with a release of their own; null where nothing is live yet and they were only stored. @throws DeployError `BAD_CONFIG_VAR` */
  configure(
    tool: ToolName,
    changes: Readonly<Record<string, string | null>>,
    principal: Principal,
  ): Ticket | null;
  /** Starts the live release's processes anew, without an interruption. */
  restart(tool: ToolName, principal: Principal): Ticket;
  /** Ends the tool's processes until the next deployment or restart. The release stays the live one. */
  stop(tool: ToolName, principal: Principal): Promise<void>;
  /** Cancels the running deployment, or the one with this id. @throws DeployError `NO_DEPLOYMENT` */
  cancel(tool: ToolName, id: string | null, principal: Principal): Deployment;
  /**
   * The deployment's log from its first line, then live until its end. Chunks are whole lines, in colour or
   * not. A reader that does not read holds nobody back.
   */
  follow(
    id: string,
    options: { readonly isColoured: boolean; readonly signal: AbortSignal },
  ): AsyncIterable<string>;
  /**
   * Runs the live release in other numbers, by process type; types that are not named stay as they are. No new release.
   *
   * @throws DeployError `NO_PROCESS_TYPE`, `TOO_MANY_PROCESSES`, `ARTIFACT_UNUSABLE`
   */
  scale(tool: ToolName, changes: Replicas, principal: Principal): Ticket;
}
