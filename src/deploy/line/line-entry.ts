import { type CommitId, short, type ToolName } from '../../core/names.ts';
import type { Progress } from '../../core/progress.ts';
import type { Deployment, Principal, Replicas } from '../../core/types.ts';
import type { CommitFacts } from '../../git/commits.ts';
import type { DeploymentLog } from '../deployment-log.ts';
import type { ParkedPush, Verdict } from '../deployments.ts';

/** What a deployment was asked to do. */
export type Request =
  | { readonly kind: 'push'; readonly push: ParkedPush }
  | { readonly kind: 'redeploy'; readonly useCache: boolean }
  | { readonly kind: 'rollback'; readonly version: number }
  | { readonly kind: 'config'; readonly changes: Readonly<Record<string, string | null>> }
  | { readonly kind: 'restart' }
  | { readonly kind: 'scale'; readonly changes: Replicas };

/** A deployment that is not yet in the queue. */
export interface Wanted {
  /** The id of a push. Other deployments get a new one. */
  readonly id?: string;
  readonly tool: ToolName;
  readonly commit: CommitId;
  readonly request: Request;
  readonly principal: Principal;
  readonly message: string | null;
  /** The waiting entries that it supersedes. */
  readonly replaces?: readonly Entry[];
}

/** One deployment in the queue. */
export class Entry {
  readonly deployment: Deployment;
  readonly request: Request;
  readonly principal: Principal;
  readonly log: DeploymentLog;
  /** Gets the output of this deployment. A resumed deployment repeats its output from the first line. */
  readonly progress: Progress;
  /** Resolves when a resumed build may continue. Null if this server started the deployment. */
  readonly resumption: Promise<void> | null;
  readonly cancelling = new AbortController();
  readonly verdict: Promise<Verdict>;
  /** The user name of the person who cancelled it, or null. */
  cancelledBy: string | null = null;
  /** True if its turn came and its author was no longer authorised. */
  isRefused = false;
  #resolve: (verdict: Verdict) => void = () => undefined;

  constructor(options: {
    readonly deployment: Deployment;
    readonly request: Request;
    readonly principal: Principal;
    readonly log: DeploymentLog;
    /** Set if it is resumed. `progress` skips the lines that the log has. */
    readonly resumed?: { readonly progress: Progress; readonly resumption: Promise<void> };
  }) {
    this.deployment = options.deployment;
    this.request = options.request;
    this.principal = options.principal;
    this.log = options.log;
    this.progress = options.resumed?.progress ?? options.log.progress;
    this.resumption = options.resumed?.resumption ?? null;
    this.verdict = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  get id(): string {
    return this.deployment.id;
  }

  get commit(): CommitId {
    return this.deployment.commit;
  }

  /** The person whose share of the turns this entry uses. All tool accounts share one, because a person may have many. */
  get person(): string {
    const { uid } = this.principal;
    return uid.startsWith('tools.') ? 'tools' : uid;
  }

  get isResumed(): boolean {
    return this.resumption !== null;
  }

  /** Resolves `verdict`. */
  end(verdict: Verdict): void {
    this.#resolve(verdict);
  }
}

/** Writes the first lines of a push's log. */
export function introducePush(
  { principal, tool, commit }: ParkedPush,
  { subject, hasLicence }: CommitFacts,
  warnsOfLicence: boolean,
  progress: Progress,
): void {
  progress.step(
    `Push from ${principal.uid} (${principal.credential}): ${short(commit)} "${subject}" → ${tool}`,
  );
  if (!hasLicence && warnsOfLicence)
    progress.warn(
      'No licence file was found. Code hosted here is free software: add a file LICENSE with the text of one (https://choosealicense.com).',
    );
}

/** Makes the record of a new deployment. */
export function newDeployment(asked: {
  readonly id: string;
  readonly tool: ToolName;
  readonly kind: Deployment['kind'];
  readonly commit: CommitId;
  readonly oldCommit: CommitId | null;
  readonly principal: Principal;
  readonly message: string | null;
}): Deployment {
  const { principal, ...rest } = asked;
  return {
    ...rest,
    state: 'waiting',
    by: principal.uid,
    door: principal.door,
    credential: principal.credential,
    version: null,
    reason: null,
    createdAt: Date.now(),
    startedAt: null,
    endedAt: null,
  };
}
