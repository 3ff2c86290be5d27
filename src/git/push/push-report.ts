import type { Fate } from './ref-policy.ts';
import type { RefStatus, Report } from './report-status.ts';

/** The result of a push for its client. */
export type PushOutcome =
  /** The commit is live, or the preview that the push was to end has ended. */
  | { readonly kind: 'live' }
  /** The client does not wait for the deployment `id`. */
  | { readonly kind: 'detached'; readonly id: string }
  /** A dry run: the push would pass, as far as the server can tell before the build. Nothing was stored. */
  | { readonly kind: 'would-pass' }
  | { readonly kind: 'refused'; readonly reason: string };

export interface ReportInput {
  readonly fates: readonly Fate[];
  /**
   * Returns the temporary ref that git updated in place of the ref that the client pushed (`fate.command.ref`). Null if
   * git updated that ref itself.
   */
  readonly parkedAs: (fate: Fate, index: number) => string | null;
  readonly gitsReport: Report;
  readonly outcome: PushOutcome;
  readonly isAtomic: boolean;
  /** True if the client reads options of report-status-v2. */
  readonly hasOptions: boolean;
  /** True for a dry run: the hook pre-receive then declined all refs, so that git stores nothing. */
  readonly isDryRun: boolean;
}

/** git's reason for each ref if the hook pre-receive declined the push (builtin/receive-pack.c). */
const DECLINED = 'pre-receive hook declined';

/**
 * Builds the report for the client: one status for each ref, in the order of the client's push. The deployment's result
 * replaces git's "ok". In an atomic push, one failure fails all refs.
 */
export function pushReport(input: ReportInput): Report {
  const refs = input.fates.map((fate, index) => statusOf(fate, index, input));
  const isFailed = refs.some(({ reason }) => reason !== null);
  const told = input.isAtomic && isFailed ? refs.map(failed) : refs;
  return { unpack: input.gitsReport.unpack, refs: told };
}

function failed(status: RefStatus): RefStatus {
  return status.reason === null ? { ...status, reason: 'atomic push failure', options: [] } : status;
}

function statusOf(fate: Fate, index: number, input: ReportInput): RefStatus {
  const { ref } = fate.command;
  if (fate.kind === 'refuse') return { ref, reason: fate.reason, options: [] };
  const parked = input.parkedAs(fate, index);
  const known = input.gitsReport.refs.find((status) => status.ref === (parked ?? ref));
  if (known === undefined) return { ref, reason: 'not stored', options: [] };
  if (input.isDryRun && known.reason === DECLINED) return outcomeStatus(fate, dryRunRef(ref), input);
  if (known.reason !== null || (parked === null && fate.kind !== 'end-preview')) return { ...known, ref };
  return outcomeStatus(fate, parked ?? ref, input);
}

/**
 * Returns the name that the report of a dry run gives to a ref: `refs/dry-run/main`. No such ref exists. A client
 * records a move of the ref that the report names, so the report must not name the branch itself.
 */
function dryRunRef(ref: string): string {
  return ref.replace(/^refs\/(heads\/)?/, 'refs/dry-run/');
}

/**
 * Returns the status that the report gives to a ref, according to the outcome of the push.
 *
 * @param other - The ref that the report names instead if the pushed ref has not moved.
 */
function outcomeStatus(fate: Fate, other: string, { outcome, hasOptions }: ReportInput): RefStatus {
  const { ref } = fate.command;
  const instead = [`refname ${other}`, `old-oid ${'0'.repeat(40)}`];
  switch (outcome.kind) {
    case 'live':
      return { ref, reason: null, options: [] };
    case 'refused':
      return { ref, reason: fate.kind === 'store' ? 'atomic push failure' : outcome.reason, options: [] };
    case 'detached':
      // The deploy branch has not moved yet. So the report names the temporary ref, or refuses the ref if the client
      // does not read options of report-status-v2.
      return hasOptions
        ? { ref, reason: null, options: instead }
        : {
            ref,
            reason: `accepted as deployment ${outcome.id}; the branch moves when the commit is live`,
            options: [],
          };
    case 'would-pass':
      return hasOptions
        ? { ref, reason: null, options: instead }
        : { ref, reason: 'dry run: this push would pass, and nothing was stored', options: [] };
    default:
      throw outcome satisfies never;
  }
}
