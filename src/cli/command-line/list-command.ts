import { DeployError } from '../../core/errors.ts';
import { PersonLimit } from '../../core/fair-share/person-limit.ts';
import { outputTime } from '../../core/fair-share/time-shares.ts';
import type { ToolName } from '../../core/names.ts';
import type { Services, ToolCommand, ToolContext } from '../command.ts';
import { countOf } from './parse-words.ts';
import { columns, jsonItems, jsonOf } from './printing.ts';

/** The maximum size of one list: this many characters of JSON. */
const MAX_BYTES = 4 * 1024 * 1024;
/** The maximum number of characters of one cell of a table. `--json` has the whole text. */
const MAX_CELL = 500;

/**
 * A list is in memory until it is sent. So at most two lists of each person are printed at once, and at most one of
 * each deploy token. Further lists wait.
 */
export const lists = new PersonLimit({ ofPerson: 2, ofToken: 1 });

/** A command that lists the newest things of one kind that a tool has, such as its builds. */
export interface List<Item> extends Pick<ToolCommand, 'name' | 'summary' | 'details' | 'examples'> {
  /** The word for one item of the list: `build`. */
  readonly one: string;
  /** Yields the items in pieces, because each read blocks the server. `outputTime` spreads the pieces over time. */
  readonly items: (
    store: Services['store'],
    tool: ToolName,
    limit: number,
  ) => Iterator<readonly Item[], unknown, undefined>;
  /** Returns the text for a tool without items. By default, it shows the `git push` that makes the first item. */
  readonly none?: (tool: ToolName) => string;
  readonly heads: readonly string[];
  readonly row: (item: Item) => readonly string[];
  /** Returns lines that follow the table. `items` has one number for each item of the list: the result of `noted`. */
  readonly notes?: (items: readonly number[], context: ToolContext) => string;
  readonly noted?: (item: Item) => number;
  /** Returns the objects that the flag `--json` prints, one for each item of a piece. */
  readonly fields: (items: readonly Item[], context: ToolContext) => Promise<object[]> | object[];
}

/** Makes a command that prints a list as a table, or with `--json` as JSON. */
export function listCommand<Item>({
  one,
  none,
  items,
  heads,
  row,
  notes,
  noted,
  fields,
  ...shape
}: List<Item>): ToolCommand {
  const tableOf = (
    { tool, services: { deployBranch } }: ToolContext,
    rows: readonly (readonly string[])[],
  ) =>
    rows.length === 0
      ? (none?.(tool) ?? `${tool} has no ${one} yet: git push toolforge ${deployBranch}\n`)
      : columns([heads, ...rows]);
  /** Prints the list. Of each item, keeps in memory only what it prints, because items can be large. */
  const print = async (context: ToolContext): Promise<void> => {
    const { services, tool, flags, out, signal } = context;
    const limit = countOf(flags, 'count', { min: 1, max: 1000, byDefault: 20, typed: '-n' });
    const isJson = flags['json'] === true;
    const pieces = items(services.store, tool, limit);
    const rows: (readonly string[])[] = [];
    const objects: string[] = [];
    const keys: number[] = [];
    let bytes = 0;
    for (;;) {
      signal.throwIfAborted();
      const piece = await outputTime.run(tool, () => pieces.next());
      if (piece.done === true) break;
      const printed: readonly object[] = isJson
        ? await fields(piece.value, context)
        : piece.value.map((item) => row(item).map(shortened));
      bytes += await outputTime.run(tool, () => JSON.stringify(printed).length);
      if (bytes > MAX_BYTES) throw tooLarge(one, tool);
      // Format each item by a separate call of `outputTime.run`, because to escape a large item takes milliseconds.
      // Other work can run between two calls.
      if (isJson)
        for (const item of printed) objects.push(await outputTime.run(tool, () => jsonItems([item])));
      else rows.push(...(printed as (readonly string[])[]));
      if (noted !== undefined) keys.push(...piece.value.map(noted));
    }
    await out(await outputTime.run(tool, () => (isJson ? jsonOf(objects) : tableOf(context, rows))));
    if (!isJson && notes !== undefined) await out(notes(keys, context));
  };
  return {
    ...shape,
    usage: 'TOOL [-n COUNT] [--json]',
    action: 'read',
    options: { count: { type: 'string', short: 'n' }, json: { type: 'boolean' } },
    words: { min: 0, max: 0 },
    async run(context) {
      await lists.run(context.principal, () => print(context), context.signal);
      return 0;
    },
  };
}

function shortened(cell: string): string {
  return cell.length > MAX_CELL ? `${cell.slice(0, MAX_CELL - 1)}…` : cell;
}

function tooLarge(one: string, tool: ToolName): DeployError {
  return new DeployError(
    'LIST_TOO_LARGE',
    `the list has more than ${MAX_BYTES / 1024 / 1024} MiB, because each ${one} of ${tool} is large`,
    'Ask for fewer with -n.',
  );
}
