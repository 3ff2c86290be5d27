import type { Builder } from '../builder/builder.ts';
import type { Log } from '../core/log/log.ts';
import type { CommitId } from '../core/names.ts';
import type { Artifact, Deployment, Release, Replicas, Sizes } from '../core/types.ts';
import type { OutsideVars } from '../core/variables/outside-vars.ts';
import type { Repositories } from '../git/repositories.ts';
import type { Runtime } from '../run/runtime.ts';
import type { Store } from '../store/store.ts';

/** The parts of the server that a deployment uses. */
export interface DeployContext {
  readonly store: Store;
  readonly repositories: Repositories;
  readonly builder: Builder;
  readonly runtime: Runtime;
  /** The most builds of one tool in 24 hours, unless the tool has a limit of its own. */
  readonly buildsADay: number;
  /** The largest repository of a tool, in bytes, unless the tool has a limit of its own. */
  readonly repositorySize: number;
  /** The most processes of one type of a tool, unless the tool has a limit of its own. */
  readonly maxReplicas: number;
  /** The most process types of a tool that are kept running. */
  readonly processTypes: number;
  readonly log: Log;
}

/** The steps of one deployment. The server decides them when the deployment's turn comes. */
export interface DeployPlan {
  readonly deployment: Deployment;
  readonly commit: CommitId;
  readonly description: string;
  /** The config vars of the new release, without the random secrets that the server adds when it makes the release. */
  readonly configVars: Readonly<Record<string, string>>;
  /**
   * The config vars from outside. The build and the processes get them too. If `configVars` has a config var of the
   * same name, the value from outside is used.
   */
  readonly outside: OutsideVars;
  /**
   * The artifact of an earlier build, which this deployment runs. Null if the deployment must build or copy an
   * artifact.
   */
  readonly artifact: Artifact | null;
  /**
   * For a promotion: the live release of the other tool. The new release gets a copy of its artifact. Null for all
   * other deployments.
   */
  readonly promotedFrom: Release | null;
  readonly useCache: boolean;
  /** The artifact to put onto the newest Debian system. Null if the deployment is no rebase. */
  readonly rebaseOf: Artifact | null;
  /** The release to restart. Null if the deployment makes a new release. */
  readonly restartOf: Release | null;
  /**
   * For a `scale` that changes a size: the numbers and sizes of processes that it sets. Null for all other deployments.
   */
  readonly scaled: { readonly asked: Replicas; readonly sizes: Sizes } | null;
  /** The branch that moves to the release's commit. Null means the deploy branch at the time of the move. */
  readonly branchRef: string | null;
  /** Further lines for `git update-ref --stdin`, which run in the transaction that moves the branch. */
  readonly withUpdates: readonly string[];
  /**
   * True if an earlier server process started the build of this deployment. This server then follows that build, or
   * uses its artifact if the build has ended.
   */
  readonly isResumed: boolean;
}
