import { type CommitId, short, type ToolName } from '../../core/names.ts';
import type { Progress } from '../../core/progress.ts';
import type { Deployment, Principal, Replicas, Sizes } from '../../core/types.ts';
import type { CommitFacts } from '../../git/commits.ts';
import type { DeploymentLog } from '../deployment-log.ts';
import type { ParkedPush, Verdict } from '../deployments.ts';
import type { Promotion } from '../promotion.ts';

/** The kind of a deployment, with the details of its request. */
export type Request =
  | { readonly kind: 'push'; readonly push: ParkedPush }
  | { readonly kind: 'redeploy'; readonly useCache: boolean; readonly isRebase?: boolean }
  | { readonly kind: 'rollback'; readonly version: number }
  | { readonly kind: 'config'; readonly changes: Readonly<Record<string, string | null>> }
  /** `type`: the process type to restart. Null restarts all processes. */
  | { readonly kind: 'restart'; readonly type: string | null }
  | ({ readonly kind: 'promote' } & Promotion)
  | { readonly kind: 'scale'; readonly changes: Replicas; readonly sizes: Sizes };

/** A deployment that is not yet in the queue. */
export interface Wanted {
  /** The id of the push. Deployments of other kinds get a new id. */
  readonly id?: string;
  readonly tool: ToolName;
  readonly commit: CommitId;
  readonly request: Request;
  readonly principal: Principal;
  readonly message: string | null;
  /** The waiting entries that this deployment supersedes. */
  readonly replaces?: readonly Entry[];
}

/** One deployment in the queue. */
export class Entry {
  readonly deployment: Deployment;
  readonly request: Request;
  readonly principal: Principal;
  readonly log: DeploymentLog;
  /** Writes to `log`. A resumed deployment repeats its output, so its progress skips the lines that the log has. */
  readonly progress: Progress;
  /**
   * Resolves when a deployment of an earlier server process may continue. Null if this server process started the
   * deployment.
   */
  readonly resumption: Promise<void> | null;
  readonly cancelling = new AbortController();
  readonly verdict: Promise<Verdict>;
  /** The user name of the person who cancelled this deployment. Null if nobody did. */
  cancelledBy: string | null = null;
  /** True if the deployment's turn came, but the server could not confirm that its author may still deploy. */
  isRefused = false;
  #resolve: (verdict: Verdict) => void = () => undefined;

  constructor(options: {
    readonly deployment: Deployment;
    readonly request: Request;
    readonly principal: Principal;
    readonly log: DeploymentLog;
    /**
     * Set if an earlier server process started the deployment. `progress` skips the lines that the log already has.
     * `resumption` resolves when the deployment may continue.
     */
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

  /**
   * Returns the person whose share of the turns this entry uses. All tool accounts share one name, because a person may
   * have many tool accounts.
   */
  get person(): string {
    return personOf(this.principal);
  }

  get isResumed(): boolean {
    return this.resumption !== null;
  }

  /** Ends the deployment: resolves `verdict` for everyone who waits for the result. */
  end(verdict: Verdict): void {
    this.#resolve(verdict);
  }
}

/**
 * Writes the first lines of a push's log: who pushed which commit and, if `warnsOfLicence` is true, a warning if the
 * commit has no licence file. A file `.env` causes a warning too.
 */
export function introducePush(
  { principal, tool, commit, note }: ParkedPush,
  { subject, hasLicence, hasEnvFile }: CommitFacts,
  warnsOfLicence: boolean,
  progress: Progress,
): void {
  progress.step(
    `Push from ${principal.uid} (${principal.credential}): ${short(commit)} "${subject}" → ${tool}`,
  );
  if (note !== undefined) progress.line(note);
  if (!hasLicence && warnsOfLicence)
    progress.warn(
      'No licence file was found. Code hosted here is free software: add a file LICENSE with the text of a free licence (https://choosealicense.com).',
    );
  if (hasEnvFile)
    progress.warn(
      `The commit has the file .env. If the file has secrets, make new secrets, because the history keeps the old ones. Set the new secrets with \`config import ${tool}\`, and remove the file: git rm --cached .env`,
    );
}

/** Returns the record of a new deployment, which waits for its turn. */
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

/** Returns the name under which the server counts what a person uses. All accounts of tools count under one name. */
export function personOf({ uid }: Pick<Principal, 'uid'>): string {
  return uid.startsWith('tools.') ? 'tools' : uid;
}
