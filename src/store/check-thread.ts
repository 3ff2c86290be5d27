import { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';

/** What the thread has found when it has read the whole file of a store. */
export interface CheckResult {
  readonly isWhole: boolean;
  /** The processor time of the check, in milliseconds. */
  readonly tookMs: number;
}

const before = process.threadCpuUsage();
// This connection has no pages in its cache, so the check reads the file.
const database = new DatabaseSync(workerData, { readOnly: true, timeout: 30_000 });
try {
  // quick_check finds nothing wrong with an emptied file, which has no tables: https://www.sqlite.org/pragma.html
  const tables = database.prepare('SELECT count(*) AS count FROM sqlite_schema').get()?.['count'];
  const said = database.prepare('PRAGMA quick_check(1)').get()?.['quick_check'];
  const { user, system } = process.threadCpuUsage(before);
  const result: CheckResult = { isWhole: tables !== 0 && said === 'ok', tookMs: (user + system) / 1000 };
  parentPort?.postMessage(result);
} finally {
  database.close();
}
