import { median } from './statistics.ts';

/** What a measured number counts. */
export type Unit = '×' | 'ms' | 's' | 'MiB' | 'kB' | 'failed';

/** One line of the table. */
export interface Row {
  readonly what: string;
  /** Our own number with its unit. */
  readonly ours: string;
  /** The peer's; null = there is none to compare with. */
  readonly peer: string | null;
  /** What the bound is about: a ratio to the peer, or our own number. */
  readonly measured: number;
  readonly unit: Unit;
  /** The most that it may be; null = told for information. */
  readonly bound: number | null;
}

export interface FigureContext {
  /** Fewer rounds: to see that it runs, not to quote. */
  readonly isQuick: boolean;
  /** A line for the person at the terminal. */
  readonly say: (text: string) => void;
}

/** One measurement, with the servers that it needs started and stopped by itself. */
export interface Figure {
  /** As it is chosen on the command line: `ssh-push`. */
  readonly name: string;
  readonly title: string;
  /** It needs a cluster (`KUBECONFIG` and `CLUSTER_REGISTRY`), and stands on the page of those. */
  readonly isOnCluster?: true;
  /** @throws Error where something did not run; a bound that is missed is a row and no error. */
  run(context: FigureContext): Promise<Row[]>;
}

/** True where the bound is kept; null = there is none. */
export function isMet({ measured, bound }: Row): boolean | null {
  return bound === null ? null : measured <= bound;
}

/** `0.43 ×`, `92 ms`: three significant digits at most. */
export function withUnit(value: number, unit: Unit): string {
  const digits = unit === 'ms' || unit === 'failed' || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${unit}`;
}

/** A row that compares medians of times with a peer's. @param bound - The largest ratio; null = for information. */
export function comparedRow(
  what: string,
  times: { readonly ours: readonly number[]; readonly peer: readonly number[] },
  bound: number | null,
): Row {
  const [ours, peer] = [median(times.ours), median(times.peer)];
  const unit = peer >= 1000 ? 's' : 'ms';
  const scale = unit === 's' ? 1000 : 1;
  return {
    what,
    ours: withUnit(ours / scale, unit),
    peer: withUnit(peer / scale, unit),
    measured: ours / peer,
    unit: '×',
    bound,
  };
}

/** A row that stands for itself. */
export function ownRow(what: string, measured: number, unit: Unit, bound: number | null): Row {
  return { what, ours: withUnit(measured, unit), peer: null, measured, unit, bound };
}
