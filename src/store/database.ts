import { chmodSync, closeSync, openSync, statSync } from 'node:fs';
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import { DeployError, systemCode } from '../core/errors.ts';

export interface DatabaseOptions {
  readonly journal: 'WAL' | 'DELETE';
  /** How long to wait for another connection's lock, as that of a backup. */
  readonly busyTimeoutMs: number;
}

/** A value of a row. */
export type Value = SQLInputValue;

// https://www.sqlite.org/rescode.html: primary codes.
const ERROR = 1;
const BUSY = 5;
const READONLY = 8;
const IOERR = 10;
const CORRUPT = 11;
const FULL = 13;
const CANTOPEN = 14;
const NOTADB = 26;

/**
 * An SQLite file whose every transaction is on the disk when it returns (WAL, synchronous=FULL) unless it is told
 * not to wait for that, and whose errors say what an operator can do. Statements are prepared once and kept.
 */
export class Database {
  readonly #connection: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  readonly #path: string;
  readonly #identity: string | null;

  /**
   * @throws DeployError `STORE_FULL` when the disk takes nothing; `STORE_DAMAGED` when the file is not a
   * database or a broken one.
   */
  constructor(path: string, options: DatabaseOptions = { journal: 'WAL', busyTimeoutMs: 5000 }) {
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

  /** @returns how many rows it changed. */
  run(sql: string, ...values: Value[]): number {
    return explained(() => Number(this.#prepared(sql).run(...values).changes));
  }

  /** The first row, or null. The caller names the row's shape, which the STRICT schema keeps. */
  get<Row>(sql: string, ...values: Value[]): Row | null {
    return explained(() => (this.#prepared(sql).get(...values) as Row | undefined) ?? null);
  }

  all<Row>(sql: string, ...values: Value[]): Row[] {
    return explained(() => this.#prepared(sql).all(...values) as Row[]);
  }

  /** Runs several statements at once, without values. */
  script(sql: string): void {
    explained(() => this.#connection.exec(sql));
  }

  /** All of `work` or nothing of it. Not nested. */
  transaction<Result>(work: () => Result): Result {
    this.script('BEGIN IMMEDIATE');
    try {
      const result = work();
      this.script('COMMIT');
      return result;
    } catch (error) {
      // SQLite has rolled back by itself after some errors, a full disk among them.
      if (this.#connection.isTransaction) this.script('ROLLBACK');
      throw error;
    }
  }

  /**
   * Changes whose loss does no harm: the disk has them with the next change that waits for it, or with the next
   * checkpoint. Only a machine that loses its power loses them, never a killed process.
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

  /** @throws DeployError `STORE_FULL` or `STORE_DAMAGED` if a transaction cannot be written. */
  assertWritable(): void {
    const version = this.get<{ user_version: number }>('PRAGMA user_version')?.user_version ?? 0;
    this.withoutWaiting(() => this.transaction(() => this.script(`PRAGMA user_version = ${version}`)));
  }

  /** Reads all of the file. @throws DeployError `STORE_DAMAGED` */
  assertWhole(): void {
    const identity = identityOf(this.#path);
    if (identity === null || identity !== this.#identity) throw damaged(null);
    // SQLite would answer from its memory what the disk does not hold any more.
    this.script('PRAGMA shrink_memory');
    const said = this.get<{ quick_check: string }>('PRAGMA quick_check(1)')?.quick_check;
    if (said !== 'ok') throw damaged(null);
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
 * SQLite gives the files beside a database (`-wal`, `-shm`) the database's own mode. A file that is there is
 * not opened: closing it would let go all locks that this process has on it (fcntl(2)).
 */
function makePrivate(path: string): void {
  try {
    closeSync(openSync(path, 'wx', 0o600));
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
    chmodSync(path, 0o600);
  }
}

/** Runs `work`; what an operator can mend comes out as a DeployError. */
export function explained<Result>(work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    throw explain(error);
  }
}

/** Whether the file itself is at fault, and not the disk or who opens it. */
export function isDamage(error: unknown): boolean {
  return [ERROR, CORRUPT, NOTADB].includes(primaryCode(error) ?? 0);
}

/** Whether reading takes writing first: a killed process left a journal that has to be rolled back. */
export function needsWriting(error: unknown): boolean {
  return primaryCode(error) === READONLY;
}

/** True where another connection holds the lock that was asked for. */
export function isBusy(error: unknown): boolean {
  return primaryCode(error) === BUSY;
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
  // A disk without a free inode or page fails here too, where SQLite makes or grows its `-wal` and `-shm` files.
  if (code === IOERR || code === CANTOPEN) {
    return full('disk full, read-only or failing: the server cannot store anything', error);
  }
  if (code === CORRUPT || code === NOTADB) return damaged(error);
  return error;
}

function damaged(cause: unknown): DeployError {
  return new DeployError(
    'STORE_DAMAGED',
    'The store is damaged or is not a store.',
    'An operator of this server has to stop it and run: npx toolforge-push doctor',
    { cause },
  );
}

/** Tells the file from another that somebody put in its place; null if there is none. */
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
