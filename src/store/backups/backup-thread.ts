import { DatabaseSync } from 'node:sqlite';
import { workerData } from 'node:worker_threads';

/** The paths that the thread for one backup of the store gets as its `workerData`. */
export interface BackupOrder {
  readonly from: string;
  /** The path of an empty file, into which the thread copies the store. */
  readonly to: string;
}

// `VACUUM INTO` copies a snapshot of the store, and fails if it cannot read a row:
// https://www.sqlite.org/lang_vacuum.html
const { from, to } = workerData as BackupOrder;
const database = new DatabaseSync(from, { readOnly: true, timeout: 30_000 });
try {
  database.prepare('VACUUM INTO ?').run(to);
} finally {
  database.close();
}
