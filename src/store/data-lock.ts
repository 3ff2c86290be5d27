import { join } from 'node:path';
import { dataInUse } from '../core/disk/data-folder.ts';
import { DeployError } from '../core/errors.ts';
import { Database, isBusy } from './database.ts';

interface Holder {
  readonly pid: number;
  readonly since: number;
}

/**
 * Lets only one server work on a data folder. SQLite takes an fcntl lock, which the kernel releases whenever the
 * process ends, so no lock is ever stale. The lock also keeps out containers that share the volume.
 */
export class DataLock implements Disposable {
  readonly #database: Database;

  /**
   * Takes the lock.
   *
   * @throws DeployError `DATA_IN_USE` if another server holds the lock (the message has the process id of that server,
   * if it is known); `LOCK_DAMAGED` if the lock file is damaged; `STORE_FULL` if the disk cannot be written.
   */
  constructor(folder: string) {
    this.#database = orDamaged(
      () => new Database(join(folder, 'server.lock'), { journal: 'DELETE', busyTimeoutMs: 250 }),
    );
    try {
      orDamaged(() => this.#take());
    } catch (error) {
      this.#database.close();
      throw error;
    }
  }

  #take(): void {
    const database = this.#database;
    try {
      database.transaction(() => {
        database.script(
          'CREATE TABLE IF NOT EXISTS holder (pid INTEGER NOT NULL, since INTEGER NOT NULL) STRICT',
        );
        database.run('DELETE FROM holder');
        database.run('INSERT INTO holder VALUES (?, ?)', process.pid, Date.now());
      });
      // This open transaction is the lock: other processes cannot write, but can read who holds it.
      database.script('BEGIN IMMEDIATE');
    } catch (error) {
      if (isBusy(error)) throw inUse(this.#holder(), error);
      throw error;
    }
  }

  #holder(): Holder | null {
    try {
      return this.#database.get<Holder>('SELECT pid, since FROM holder');
    } catch {
      // The server that holds the lock is writing its row at this moment, so its process id is not known.
      return null;
    }
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }
}

/**
 * Runs `work`. If the lock file is damaged, throws an error that tells the operator to delete this file, because
 * neither `doctor` nor a backup repairs it.
 */
function orDamaged<Result>(work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof DeployError) || error.code !== 'STORE_DAMAGED') throw error;
    throw new DeployError(
      'LOCK_DAMAGED',
      'the lock of the data folder, server.lock, is damaged',
      'Make sure that no server uses this data folder. Then delete its file server.lock, which contains no data, and try again.',
      { cause: error },
    );
  }
}

function inUse(holder: Holder | null, cause: unknown): DeployError {
  const who =
    holder === null
      ? 'another server'
      : `another server (process ${holder.pid}, since ${new Date(holder.since).toISOString()})`;
  return dataInUse(who, cause);
}
