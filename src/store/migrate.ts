import { DeployError } from '../core/errors.ts';
import type { Database } from './database.ts';
import { first } from './migrations/0001-first.ts';
import { deployTokens } from './migrations/0002-deploy-tokens.ts';
import { requests } from './migrations/0003-requests.ts';
import { replicas } from './migrations/0004-replicas.ts';

/** Number N of this list, counted from 1, brings a store from schema N-1 to schema N. Only ever appended to. */
export const migrations: readonly string[] = [first, deployTokens, requests, replicas];

/** The refusal of a store that a later version of this server has used. */
export function storeNewer(schema: number, known: number = migrations.length): DeployError {
  return new DeployError(
    'STORE_NEWER',
    `The store has schema ${schema}, and this version of toolforge-push knows schemas up to ${known}.`,
    'Start the newer version of toolforge-push again, or bring back a backup of the data folder from before the upgrade.',
  );
}

/**
 * Brings the store to the newest schema, each migration in a transaction of its own, so that a crash leaves
 * either the old schema or the new one. The number stands in SQLite's `user_version`.
 *
 * @throws DeployError `STORE_NEWER`, before anything is changed.
 */
export function migrate(database: Database, steps: readonly string[] = migrations): void {
  const row = database.get<{ user_version: number }>('PRAGMA user_version');
  const current = row?.user_version ?? 0;
  if (current > steps.length) {
    throw storeNewer(current, steps.length);
  }
  for (const [index, step] of steps.entries()) {
    if (index < current) continue;
    database.transaction(() => {
      database.script(step);
      database.script(`PRAGMA user_version = ${index + 1}`);
    });
  }
}
