import { join } from 'node:path';
import type { ToolName } from '../../core/names.ts';
import type { Database } from '../database.ts';
import type { SecretsKey } from '../secrets.ts';

export interface Renaming {
  readonly from: ToolName;
  readonly to: ToolName;
}

/** The tables with rows of a tool, besides `tools` and `freezes`. */
const TABLES = [
  'deployments',
  'builds',
  'releases',
  'deploy_tokens',
  'config_changes',
  'crashes',
  'scheduled_runs',
  'preview_builds',
] as const;

/**
 * Gives a tool another name, with everything that the store has about it. The tool keeps its number. Encrypts the
 * encrypted values again, because each can be decrypted only with the name of its tool. Runs within the caller's
 * transaction. If the store has a tool `to`, this must be an empty record.
 *
 * @param artifacts - The folder with the artifacts of all tools.
 */
export function renameTool(
  database: Database,
  key: SecretsKey,
  { from, to }: Renaming,
  { artifacts, at }: { readonly artifacts: string; readonly at: number },
): void {
  // Check foreign keys only at the end of the transaction, because the name in `tools` changes before the rows that
  // refer to it.
  database.script('PRAGMA defer_foreign_keys = ON');
  for (const { number, sealed } of rows(
    database,
    'SELECT number, config_vars AS sealed FROM tools WHERE name = ?',
    from,
  ))
    database.run('UPDATE tools SET config_vars = ? WHERE number = ?', again(sealed, 'vars'), number);
  // The config vars of one release can have half a megabyte, so read those of one release after the other.
  const versions = database.all<{ version: number }>('SELECT version FROM releases WHERE tool = ?', from);
  for (const { version } of versions) {
    const row = database.get<Sealed>(
      'SELECT config_vars AS sealed FROM releases WHERE tool = ? AND version = ?',
      from,
      version,
    );
    const sealed = again(row?.sealed ?? null, `v${version}`);
    database.run('UPDATE releases SET config_vars = ? WHERE tool = ? AND version = ?', sealed, from, version);
  }
  for (const { number, sealed } of rows(
    database,
    'SELECT sequence AS number, names AS sealed FROM config_changes WHERE tool = ?',
    from,
  ))
    database.run(
      'UPDATE config_changes SET names = ? WHERE sequence = ?',
      again(sealed, 'config changes'),
      number,
    );
  database.run('DELETE FROM tools WHERE name = ?', to);
  database.run('UPDATE tools SET name = ? WHERE name = ?', to, from);
  for (const table of TABLES) database.run(`UPDATE ${table} SET tool = ? WHERE tool = ?`, to, from);
  database.run('UPDATE OR REPLACE freezes SET tool = ? WHERE tool = ?', to, from);
  for (const table of ['builds', 'releases'])
    database.run(
      `UPDATE ${table} SET artifact = json_set(artifact, '$.reference', ? || '/' || json_extract(artifact, '$.id'))
        WHERE tool = ? AND json_extract(artifact, '$.kind') = 'slug' AND json_extract(artifact, '$.reference') <> ''`,
      join(artifacts, to),
      to,
    );
  renamePromotions(database, { from, to });
  // The tool may have had other names before `from`. Let these names lead to `to` too. If people use an old name, the
  // server then tells them the newest one.
  database.run('UPDATE renames SET new = ?, at = ? WHERE new = ?', to, at, from);
  database.run('DELETE FROM renames WHERE old = ?', to);
  database.run(
    'INSERT INTO renames VALUES (?, ?, ?) ON CONFLICT (old) DO UPDATE SET new = excluded.new, at = excluded.at',
    from,
    to,
    at,
  );

  function again(sealed: Uint8Array | null, what: string): Buffer | null {
    return sealed === null ? null : key.encrypt(key.decrypt(sealed, [from, what]), [to, what]);
  }
}

/** Gives the tool its new name in what the releases and deployments of all tools say about promotions. */
function renamePromotions(database: Database, { from, to }: Renaming): void {
  const noted = database.all<{ id: number; promotedTo: string }>(
    `SELECT rowid AS id, promoted_to AS promotedTo FROM releases WHERE instr(', ' || promoted_to, ', ' || ? || ' v') > 0`,
    from,
  );
  for (const { id, promotedTo } of noted) {
    const names = promotedTo
      .split(', ')
      .map((one) => (one.startsWith(`${from} v`) ? `${to}${one.slice(from.length)}` : one));
    database.run('UPDATE releases SET promoted_to = ? WHERE rowid = ?', names.join(', '), id);
  }
  // Change messages such as `Promote v3 of wikibot`. Find each release by its version, because a search for the message
  // would read the config vars of all releases.
  const end = ` of ${from}`;
  const promotions = database.all<{ id: string; tool: ToolName; version: number | null; message: string }>(
    `SELECT id, tool, version, message FROM deployments WHERE kind = 'promote' AND substr(message, -?) = ?`,
    end.length,
    end,
  );
  for (const { id, tool, version, message } of promotions) {
    const renamed = `${message.slice(0, -end.length)} of ${to}`;
    database.run('UPDATE deployments SET message = ? WHERE id = ?', renamed, id);
    database.run(
      'UPDATE releases SET description = ? WHERE tool = ? AND version = ? AND description = ?',
      ...[renamed, tool, version, message],
    );
  }
}

interface Sealed {
  readonly sealed: Uint8Array | null;
}

function rows(database: Database, sql: string, tool: ToolName): (Sealed & { readonly number: number })[] {
  return database.all(sql, tool);
}

/**
 * Returns the present name of the tool that had the name `old`. Null if no tool had it, or if another tool has it now.
 */
export function renamedTo(database: Database, old: string): ToolName | null {
  const row = database.get<{ name: ToolName }>(
    'SELECT new AS name FROM renames WHERE old = ? AND old NOT IN (SELECT name FROM tools)',
    old,
  );
  return row?.name ?? null;
}
