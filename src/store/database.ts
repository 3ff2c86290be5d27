import { once } from 'node:events';
import { chmodSync, closeSync, openSync, statSync } from 'node:fs';
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import { Worker } from 'node:worker_threads';
import { DeployError, systemCode } from '../core/errors.ts';
import type { CheckResult } from './check-thread.ts';

export interface DatabaseOptions {
  readonly journal: 'WAL' | 'DELETE';
  /** How long to wait for another connection's lock. The whole process waits, because the calls are synchronous. */
  readonly busyTimeoutMs: number;
}

/** A value for one `?` of an SQL statement. */
export type Value = SQLInputValue;

// The primary result codes of SQLite: https://www.sqlite.org/rescode.html
const ERROR = 1;
const BUSY = 5;
const READONLY = 8;
const IOERR = 10;
const CORRUPT = 11;
const FULL = 13;
const CANTOPEN = 14;
const NOTADB = 26;

/**
 * An SQLite file. Every transaction is on the disk when it returns (synchronous=FULL), except in `withoutWaiting`.
 * Errors tell the operator what to do. Statements are prepared once and kept.
 */
export class Database {
  readonly #connection: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  readonly #path: string;
  readonly #identity: string | null;
  #logIdentity: string | null = null;

  /**
   * Opens the file, or creates it.
   *
   * @throws DeployError `STORE_FULL` if the disk cannot be written; `STORE_BUSY` if another program holds the file's lock;
   * `STORE_DAMAGED` if the file is corrupt or is not a database.
   */
  constructor(path: string, options: DatabaseOptions = { journal: 'WAL', busyTimeoutMs: 500 }) {
    this.#connection = explained(() => {
      makePrivate(path);
      const connection = new DatabaseSync(path, { timeout: options.busyTimeoutMs });
      try {
        connection.exec(`PRAGMA journal_mode = ${options.journal}`);
        connection.exec('PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF');
      } catch (error) {
        connection.close();
        throw error;
      }
      return connection;
    });
    this.#path = path;
    this.#identity = identityOf(path);
  }

  /** Runs one statement that changes rows. @returns the number of changed rows. */
  run(sql: string, ...values: Value[]): number {
    return explained(() => Number(this.#prepared(sql).run(...values).changes));
  }

  /**
   * The first row, or null if there is no row. The caller names the shape of the row. STRICT tables guarantee the types
   * of columns.
   */
  get<Row>(sql: string, ...values: Value[]): Row | null {
    return explained(() => (this.#prepared(sql).get(...values) as Row | undefined) ?? null);
  }

  all<Row>(sql: string, ...values: Value[]): Row[] {
    return explained(() => this.#prepared(sql).all(...values) as Row[]);
  }

  /** Runs one or more statements that have no parameters. */
  script(sql: string): void {
    explained(() => this.#connection.exec(sql));
  }

  /** Commits all changes of `work`, or none if it throws. Cannot be nested. */
  transaction<Result>(work: () => Result): Result {
    this.script('BEGIN IMMEDIATE');
    try {
      const result = work();
      this.script('COMMIT');
      return result;
    } catch (error) {
      // After some errors, such as a full disk, SQLite has already rolled back by itself.
      if (this.#connection.isTransaction) this.script('ROLLBACK');
      throw error;
    }
  }

  /**
   * Runs `work`, whose changes may be lost without harm, and does not wait for the disk. The changes reach the disk
   * with the next change outside of this method, or at the next checkpoint. A power failure before that loses them, but
   * a crash of the process does not.
   *
   * @see https://www.sqlite.org/pragma.html#pragma_synchronous
   */
  withoutWaiting<Result>(work: () => Result): Result {
    this.script('PRAGMA synchronous = NORMAL');
    try {
      return work();
    } finally {
      this.script('PRAGMA synchronous = FULL');
    }
  }

  /** Writes a transaction as a test. @throws DeployError `STORE_FULL`, `STORE_BUSY` or `STORE_DAMAGED` if this fails. */
  assertWritable(): void {
    const version = this.get<{ user_version: number }>('PRAGMA user_version')?.user_version ?? 0;
    this.withoutWaiting(() => this.transaction(() => this.script(`PRAGMA user_version = ${version}`)));
  }

  /**
   * Reads and checks the whole file, and checks that nobody has deleted or replaced the file or its write-ahead log.
   * Another thread reads the file, because a large file takes seconds.
   *
   * @returns the processor time of the check, in milliseconds.
   * @throws DeployError `STORE_DAMAGED` if one of these checks fails.
   */
  async assertWhole(): Promise<number> {
    const identity = identityOf(this.#path);
    if (identity === null || identity !== this.#identity) throw damaged(null);
    const logIdentity = identityOf(`${this.#path}-wal`);
    if (this.#logIdentity !== null && logIdentity !== this.#logIdentity) throw damaged(null);
    this.#logIdentity = logIdentity;
    const worker = new Worker(new URL('./check-thread.ts', import.meta.url), { workerData: this.#path });
    worker.unref();
    const [result] = await once(worker, 'message').catch((error: unknown) => {
      throw explain(error);
    });
    const { isWhole, tookMs }: CheckResult = result;
    if (!isWhole) throw damaged(null);
    return tookMs;
  }

  close(): void {
    this.#statements.clear();
    if (this.#connection.isOpen) this.#connection.close();
  }

  #prepared(sql: string): StatementSync {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    const statement = this.#connection.prepare(sql);
    this.#statements.set(sql, statement);
    return statement;
  }
}

/**
 * Gives the database file mode 0600, and creates it if it is missing. SQLite gives `-wal` and `-shm` the same mode. An
 * existing file is not opened, because closing it would release all locks that this process holds on it (fcntl(2)).
 */
function makePrivate(path: string): void {
  try {
    closeSync(openSync(path, 'wx', 0o600));
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
    chmodSync(path, 0o600);
  }
}

/** Runs `work`, and turns errors that an operator can fix into a DeployError. */
export function explained<Result>(work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    throw explain(error);
  }
}

/**
 * Whether an error of SQLite means that the file is corrupt or is not a store. False for faults of the disk or of
 * permissions.
 */
export function isDamage(error: unknown): boolean {
  return [ERROR, CORRUPT, NOTADB].includes(primaryCode(error) ?? 0);
}

/**
 * Whether an error means that the file must be opened for writing first, because a killed process left a journal to
 * roll back.
 */
export function needsWriting(error: unknown): boolean {
  return primaryCode(error) === READONLY;
}

/** Whether an error of `Database` means that another connection holds the lock. */
export function isBusy(error: unknown): boolean {
  return error instanceof DeployError && error.code === 'STORE_BUSY';
}

function primaryCode(error: unknown): number | null {
  const code = error instanceof Error && 'errcode' in error ? error.errcode : null;
  return typeof code === 'number' ? code & 0xff : null;
}

/** Turns an error that an operator can fix into a DeployError. Returns every other error unchanged. */
export function explain(error: unknown): unknown {
  const code = primaryCode(error);
  if (code === FULL || systemCode(error) === 'ENOSPC' || systemCode(error) === 'EDQUOT') {
    return full('disk full: the server cannot store anything', error);
  }
  if (code === READONLY || systemCode(error) === 'EROFS') {
    return full('the server’s disk is read-only: it cannot store anything', error);
  }
  // On a full disk, SQLite also fails with these codes when it creates or grows its `-wal` and `-shm` files.
  if (code === IOERR || code === CANTOPEN || systemCode(error) === 'EIO') {
    return full('disk full, read-only or failing: the server cannot store anything', error);
  }
  if (code === BUSY) return busy(error);
  if (code === CORRUPT || code === NOTADB) return damaged(error);
  return error;
}

function damaged(cause: unknown): DeployError {
  return new DeployError(
    'STORE_DAMAGED',
    'the store is damaged or is not a store',
    'An operator has to stop the server and run: npx toolforge-push doctor',
    { cause },
  );
}

function busy(cause: unknown): DeployError {
  return new DeployError(
    'STORE_BUSY',
    'another program has locked the store, so the server cannot store anything',
    'An operator has to end the program that writes to store.sqlite, for example sqlite3: fuser -v store.sqlite lists the programs that have it open. Then try again.',
    { cause },
  );
}

/** The file's device and inode, to notice that somebody replaced it; null if the file is missing. */
function identityOf(path: string): string | null {
  try {
    const { dev, ino } = statSync(path);
    return `${dev} ${ino}`;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return null;
    throw error;
  }
}

function full(message: string, cause: unknown): DeployError {
  const hint =
    'An operator of this server has to look at the disk of the data folder: its free space (df -h), its inodes (df -i) and how it is mounted. Then try again.';
  return new DeployError('STORE_FULL', message, hint, { cause });
}
