import { type Figure, isMet, type Row, withUnit } from './figure.ts';
import type { Machine } from './machine.ts';

export interface Measured {
  readonly figure: Figure;
  readonly rows: readonly Row[];
}

/** One row as a line of text for the terminal. */
export function lineOf(row: Row): string {
  const against = row.peer === null ? '' : `${row.ours} to ${row.peer}: `;
  return `${row.what}: ${against}${withUnit(row.measured, row.unit)}${verdict(row)}`;
}

function verdict(row: Row): string {
  const met = isMet(row);
  if (met === null) return '';
  return `, bound ${withUnit(row.bound ?? 0, row.unit)}: ${met ? 'met' : 'MISSED'}`;
}

/** All measured rows as one Markdown table. */
export function table(all: readonly Measured[]): string {
  const rows = all
    .flatMap(({ rows }) => rows)
    .map((row) => [
      row.what,
      row.ours,
      row.peer ?? '',
      withUnit(row.measured, row.unit),
      row.bound === null ? '' : `≤ ${withUnit(row.bound, row.unit)}`,
      { true: 'yes', false: '**no**', null: '' }[String(isMet(row)) as 'true' | 'false' | 'null'],
    ]);
  const head = ['figure', 'toolforge-push', 'peer', 'ratio or value', 'bound', 'met'];
  const rule = head.map((_, index) => (index === 0 ? '---' : '---:'));
  return [head, rule, ...rows].map((cells) => `| ${cells.join(' | ')} |\n`).join('');
}

/** A page of docs/: the table, and the machine, commit and date of the measurement. */
export function page(
  all: readonly Measured[],
  title: string,
  facts: { readonly machine: Machine; readonly commit: string; readonly date: string; readonly load: string },
): string {
  const { machine, commit, date, load } = facts;
  return `# ${title}

\`npm run bench -- --markdown\` writes this page. [bench/README.md](../bench/README.md) says how each figure is measured.
The column \`peer\` has the time of another program for the same work: another git server, or the same build by hand.

When, at which commits and on which machine the figures below were measured:
- Measured on ${date}, at commit ${commit}
- ${machine.processor}, ${machine.memory}, ${machine.kernel}
- ${machine.versions}
- load at the start and at the end: ${load}

${table(all)}`;
}
