import type { CommitId, ToolName } from '../core/names.ts';
import type { Deployment, Principal, Replicas, Sizes } from '../core/types.ts';

/**
 * What a client is told about the end of a deployment. If `isLive` is false, `reason` says why the commit did not go
 * live, or which refs could not move although the commit is live.
 */
export type Verdict =
  | { readonly isLive: true; readonly version: number }
  /** `reason` is one line for the client's report: `build failed: pip exited 1; v41 is still live`. */
  | { readonly isLive: false; readonly reason: string };

/**
 * A push whose deployment has not ended. The temporary ref `refs/deployments/ID` holds its commit. For a dry run, the
 * commit is only in git's quarantine folder (git-receive-pack(1)).
 */
export interface ParkedPush {
  readonly id: string;
  readonly tool: ToolName;
  readonly commit: CommitId;
  /** The commit of the pushed branch on this server when the client pushed. Null if there was no such branch. */
  readonly oldCommit: CommitId | null;
  readonly principal: Principal;
  readonly message: string | null;
  readonly useCache: boolean;
  /**
   * For a push with `--atomic`: the updates of its tags, as lines for `git update-ref --stdin` without newlines. They
   * run in the transaction that moves the branch.
   */
  readonly withUpdates: readonly string[];
  /**
   * The full name of the pushed branch: that of the setting `deploy_branch`, such as `refs/heads/main`;
   * `refs/heads/master`, which is deployed while the tool lacks that branch; or `refs/heads/preview/NAME` for a push to
   * a preview.
   */
  readonly branchRef: string;
  /** True if a person has sent files, of which the server has made the commit. Only messages depend on it. */
  readonly isArchive?: boolean;
  /** A line for the log of the deployment. Absent if there is nothing to say. */
  readonly note?: string;
  /** For a push to a preview: the branch as the client names it, such as `preview/fix`. */
  readonly previewBranch?: string;
}

/** What a person who asked for a deployment gets while it waits and runs. */
export interface Ticket {
  /**
   * The id of the deployment. If this push joined another push of the same commit, the id of that push's deployment.
   */
  readonly id: string;
  readonly isJoined: boolean;
  /** Resolves with the result of the deployment. Never rejects. */
  readonly verdict: Promise<Verdict>;
}

/** The previews of tools. A push to `preview/NAME` makes a preview, which is a tool of its own. */
export interface Previews {
  /** How many days after its newest deployment a preview ends. */
  readonly days: number;
  /**
   * Ends a preview: cancels its deployments, ends its processes, and deletes its data.
   *
   * @throws DeployError `NO_PREVIEW` if no preview has this name; `BACKUP_RUNNING` while a backup or an export is made.
   */
  end(preview: ToolName, by: string): Promise<void>;
}

/**
 * Queues deployments and runs them, one at a time for each tool. A deployment belongs to the server, so it continues if
 * its client disconnects.
 *
 * Callers authorise the principal first. The server authorises each new deployment once more when its turn comes.
 * Methods that need a live release throw DeployError `NOTHING_LIVE`. Methods that queue a deployment throw `LINE_FULL`
 * if too many deployments wait, `FROZEN` if an operator has frozen the tool (but not `restart` and `scale`),
 * `PREVIEW_ENDING` if the tool is a preview that is being deleted, and `SHUTTING_DOWN` if the server is being stopped.
 */
