import type { ToolName } from '../../core/names.ts';
import type { Database } from '../database.ts';

/** How many of a tool's newest deployments, builds and releases the store keeps, if no other number is given. */
export const MAX_ROWS = 1000;
/**
 * The smallest value that any version of this server has allowed for the setting `keep_history`. Now the smallest
 * allowed value is 200.
 */
const MIN_ROWS = 100;
/** Builds and releases stay for at least this time, because daily limits count those of the last 24 hours. */
const MIN_AGE_MS = 2 * 24 * 60 * 60 * 1000;
/** The most rows of a table that one call deletes, so that the server is not held up. The next call deletes more. */
const AT_ONCE = 500;

/**
 * Deletes rows of a tool beyond the newest `kept` of each table, at most `AT_ONCE` of each table. Of the older rows,
 * keeps the live release, the newest release of each artifact that a rollback can run, releases and builds younger than
 * `MIN_AGE_MS`, builds that have an artifact or have not ended, and every deployment that has not ended or has a build
 * or release in the store.
 */
export function dropOldRows(
  database: Database,
  tool: ToolName,
  { now, kept }: { readonly now: number; readonly kept: number },
): void {
  const oldest = (table: string, column: string, rest = '') =>
    database.get<{ at: number }>(
      `SELECT ${column} AS at FROM ${table} WHERE tool = ? ${rest} ORDER BY ${column} DESC LIMIT 1 OFFSET ${kept - 1}`,
      tool,
    )?.at ?? 0;
  const drop = (table: string, condition: string, ...values: number[]) =>
    database.run(
      `DELETE FROM ${table} WHERE sequence IN
        (SELECT sequence FROM ${table} WHERE tool = ? AND ${condition} ORDER BY sequence LIMIT ${AT_ONCE})`,
      tool,
      ...values,
    );
  const at = now - MIN_AGE_MS;
  drop('releases', `state = 'failed' AND version < ? AND created_at < ?`, oldest('releases', 'version'), at);
  drop(
    'releases',
    `state = 'replaced' AND version < ? AND created_at < ? AND (NOT EXISTS
      (SELECT 1 FROM builds WHERE builds.id = releases.artifact ->> '$.id' AND builds.artifact IS NOT NULL)
      OR EXISTS (SELECT 1 FROM releases AS newer WHERE newer.tool = releases.tool
        AND newer.artifact ->> '$.id' = releases.artifact ->> '$.id' AND newer.version > releases.version
        AND newer.state IN ('live', 'replaced')))`,
    oldest('releases', 'version', `AND state IN ('live', 'replaced')`),
    at,
  );
  drop(
    'builds',
    'artifact IS NULL AND ended_at IS NOT NULL AND sequence < ? AND started_at < ?',
    oldest('builds', 'sequence'),
    at,
  );
  drop(
    'deployments',
    `ended_at IS NOT NULL AND sequence < ?
      AND NOT EXISTS (SELECT 1 FROM builds WHERE builds.deployment_id = deployments.id)
      AND NOT EXISTS (SELECT 1 FROM releases WHERE releases.deployment_id = deployments.id)`,
    oldest('deployments', 'sequence'),
  );
  drop('config_changes', 'sequence < ?', oldest('config_changes', 'sequence'));
  database.run(
    `DELETE FROM crashes WHERE tool = ? AND NOT EXISTS
      (SELECT 1 FROM releases WHERE releases.tool = crashes.tool AND releases.version = crashes.version)`,
    tool,
  );
}

/**
 * Returns the version below which `dropOldRows` may have deleted releases that went live. So a missing release below
 * this version does not show that the store is older than the repositories. Assumes the smallest value of
 * `keep_history`, because the setting may have been smaller once.
 *
 * @param wereLive - The versions in the store that are or were live.
 */
export function forgottenBelow(wereLive: Iterable<number>): number {
  return [...wereLive].sort((a, b) => b - a)[MIN_ROWS - 1] ?? 0;
}
