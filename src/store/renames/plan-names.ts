import type { ToolName } from '../../core/names.ts';
import { noteKey, type RenameNote } from './rename-notes.ts';

/** What a store says about a tool. */
export interface NamedTool {
  readonly number: number;
  readonly name: ToolName;
  readonly previewOf: ToolName | null;
  /** The highest version that a release of the tool has had. 0 if the tool has had no release. */
  readonly lastVersion: number;
}

/** A tool that was renamed since the store was copied. */
export interface NewName {
  readonly number: number;
  readonly from: ToolName;
  readonly to: ToolName;
  /** The names that the tool had between `from` and `to`. */
  readonly between: readonly ToolName[];
  readonly at: number;
}

/**
 * A plan for a store that is older than renames of tools: which tools get which names, so that all have their present
 * names.
 */
export interface NamesPlan {
  readonly names: readonly NewName[];
  /**
   * The tools and previews in this older store that have ended since the store was copied: another tool has their name
   * now, or the preview was of a tool that was renamed.
   */
  readonly ended: readonly ToolName[];
  /** The renames that the store does not know, the oldest first. */
  readonly unknown: readonly RenameNote[];
  /** Why the present names of the tools cannot be found. Null if they can. */
  readonly conflict: string | null;
}

export interface NameEvidence {
  readonly tools: readonly NamedTool[];
  /** The keys of the renames that the store knows: see `noteKey`. */
  readonly known: ReadonlySet<string>;
  /** All renames, the oldest first. */
  readonly notes: readonly RenameNote[];
  /**
   * For each name under which copies of releases are stored (`ReleaseCopies`): the number of the tool whose release the
   * newest copy is. Previews are left out.
   */
  readonly copied: ReadonlyMap<ToolName, number>;
  readonly now: number;
}

/**
 * Finds the present names of the tools of a store that may be older than renames. A tool keeps its number when it gets
 * another name, so its renames and the copies of its releases tell the name that belongs to the number now. The copies
 * count only for a tool without a recorded rename.
 */
export function planNames({ tools, known, notes, copied, now }: NameEvidence): NamesPlan {
  const unknown = notes.filter((note) => !known.has(noteKey(note)));
  const whole = tools.filter(({ previewOf }) => previewOf === null);
  const names = new Map(whole.flatMap((tool) => noted(tool, unknown)).map((one) => [one.number, one]));
  const nameNow = ({ number, name }: NamedTool) => names.get(number)?.to ?? name;
  const claims = claimed(new Map(whole.map((tool) => [nameNow(tool), tool.number])), copied);
  for (const tool of tools) {
    const [to, other] = claims.get(tool.number) ?? [];
    if (to === undefined || names.has(tool.number) || tool.previewOf !== null) continue;
    if (other !== undefined)
      return stuck(
        unknown,
        `the copies of the releases of ${to} and of ${other} are both of the tool that store.sqlite calls ${tool.name}`,
      );
    const found = { number: tool.number, from: tool.name, to, at: now };
    names.set(tool.number, { ...found, between: [] });
    unknown.push(found);
  }
  const taken = new Set([...names.values()].map(({ to }) => to));
  if (taken.size < names.size)
    return stuck(unknown, 'renames.json gives two tools of store.sqlite the same name');
  const renamed = new Set([...names.values()].map(({ from }) => from));
  const ended: ToolName[] = [];
  for (const { number, name, previewOf, lastVersion } of tools) {
    if (names.has(number)) continue;
    if (taken.has(name) && previewOf === null && lastVersion > 0)
      return stuck(
        unknown,
        `store.sqlite has a tool ${name} with releases, but another tool has got this name since`,
      );
    // `rename` refuses a tool that has previews. So if the tool `previewOf` was renamed, this preview had ended before.
    if (taken.has(name) || (previewOf !== null && renamed.has(previewOf))) ended.push(name);
  }
  return { names: [...names.values()], ended, unknown, conflict: null };
}

function stuck(unknown: readonly RenameNote[], conflict: string): NamesPlan {
  return { names: [], ended: [], unknown, conflict };
}

/**
 * The new name of a tool according to its renames, in a list. The list is empty if the tool was not renamed, or if it
 * was renamed back.
 */
function noted({ number, name }: NamedTool, unknown: readonly RenameNote[]): NewName[] {
  const had = [name];
  let at = 0;
  for (const note of unknown) {
    if (note.number !== number || note.from !== had.at(-1)) continue;
    had.push(note.to);
    at = note.at;
  }
  const to = had.at(-1) ?? name;
  const between = [...new Set(had)].filter((one) => one !== name && one !== to);
  return to === name ? [] : [{ number, from: name, to, between, at }];
}

/**
 * Finds other names that tools of the store may have now. For the number of each such tool, returns the names under
 * which copies of its releases are stored. A tool with copies under its own name is left out. A name that another tool
 * of the store has counts only if this result has another name for that tool too.
 *
 * @param numbers - The number of each tool of the store, by name.
 */
function claimed(
  numbers: ReadonlyMap<ToolName, number>,
  copied: ReadonlyMap<ToolName, number>,
): ReadonlyMap<number, readonly ToolName[]> {
  const owners = new Map([...numbers].map(([name, number]) => [number, name]));
  let claims = [...copied].filter(([name, number]) => {
    const owner = owners.get(number);
    return owner !== undefined && owner !== name && copied.get(owner) !== number;
  });
  for (;;) {
    const moved = new Set(claims.map(([, number]) => number));
    const left = claims.filter(([name]) => {
      const own = numbers.get(name);
      return own === undefined || moved.has(own);
    });
    if (left.length === claims.length) break;
    claims = left;
  }
  return new Map(
    [...Map.groupBy(claims, ([, number]) => number)].map(([number, of]) => [
      number,
      of.map(([name]) => name),
    ]),
  );
}
