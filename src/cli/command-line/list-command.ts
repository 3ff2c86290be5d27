import { outputTime } from '../../core/fair-share/time-shares.ts';
import type { ToolName } from '../../core/names.ts';
import type { Services, ToolCommand, ToolContext } from '../command.ts';
import { countOf } from './parse-words.ts';
import { columns, json } from './printing.ts';

/** A command that lists the newest things of one kind that a tool has, such as its builds. */
export interface List<Item> extends Pick<ToolCommand, 'name' | 'summary' | 'details' | 'examples'> {
  /** The word for one item of the list: `build`. */
  readonly one: string;
  /** Yields the items in pieces, because reading one blocks the server. `outputTime` spreads the pieces over time. */
  readonly items: (
    store: Services['store'],
    tool: ToolName,
    limit: number,
  ) => Iterator<readonly Item[], unknown, undefined>;
  /** Returns the text for a tool without items. By default, it shows the `git push` that makes the first item. */
  readonly none?: (tool: ToolName) => string;
  readonly heads: readonly string[];
  readonly row: (item: Item) => readonly string[];
  /** Returns lines that follow the table. */
  readonly notes?: (items: readonly Item[], context: ToolContext) => string;
  /** Returns the objects that the flag `--json` prints, one for each item. */
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
  fields,
  ...shape
}: List<Item>): ToolCommand {
  const tableOf = ({ tool, services: { deployBranch } }: ToolContext, found: readonly Item[]): string =>
    found.length === 0
      ? (none?.(tool) ?? `${tool} has no ${one} yet: git push toolforge ${deployBranch}\n`)
      : columns([heads, ...found.map(row)]);
  return {
    ...shape,
    usage: 'TOOL [-n COUNT] [--json]',
    action: 'read',
    options: { count: { type: 'string', short: 'n' }, json: { type: 'boolean' } },
    words: { min: 0, max: 0 },
    async run(context) {
      const { services, tool, flags, out } = context;
      const limit = countOf(flags, 'count', { min: 1, max: 1000, byDefault: 20, typed: '-n' });
      const pieces = items(services.store, tool, limit);
      const found: Item[] = [];
      for (;;) {
        const piece = await outputTime.run(tool, () => pieces.next());
        if (piece.done === true) break;
        found.push(...piece.value);
      }
      const objects = flags['json'] === true ? await fields(found, context) : null;
      await out(
        await outputTime.run(tool, () => (objects === null ? tableOf(context, found) : json(objects))),
      );
      if (objects === null && notes !== undefined) await out(notes(found, context));
      return 0;
    },
  };
}
