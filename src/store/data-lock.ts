import { join } from 'node:path';
import { DeployError } from '../core/errors.ts';
import { Database, isBusy } from './database.ts';

interface Holder {
  readonly pid: number;
  readonly since: number;
}

/**
 * The right of one server to work on a data folder. The kernel holds the lock (through SQLite, which locks
 * with fcntl) and lets it go when the process ends, however it ends: nothing stale is ever left, and a
 * container with other process numbers on the same volume is kept out too.
 */
export class DataLock implements Disposable {
  readonly #database: Database;

  /** @throws DeployError `DATA_IN_USE`, which names the process that has it; `STORE_FULL`. */
  constructor(folder: string) {
    this.#database = new Database(join(folder, 'server.lock'), { journal: 'DELETE', busyTimeoutMs: 250 });
    try {
      this.#take();
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
      // Held from here on: it keeps other writers out, and lets them read who we are.
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
      // Caught in the moment where the other one writes its own row: then nobody's number is known.
      return null;
    }
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }
}

function inUse(holder: Holder | null, cause: unknown): DeployError {
  const who =
    holder === null
      ? 'another server'
      : `another server (process ${holder.pid}, since ${new Date(holder.since).toISOString()})`;
  return new DeployError(
    'DATA_IN_USE',
    `The data folder is in use by ${who}.`,
    'Stop that server first, or give this one a data folder of its own with TOOLFORGE_PUSH_DATA.',
    { cause },
  );
}
