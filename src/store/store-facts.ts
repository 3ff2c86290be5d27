import { statSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { systemCode } from '../core/errors.ts';
import type { CommitId, ToolName } from '../core/names.ts';
import type { Artifact } from '../core/types.ts';
import { explain, isDamage, needsWriting } from './database.ts';
import { migrations } from './migrations.ts';
import { NOTED, parseNote, type RenameNote } from './renames/rename-notes.ts';

/** The facts that a store records about one tool. */
export interface StoredTool {
  readonly number: number;
  readonly name: ToolName;
  readonly lastVersion: number;
  /** The live release. Null if nothing is live, or if the store lacks the release that it calls live. */
  readonly live: { readonly version: number; readonly commit: CommitId; readonly artifact: Artifact } | null;
  /** The version that the store calls live, if the store lacks its release. Otherwise null. */
  readonly missingLive: number | null;
  /** The versions that are or were live. */
  readonly wereLive: ReadonlySet<number>;
  readonly tokens: number;
  /** The tool that this tool is a preview of. Null if it is no preview. */
  readonly previewOf: ToolName | null;
}

/** The name of a row in the table `facts`. The row exists if the operator chose to start over with an empty store. */
export const BEGUN_ANEW = 'begun-anew';

export type StoreFacts =
  | { readonly state: 'missing' }
  | { readonly state: 'empty' }
  | { readonly state: 'damaged'; readonly why: string }
  /** A later version of this server wrote the store, perhaps with other tables. */
  | { readonly state: 'newer'; readonly schema: number }
  | {
      readonly state: 'whole';
      /** The id of the key that encrypts the store's config vars. Null if no server has opened the store yet. */
      readonly keyId: string | null;
      /** True if the operator chose to start over with an empty store, although the data folder had releases. */
      readonly isBegunAnew: boolean;
      readonly tools: readonly StoredTool[];
      /** The renames of tools that the store knows, the oldest first. */
      readonly renames: readonly RenameNote[];
    };

/**
 * Reads and checks every page of a store, also while a server runs. Changes nothing, except that it rolls back a
 * journal that a killed server left.
 *
 * This process must not have the store open: closing the file would release all locks that the process holds on it.
 *
 * @throws DeployError `STORE_FULL` if SQLite cannot make its files beside the store.
 */
export function readStoreFacts(path: string): StoreFacts {
  try {
    if (statSync(path).size === 0) return { state: 'empty' };
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return { state: 'missing' };
    throw error;
  }
  try {
    return read(path, true);
  } catch (error) {
    return needsWriting(error) ? read(path, false) : damage(error);
  }
}

function read(path: string, readOnly: boolean): StoreFacts {
  const database = new DatabaseSync(path, { readOnly, timeout: 5000 });
  try {
    return factsIn(database);
  } catch (error) {
    if (readOnly && needsWriting(error)) throw error;
    return damage(error);
  } finally {
    database.close();
  }
}

/** Returns the facts of a damaged store. @throws the error if its cause is not damage. */
function damage(error: unknown): StoreFacts {
  if (error instanceof Error && isDamage(error)) return { state: 'damaged', why: error.message };
  throw explain(error);
}

function factsIn(database: DatabaseSync): StoreFacts {
  const rows = <Row>(sql: string) => database.prepare(sql).all() as Row[];
  const [check] = rows<{ quick_check: string }>('PRAGMA quick_check(1)');
  if (check?.quick_check !== 'ok') return { state: 'damaged', why: check?.quick_check ?? 'unreadable' };
  const [version] = rows<{ user_version: number }>('PRAGMA user_version');
  const schema = version?.user_version ?? 0;
  if (schema > migrations.length) return { state: 'newer', schema };
  const tables = rows<{ name: string }>(`SELECT name FROM sqlite_schema WHERE name = 'releases'`);
  if (tables.length === 0) return { state: 'empty' };
  const releases = rows<{ tool: ToolName; version: number; commit: CommitId; artifact: string }>(
    `SELECT tool, version, "commit", artifact FROM releases WHERE state IN ('live', 'replaced')`,
  );
  const ofTool = Map.groupBy(releases, ({ tool }) => tool);
  const tokens = countTokens(database);
  // If an earlier version wrote the store, the column `preview_of` is missing: then no tool counts as a preview.
  const hasPreviews = rows<{ name: string }>('PRAGMA table_info(tools)').some(
    ({ name }) => name === 'preview_of',
  );
  const tools = rows<{
    number: number;
    name: ToolName;
    lastVersion: number;
    liveVersion: number | null;
    previewOf: ToolName | null;
  }>(
    `SELECT number, name, last_version AS lastVersion, live_version AS liveVersion, ${hasPreviews ? 'preview_of' : 'NULL'} AS previewOf
      FROM tools ORDER BY name`,
  ).map(({ number, name, lastVersion, liveVersion, previewOf }): StoredTool => {
    const own = ofTool.get(name) ?? [];
    const live = own.find(({ version }) => version === liveVersion);
    return {
      number,
      name,
      lastVersion,
      live: live === undefined ? null : { ...live, artifact: JSON.parse(live.artifact) },
      missingLive: live === undefined ? liveVersion : null,
      wereLive: new Set(own.map(({ version }) => version)),
      tokens: tokens.get(name) ?? 0,
      previewOf,
    };
  });
  const facts = new Map(
    rows<{ name: string; value: string }>('SELECT name, value FROM facts').map(({ name, value }) => [
      name,
      value,
    ]),
  );
  return {
    state: 'whole',
    keyId: facts.get('secrets-key') ?? null,
    isBegunAnew: facts.has(BEGUN_ANEW),
    tools,
    renames: renamesIn(database, facts),
  };
}

/**
 * The renames that a store knows, the oldest first. They are rows of the table `facts` (`NOTED`). A store of an earlier
 * schema has no such rows. Its table `renames` has only the earlier names of each tool, each with the present name. So
 * a rename from A to B and then to C is returned as A to C and B to C. Empty if the store is older than this table.
 */
function renamesIn(database: DatabaseSync, facts: ReadonlyMap<string, string>): RenameNote[] {
  const noted = [...facts].flatMap(([name, value]) => (name.startsWith(NOTED) ? [parseNote(value)] : []));
  if (noted.length > 0) return noted.sort((a, b) => a.at - b.at);
  if (database.prepare(`SELECT 1 FROM sqlite_schema WHERE name = 'renames'`).get() === undefined) return [];
  const sql = `SELECT number, old AS "from", new AS "to", at FROM renames JOIN tools ON tools.name = new ORDER BY at`;
  return (database.prepare(sql).all() as unknown as RenameNote[]).map((row) => ({ ...row }));
}

/** Counts the deploy tokens of each tool. Returns an empty map for a store of an early version, which has no tokens. */
function countTokens(database: DatabaseSync): ReadonlyMap<string, number> {
  const sql = `SELECT name FROM sqlite_schema WHERE name = 'deploy_tokens'`;
  if (database.prepare(sql).get() === undefined) return new Map();
  const rows = database.prepare('SELECT tool, count(*) AS count FROM deploy_tokens GROUP BY tool').all();
  return new Map(rows.map(({ tool, count }) => [String(tool), Number(count)]));
}
