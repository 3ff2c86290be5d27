import type { Builder } from '../builder/builder.ts';
import type { Log } from '../core/log/log.ts';
import type { CommitId } from '../core/names.ts';
import type { Artifact, Deployment, Release } from '../core/types.ts';
import type { Repositories } from '../git/repositories.ts';
import type { Runtime } from '../run/runtime.ts';
import type { Store } from '../store/store.ts';

/** The parts of the server that a deployment uses. */
export interface DeployContext {
  readonly store: Store;
  readonly repositories: Repositories;
  readonly builder: Builder;
  readonly runtime: Runtime;
  /** The most builds of one tool in 24 hours. */
  readonly buildsADay: number;
  /** The most processes of one type of a tool. */
  readonly maxReplicas: number;
  readonly log: Log;
}

/** What a deployment does, decided when its turn comes. */
export interface DeployPlan {
  readonly deployment: Deployment;
  readonly commit: CommitId;
  readonly description: string;
  readonly configVars: Readonly<Record<string, string>>;
  /** The artifact to run again. Null if the commit must be built. */
  readonly artifact: Artifact | null;
  readonly useCache: boolean;
  /** The release to restart. Null if the deployment makes a new release. */
  readonly restartOf: Release | null;
  /** The branch to move. Null for the branch that deploys now. */
  readonly branchRef: string | null;
  /** More lines of `git update-ref --stdin` for the transaction that moves the branch. */
  readonly withUpdates: readonly string[];
  /** True if an earlier server started its build. This server then follows the build. */
  readonly isResumed: boolean;
}