export interface Deployments {
  /**
   * Queues a push, or joins the deployment of the same commit.
   *
   * @throws DeployError if the commit may not be deployed: `NO_LICENCE` if it has no licence file and the setting
   * `licence_policy` is `refuse`; the errors of `inspectCommit`.
   */
  submit(push: ParkedPush): Promise<Ticket>;
  /**
   * Makes a release with the artifact and config vars of an old release. If `version` is null, the old release is the
   * newest earlier one that was live and has another artifact or other config vars than the live release.
   *
   * @param signal - Ends the search for that release.
   * @throws DeployError `NO_RELEASE` if there is no such release; `ARTIFACT_GONE` if its build was deleted;
   * `ARTIFACT_UNUSABLE` if this server cannot run its artifact; the signal's reason.
   */
  rollback(
    tool: ToolName,
    version: number | null,
    principal: Principal,
    signal?: AbortSignal,
  ): Promise<Ticket>;
  /**
   * Releases the artifact and the commit that are live on `source` as a release of `target`, with the config vars of
   * `target`. With `isForced`, the commit need not contain the live commit of `target`.
   *
   * @throws DeployError `ARTIFACT_UNUSABLE` if this server cannot run the artifact.
   */
  promote(source: ToolName, target: ToolName, isForced: boolean, principal: Principal): Ticket;
  /**
   * Builds the live commit again and deploys it as a new release. With `isRebase`, builds nothing: the new release has
   * the live artifact on the newest Debian system.
   */
  redeploy(
    tool: ToolName,
    options: { readonly useCache: boolean; readonly isRebase?: boolean },
    principal: Principal,
  ): Ticket;
  /**
   * Changes config vars in a new release: a text sets a variable, null unsets it. If nothing is live yet, and no
   * deployment runs or waits, only stores the config vars and returns null. With `isStoredOnly`, always only stores
   * them and returns null: the next deployment that makes a release gives them to this release.
   *
   * @throws DeployError `BAD_CONFIG_VAR` if a name or a value is not allowed; with `isStoredOnly`, `DEPLOYMENT_RUNNING`
   * if a deployment runs or waits.
   */
  configure(
    tool: ToolName,
    changes: Readonly<Record<string, string | null>>,
    principal: Principal,
    options?: { readonly isStoredOnly: boolean },
  ): Ticket | null;
  /**
   * Replaces the live release's processes by new ones, without an interruption. With a process type, replaces only the
   * processes of this type.
   *
   * @throws DeployError `ARTIFACT_UNUSABLE` if this server cannot run the artifact; with a type, also `NO_PROCESS_TYPE`
   * if the release lacks the type, and `NOT_RUNNING` if no process of the type should run.
   */
  restart(tool: ToolName, principal: Principal, type?: string | null): Ticket;
  /**
   * Ends the tool's processes until a restart, or until a new release goes live. The live release stays the same.
   *
   * @throws DeployError `DEPLOYMENT_RUNNING` if a deployment of the tool runs or waits.
   */
  stop(tool: ToolName, principal: Principal): Promise<void>;
  /**
   * Begins or ends the maintenance mode of a tool, which lasts over deployments, restarts and starts of the server.
   *
   * @returns true if the mode begins and visitors get a maintenance page that the tool itself has. False if they get
   * the server's page, or if the mode ends.
   * @throws DeployError `NOTHING_LIVE` if the mode should begin but no release is live; the errors of
   * `Runtime.beginMaintenance` and `Runtime.endMaintenance`.
   */
  setMaintenance(tool: ToolName, isOn: boolean, principal: Principal): Promise<boolean>;
  /**
   * Cancels the deployment with this id. If the id is null, cancels the running deployment, or if none runs, the first
   * one that waits.
   *
   * @throws DeployError `NO_DEPLOYMENT` if no such deployment runs or waits. If the id is null, also if the deployment
   * that the person may have meant has just ended.
   */
  cancel(tool: ToolName, id: string | null, principal: Principal): Deployment;
  /**
   * Yields the deployment's log from its first line in chunks of whole lines, then follows the log until it ends or the
   * signal fires. Yields nothing if there is no log. A slow reader delays nobody.
   */
  follow(
    id: string,
    options: { readonly isColoured: boolean; readonly signal: AbortSignal },
  ): AsyncIterable<string>;
  /**
   * Changes how many processes of each type in `changes` the live release runs. Makes no new release.
   *
   * @param sizes - The new sizes of process types. If a size changes, all processes of the release are replaced,
   * without an interruption. The size `{}` restores the size that the tool's files ask for.
   * @throws DeployError `NO_PROCESS_TYPE` if the release lacks a type; `TOO_MANY_PROCESSES` if a limit would be
   * exceeded; `ARTIFACT_UNUSABLE` if this server cannot run the artifact.
   */
  scale(tool: ToolName, changes: Replicas, principal: Principal, sizes?: Sizes): Ticket;
}
