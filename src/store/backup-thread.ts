import { DatabaseSync } from 'node:sqlite';
import { workerData } from 'node:worker_threads';

/** What a backup's thread is given. */
export interface BackupOrder {
  readonly from: string;
  /** An empty file. */
  readonly to: string;
}

// VACUUM reads every row of one moment and fails where one cannot be read: https://www.sqlite.org/lang_vacuum.html
const { from, to } = workerData as BackupOrder;
const database = new DatabaseSync(from, { readOnly: true, timeout: 30_000 });
try {
  database.prepare('VACUUM INTO ?').run(to);
} finally {
  database.close();
}
