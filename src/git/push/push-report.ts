import type { Fate } from './ref-policy.ts';
import type { RefStatus, Report } from './report-status.ts';

/** The result of a push: the commit is live, the push was refused, or the client does not wait for the deployment. */
export type PushOutcome =
  | { readonly kind: 'live' }
  | { readonly kind: 'detached'; readonly id: string }
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
}

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
  if (known.reason !== null || parked === null) return { ...known, ref };
  return parkedStatus(fate, parked, input);
}

function parkedStatus(fate: Fate, parked: string, { outcome, hasOptions }: ReportInput): RefStatus {
  const { ref } = fate.command;
  switch (outcome.kind) {
    case 'live':
      return { ref, reason: null, options: [] };
    case 'refused':
      return { ref, reason: fate.kind === 'deploy' ? outcome.reason : 'atomic push failure', options: [] };
    case 'detached':
      // The deploy branch has not moved yet. So the report names the temporary ref, or refuses the ref if the client
      // reads no options.
      return hasOptions
        ? { ref, reason: null, options: [`refname ${parked}`, `old-oid ${'0'.repeat(40)}`] }
        : { ref, reason: `accepted as ${outcome.id}`, options: [] };
    default:
      throw outcome satisfies never;
  }
}
