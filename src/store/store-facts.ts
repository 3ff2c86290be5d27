import { statSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { systemCode } from '../core/errors.ts';
import type { CommitId, ToolName } from '../core/names.ts';
import type { Artifact } from '../core/types.ts';
import { explain, isDamage, needsWriting } from './database.ts';
import { migrations } from './migrate.ts';

/** What a store says of one tool. */
export interface StoredTool {
  readonly name: ToolName;
  readonly lastVersion: number;
  /** Null if nothing is live, or if it is missing. */
  readonly live: { readonly version: number; readonly commit: CommitId; readonly artifact: Artifact } | null;
  /** The version that is said to be live if the store has no such release; null = the store agrees with itself. */
  readonly missingLive: number | null;
  /** The versions that are or were live. */
  readonly wereLive: ReadonlySet<number>;
  readonly tokens: number;
}

/** The name of the fact that `isBegunAnew` is about. */
export const BEGUN_ANEW = 'begun-anew';

export type StoreFacts =
  | { readonly state: 'missing' }
  | { readonly state: 'empty' }
  | { readonly state: 'damaged'; readonly why: string }
  /** It is of a later version of this server, which may have other tables. */
  | { readonly state: 'newer'; readonly schema: number }
  | {
      readonly state: 'whole';
      /** The id of the key that its config vars are encrypted with; null = it was never opened. */
      readonly keyId: string | null;
      /** The operator began with an empty store although there was more in the data folder. */
      readonly isBegunAnew: boolean;
      readonly tools: readonly StoredTool[];
    };

/**
 * Reads a store without changing it, in a server's start or beside a running server; only a journal that a killed
 * server left is rolled back, as every opening does. Looks at every page.
 *
 * Only for a file that this process has not opened: closing a file lets go all locks that a process has on it.
 *
 * @throws DeployError `STORE_FULL` if the disk does not let it be read: SQLite makes files beside it.
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

/** @throws what is no damage. */
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
  const tools = rows<{ name: ToolName; lastVersion: number; liveVersion: number | null }>(
    'SELECT name, last_version AS lastVersion, live_version AS liveVersion FROM tools ORDER BY name',
  ).map(({ name, lastVersion, liveVersion }): StoredTool => {
    const own = ofTool.get(name) ?? [];
    const live = own.find(({ version }) => version === liveVersion);
    return {
      name,
      lastVersion,
      live: live === undefined ? null : { ...live, artifact: JSON.parse(live.artifact) },
      missingLive: live === undefined ? liveVersion : null,
      wereLive: new Set(own.map(({ version }) => version)),
      tokens: tokens.get(name) ?? 0,
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
  };
}

/** The deploy tokens of each tool; a store of an early version of this server has none. */
function countTokens(database: DatabaseSync): ReadonlyMap<string, number> {
  const sql = `SELECT name FROM sqlite_schema WHERE name = 'deploy_tokens'`;
  if (database.prepare(sql).get() === undefined) return new Map();
  const rows = database.prepare('SELECT tool, count(*) AS count FROM deploy_tokens GROUP BY tool').all();
  return new Map(rows.map(({ tool, count }) => [String(tool), Number(count)]));
}
