import { median } from './statistics.ts';

/** The unit of a measured number. `failed` counts failures. */
export type Unit = '×' | 'ms' | 's' | 'MiB' | 'kB' | 'failed';

/** One line of the table. */
export interface Row {
  readonly what: string;
  /** Our own number with its unit. */
  readonly ours: string;
  /** The peer's number with its unit; null = there is no peer. */
  readonly peer: string | null;
  /** The number that the bound limits: a ratio to the peer, or our own number. */
  readonly measured: number;
  readonly unit: Unit;
  /** The largest allowed value of `measured`; null = the row is for information. */
  readonly bound: number | null;
}

export interface FigureContext {
  /** Fewer rounds: only to see that the figure runs. The numbers must not be quoted. */
  readonly isQuick: boolean;
  /** Prints a line for the person at the terminal. */
  readonly say: (text: string) => void;
}

/** One measurement. It starts and stops the servers that it needs. */
export interface Figure {
  /** The name on the command line, such as `ssh-push`. */
  readonly name: string;
  readonly title: string;
  /** Set if the figure needs a cluster (`KUBECONFIG`, `CLUSTER_REGISTRY`). Its page is docs/benchmarks-cluster.md. */
  readonly isOnCluster?: true;
  /** @throws Error if something did not run. A missed bound is not an error, only a row that says `no`. */
  run(context: FigureContext): Promise<Row[]>;
}

/** Whether `measured` is within the bound; null = there is no bound. */
export function isMet({ measured, bound }: Row): boolean | null {
  return bound === null ? null : measured <= bound;
}

/** Formats a number with its unit, such as `0.43 ×` or `92 ms`. */
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

/** A row with only our own number, without a peer. */
export function ownRow(what: string, measured: number, unit: Unit, bound: number | null): Row {
  return { what, ours: withUnit(measured, unit), peer: null, measured, unit, bound };
}
