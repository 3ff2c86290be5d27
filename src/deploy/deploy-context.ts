import type { Builder } from '../build/builder.ts';
import type { Log } from '../core/log.ts';
import type { CommitId } from '../core/names.ts';
import type { Artifact, Deployment, Release } from '../core/types.ts';
import type { Repositories } from '../git/repositories.ts';
import type { Runtime } from '../run/runtime.ts';
import type { Store } from '../store/store.ts';

/** What a deployment works with. */
export interface DeployContext {
  readonly store: Store;
  readonly repositories: Repositories;
  readonly builder: Builder;
  readonly runtime: Runtime;
  /** Of one tool, within 24 hours. */
  readonly buildsADay: number;
  /** Of one process type of a tool. */
  readonly maxReplicas: number;
  readonly log: Log;
}

/** A deployment whose turn has come, with everything decided. */
export interface DeployPlan {
  readonly deployment: Deployment;
  readonly commit: CommitId;
  readonly description: string;
  readonly configVars: Readonly<Record<string, string>>;
  /** Run again as it is; null = build. */
  readonly artifact: Artifact | null;
  readonly useCache: boolean;
  /** The release that is started anew; null = make one. */
  readonly restartOf: Release | null;
  /** The branch that moves; null = the one that is there. */
  readonly branchRef: string | null;
  /** Lines of `git update-ref --stdin` that belong to the same transaction. */
  readonly withUpdates: readonly string[];
  /** Its build goes on since an earlier server, and is followed. */
  readonly isTakenUp: boolean;
}
