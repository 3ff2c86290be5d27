import { DeployError } from '../core/errors.ts';
import type { Database } from './database.ts';
import { first } from './migrations/0001-first.ts';
import { deployTokens } from './migrations/0002-deploy-tokens.ts';
import { requests } from './migrations/0003-requests.ts';
import { replicas } from './migrations/0004-replicas.ts';
import { deploymentIndexes } from './migrations/0005-deployment-indexes.ts';
import { freezes } from './migrations/0006-freezes.ts';
import { configChanges } from './migrations/0007-config-changes.ts';
import { runningTools } from './migrations/0008-running-tools.ts';
import { schedules } from './migrations/0009-schedules.ts';
import { promotions } from './migrations/0010-promotions.ts';
import { toolLimits } from './migrations/0011-tool-limits.ts';
import { sizes } from './migrations/0012-sizes.ts';
import { previews } from './migrations/0013-previews.ts';
import { renames } from './migrations/0014-renames.ts';
import { freeNumbers } from './migrations/0015-free-numbers.ts';
import { artifactIds } from './migrations/0016-artifact-ids.ts';

/** Entry N, counted from 1, brings a store from schema N-1 to schema N. Never change or remove an entry. */
export const migrations: readonly string[] = [
  first,
  deployTokens,
  requests,
  replicas,
  deploymentIndexes,
  freezes,
  configChanges,
  runningTools,
  schedules,
  promotions,
  toolLimits,
  sizes,
  previews,
  renames,
  freeNumbers,
  artifactIds,
];

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
