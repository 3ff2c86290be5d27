import { DeployError } from '../core/errors.ts';
import type { Database } from './database.ts';
import { migrations } from './migrations.ts';

/** The error for a store that a later version of this server has used. */
export function storeNewer(schema: number, known: number = migrations.length): DeployError {
  return new DeployError(
    'STORE_NEWER',
    `the store has schema ${schema}, but this version of toolforge-push knows only schemas up to ${known}`,
    'Start the newer version of toolforge-push again, or use a backup of the data folder from before the upgrade.',
  );
}

/**
 * Brings the store to the newest schema. Each migration is one transaction, so that a crash never leaves half of one.
 * SQLite's `user_version` holds the schema's number.
 *
 * @throws DeployError `STORE_NEWER` if a later version of this server wrote the store. Then nothing has changed.
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
