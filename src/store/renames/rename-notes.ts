import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { writeDurably } from '../../core/disk/write-durably.ts';
import { DeployError, noneIfGone } from '../../core/errors.ts';
import { type ToolName, toolName } from '../../core/names.ts';

/** One rename: the tool with this number had the name `from`, and got the name `to`. */
export interface RenameNote {
  readonly number: number;
  readonly from: ToolName;
  readonly to: ToolName;
  readonly at: number;
}

/**
 * The table `facts` has a row for each rename whose new name the store already uses. The names of these rows begin with
 * this.
 */
export const NOTED = 'renamed ';

const name = z.string().transform((text, context) => {
  const read = toolName(text);
  if (read !== null) return read;
  context.addIssue('not the name of a tool');
  return z.NEVER;
});
const note = z.strictObject({ number: z.int().positive(), from: name, to: name, at: z.number() });

/**
 * The name of the row in the table `facts` by which a store records that it already uses the new name of this rename.
 */
export function noteKey({ number, from, at }: RenameNote): string {
  return `${NOTED}${number} ${from} ${at}`;
}

/** Reads a rename from the value of its row in the table `facts`. */
export function parseNote(text: string): RenameNote {
  return note.parse(JSON.parse(text));
}

/**
 * The path of `renames.json`, which has every rename of a tool, in order. A store that is restored from a backup may be
 * older than a rename. At a start, the server reads the present names of the store's tools from this file.
 */
export function notesPath(data: string): string {
  return join(data, 'renames.json');
}

/**
 * The renames in `renames.json`, in order.
 *
 * @throws DeployError `DATA_DISAGREES` if the file is damaged.
 */
export function readNotes(data: string): RenameNote[] {
  let text: string | null;
  try {
    text = readFileSync(notesPath(data), 'utf8');
  } catch (error) {
    text = noneIfGone(error);
  }
  if (text === null) return [];
  try {
    return z.array(note).parse(JSON.parse(text));
  } catch (cause) {
    throw new DeployError(
      'DATA_DISAGREES',
      'the list of the renames of tools, renames.json, is damaged',
      'Restore renames.json from a backup of the data folder. Without one, move the file away: the store makes it again from the renames that it knows.',
      { cause },
    );
  }
}

/** Adds renames to `renames.json`, except those that it has. */
export function addNotes(data: string, notes: readonly RenameNote[]): void {
  const known = readNotes(data);
  const keys = new Set(known.map(noteKey));
  const added = notes.filter((one) => !keys.has(noteKey(one)));
  if (added.length === 0) return;
  writeDurably(notesPath(data), `${JSON.stringify([...known, ...added])}\n`);
}
