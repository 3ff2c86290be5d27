import { join } from 'node:path';
import type { ToolName } from '../../core/names.ts';
import { Database } from '../database.ts';
import { migrate } from '../migrate.ts';
import type { SecretsKey } from '../secrets.ts';
import { PreviewsTable } from '../tables/previews-table.ts';
import { renameTool } from '../tables/rename-tool.ts';
import type { NamesPlan } from './plan-names.ts';
import { addNotes, noteKey, type RenameNote } from './rename-notes.ts';

/**
 * Gives the tools of a store their present names. The store then knows all renames, and `renames.json` has them. The
 * caller holds the lock of the data folder, and has checked that the plan has no conflict.
 *
 * @param notes - The renames that the store already knows before this call.
 */
export function followRenames(
  data: string,
  key: SecretsKey,
  { names, ended, unknown }: NamesPlan,
  notes: readonly RenameNote[],
): void {
  addNotes(data, [...notes, ...unknown]);
  if (unknown.length === 0) return;
  const database = new Database(join(data, 'store.sqlite'));
  try {
    migrate(database);
    const previews = new PreviewsTable(database);
    const artifacts = join(data, 'artifacts');
    database.transaction(() => {
      for (const name of ended) end(previews, name);
      // Two tools may have swapped their names. So each first gets a name that no tool can have.
      const passing = (number: number) => `~${number}` as ToolName;
      for (const { number, from, at } of names)
        renameTool(database, key, { from, to: passing(number) }, { artifacts, at });
      for (const { number, from, to, between, at } of names) {
        renameTool(database, key, { from: passing(number), to }, { artifacts, at });
        database.run('DELETE FROM renames WHERE old = ?', passing(number));
        for (const old of [from, ...between])
          database.run('INSERT INTO renames VALUES (?, ?, ?) ON CONFLICT DO NOTHING', old, to, at);
      }
      for (const note of unknown) noteRename(database, note);
    });
  } finally {
    database.close();
  }
}

/** Records in the store that a tool was renamed, and that the store already uses the new name. */
export function noteRename(database: Database, note: RenameNote): void {
  database.run('INSERT INTO facts VALUES (?, ?) ON CONFLICT DO NOTHING', noteKey(note), JSON.stringify(note));
}

function end(previews: PreviewsTable, name: ToolName): void {
  const previewOf = previews.toolOf(name);
  if (previewOf === null) previews.dropRows(name);
  else previews.remove(name, previewOf, Date.now());
}
