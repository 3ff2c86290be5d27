import { type CommitId, short, type ToolName } from '../core/names.ts';
import type { Progress } from '../core/progress.ts';
import type { Deployment, Principal, Replicas } from '../core/types.ts';
import type { CommitFacts } from '../git/commits.ts';
import type { DeploymentLog } from './deployment-log.ts';
import type { ParkedPush, Verdict } from './deployments.ts';

/** What a deployment is to do, before its turn. */
export type Request =
  | { readonly kind: 'push'; readonly push: ParkedPush }
  | { readonly kind: 'redeploy'; readonly useCache: boolean }
  | { readonly kind: 'rollback'; readonly version: number }
  | { readonly kind: 'config'; readonly changes: Readonly<Record<string, string | null>> }
  | { readonly kind: 'restart' }
  | { readonly kind: 'scale'; readonly changes: Replicas };

/** A deployment that somebody asks for. */
export interface Wanted {
  /** A push brings its own. */
  readonly id?: string;
  readonly tool: ToolName;
  readonly commit: CommitId;
  readonly request: Request;
  readonly principal: Principal;
  readonly message: string | null;
  /** What it takes the place of where that waits still. */
  readonly replaces?: readonly Entry[];
}

/** One deployment in the line. */
export class Entry {
  readonly deployment: Deployment;
  readonly request: Request;
  readonly principal: Principal;
  readonly log: DeploymentLog;
  /** What this deployment does is told here: where it was taken up, from its beginning on. */
  readonly progress: Progress;
  /** Where its build was started by an earlier server: when it may go on; null = it is this server's. */
  readonly goesOn: Promise<void> | null;
  readonly cancelling = new AbortController();
  readonly verdict: Promise<Verdict>;
  /** Who cancelled it; null = nobody. */
  cancelledBy: string | null = null;
  /** Its turn had come, and whoever asked for it was refused. */
  isRefused = false;
  #resolve: (verdict: Verdict) => void = () => undefined;

  constructor(options: {
    readonly deployment: Deployment;
    readonly request: Request;
    readonly principal: Principal;
    readonly log: DeploymentLog;
    /** Where it was taken up; `progress` passes over what the log has. */
    readonly again?: { readonly progress: Progress; readonly goesOn: Promise<void> };
  }) {
    this.deployment = options.deployment;
    this.request = options.request;
    this.principal = options.principal;
    this.log = options.log;
    this.progress = options.again?.progress ?? options.log.progress;
    this.goesOn = options.again?.goesOn ?? null;
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

  /** Who has a share of the turns. The accounts of tools share one: anybody may have many of them. */
  get person(): string {
    const { uid } = this.principal;
    return uid.startsWith('tools.') ? 'tools' : uid;
  }

  get isTakenUp(): boolean {
    return this.goesOn !== null;
  }

  /** Tells everyone who waits how it ended. */
  end(verdict: Verdict): void {
    this.#resolve(verdict);
  }
}

/** The first lines of a push's log. */
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

/** The record of a deployment that has just been asked for. */
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
