import { join } from 'node:path';
import { Database } from './database.ts';
import { migrate } from './migrate.ts';
import type { SecretsKey } from './secrets.ts';

/**
 * Empties the config vars of every tool and release, and deletes the history of config vars, because their encryption
 * key is lost. Makes `key` the store's key. The caller holds the lock of the data folder and has copied the store.
 */
export function forgetConfigVars(data: string, key: SecretsKey): void {
  const database = new Database(join(data, 'store.sqlite'));
  try {
    migrate(database);
    database.transaction(() => {
      database.run('UPDATE tools SET config_vars = NULL');
      database.run('DELETE FROM config_changes');
      const rows = database.all<{ tool: string; version: number }>('SELECT tool, version FROM releases');
      for (const { tool, version } of rows) {
        const sealed = key.encrypt('{}', [tool, `v${version}`]);
        database.run(
          'UPDATE releases SET config_vars = ? WHERE tool = ? AND version = ?',
          sealed,
          tool,
          version,
        );
      }
      database.run(`DELETE FROM facts WHERE name = 'secrets-key'`);
      database.run(`INSERT INTO facts VALUES ('secrets-key', ?)`, key.id);
    });
  } finally {
    database.close();
  }
}
