import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { withPipes } from '../../core/child-pipes.ts';
import type { ToolName } from '../../core/names.ts';
import type { Repositories } from '../repositories.ts';
import { remaining, removeDeadLocks } from './stale-locks.ts';
import { syncTags } from './sync-tags.ts';

/** The pauses before each retry of a ref update. */
const PAUSES_MS = [20, 100, 400, 1500];

/**
 * How long git may be silent, for example because a disk hangs. After this time, the server kills git and starts git
 * again.
 */
const PATIENCE_MS = 120_000;

/**
 * Commands for git-update-ref(1) `--stdin`, or a function that returns them. The server calls the function when it is
 * the turn of this update (`takeRefs`), so no other update by the server can change a ref between the call and this
 * update.
 */
export type RefLines = readonly string[] | (() => Promise<readonly string[]>);

/**
 * Updates refs in one transaction. If git is killed, another git process finishes the update.
 *
 * @throws Error with git's own words if a ref has moved, a name is bad or the disk is full.
 */
export async function updateRefs(repositories: Repositories, tool: ToolName, lines: RefLines): Promise<void> {
  await using transaction = await RefTransaction.prepare(repositories, tool, lines);
  await transaction.commit();
}

/**
 * A prepared ref transaction: git holds every lock and has written every value into its lock file, so `commit` can
 * hardly fail. If this process dies, git undoes the transaction.
 */
export class RefTransaction implements AsyncDisposable {
  readonly #repositories: Repositories;
  readonly #tool: ToolName;
  readonly #letGo: () => void;
  readonly #patienceMs: number;
  #git: InteractiveGit;
  /** The update commands that git has not yet carried out. */
  #left: readonly string[];

  private constructor(
    repositories: Repositories,
    tool: ToolName,
    lines: readonly string[],
    prepared: { readonly git: InteractiveGit; readonly letGo: () => void; readonly patienceMs: number },
  ) {
    this.#repositories = repositories;
    this.#tool = tool;
    this.#left = lines;
    this.#git = prepared.git;
    this.#letGo = prepared.letGo;
    this.#patienceMs = prepared.patienceMs;
  }

  /**
   * Locks the refs and prepares their update, without moving any ref. All other updates of the tool's refs by the
   * server wait until this transaction is disposed.
   *
   * @param patienceMs - How long git may be silent, by default `PATIENCE_MS`.
   * @throws Error with git's own words if a ref has moved, a name is bad or the disk is full.
   */
  static async prepare(
    repositories: Repositories,
    tool: ToolName,
    wanted: RefLines,
    patienceMs: number = PATIENCE_MS,
  ): Promise<RefTransaction> {
    const letGo = await repositories.takeRefs(tool);
    try {
      await repositories.mend(tool);
      const lines = typeof wanted === 'function' ? await wanted() : wanted;
      const git = await prepareAgain(repositories, tool, lines, patienceMs);
      return new RefTransaction(repositories, tool, lines, { git, letGo, patienceMs });
    } catch (error) {
      letGo();
      throw error;
    }
  }

  /**
   * Moves the prepared refs, and syncs the tags among them. If git is killed while it moves them, another git process
   * moves the remaining refs.
   *
   * @throws Error if the retries or the sync fail. Some refs may have moved by then.
   */
  async commit(): Promise<void> {
    const refs = this.#left.map((line) => line.split(' ')[1] ?? '');
    await this.#move();
    await syncTags(this.#repositories.folder(this.#tool), refs);
  }

  async #move(): Promise<void> {
    for (const pauseMs of [...PAUSES_MS, null]) {
      try {
        await this.#git.say('commit', 'commit: ok');
        await this.#git.end();
        return;
      } catch (error) {
        await removeDeadLocks(this.#repositories, this.#tool, this.#left, this.#git.isKilled);
        if (pauseMs === null) throw error;
        await delay(pauseMs);
        this.#left = await remaining(this.#repositories, this.#tool, this.#left);
        if (this.#left.length === 0) return;
        this.#git = await prepareAgain(this.#repositories, this.#tool, this.#left, this.#patienceMs);
      }
    }
  }

  /** Ends git, which undoes an uncommitted update, and lets the server's next update of the tool's refs begin. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#git.end();
    this.#letGo();
  }
}

async function prepareAgain(
  repositories: Repositories,
  tool: ToolName,
  lines: readonly string[],
  patienceMs: number,
): Promise<InteractiveGit> {
  for (const pauseMs of [...PAUSES_MS, null]) {
    const git = new InteractiveGit(repositories, tool, patienceMs);
    try {
      await git.say('start', 'start: ok');
      git.write(lines);
      await git.say('prepare', 'prepare: ok');
      return git;
    } catch (error) {
      if (!git.isKilled && !git.isLockedOut) throw error;
      await removeDeadLocks(repositories, tool, lines, false);
      if (pauseMs === null) throw error;
      await delay(pauseMs);
    }
  }
  throw new Error('unreachable');
}

/** One running `git update-ref --stdin` process. */
class InteractiveGit {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #answers: AsyncIterator<string>;
  readonly #closed: Promise<unknown>;
  readonly #patienceMs: number;
  #errors = '';

  constructor(repositories: Repositories, tool: ToolName, patienceMs: number) {
    this.#patienceMs = patienceMs;
    const folder = repositories.folder(tool);
    const env = repositories.environment([], { GIT_DIR: folder });
    this.#child = withPipes(spawn('git', ['update-ref', '--stdin'], { cwd: folder, env, stdio: 'pipe' }));
    this.#closed = new Promise((resolve) => this.#child.once('close', resolve));
    this.#answers = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
    this.#child.stderr.on('data', (chunk: Buffer) => {
      this.#errors = (this.#errors + chunk.toString()).slice(-2000);
    });
    this.#child.on('error', (error) => {
      this.#errors = error.message;
    });
    // Ignore the error of a write to a git that has ended, because `say` reports the missing answer instead.
    this.#child.stdin.on('error', () => undefined);
  }

  get isKilled(): boolean {
    return this.#child.signalCode !== null;
  }

  /** True if git found a lock that another git holds, or that a killed git has left. */
  get isLockedOut(): boolean {
    return /\.(lock|new)': File exists|packed-refs\.new: File exists/.test(this.#errors);
  }

  write(lines: readonly string[]): void {
    this.#child.stdin.write(lines.map((line) => `${line}\n`).join(''));
  }

  /**
   * Sends one command word, such as `commit`, to git and waits for its answer.
   *
   * @throws Error with git's own words if the answer is not `expected`. git has then ended.
   */
  async say(word: string, expected: string): Promise<void> {
    this.#child.stdin.write(`${word}\n`);
    const { value, done } = await this.#inTime(this.#answers.next());
    if (done === true || value !== expected) {
      await this.end();
      const why = this.isKilled ? `it was killed by ${this.#child.signalCode}` : this.#errors.trim();
      throw new Error(`git update-ref did not ${word}: ${why}`);
    }
  }

  /** Closes git's input, so that git undoes an uncommitted transaction, and waits for git's end. */
  async end(): Promise<void> {
    this.#child.stdin.end();
    await this.#inTime(this.#closed);
  }

  async #inTime<Result>(waiting: Promise<Result>): Promise<Result> {
    const limit = setTimeout(() => this.#child.kill('SIGKILL'), this.#patienceMs);
    try {
      return await waiting;
    } finally {
      clearTimeout(limit);
    }
  }
}

/** Deletes the refs that match patterns of git-for-each-ref(1). @throws as `updateRefs` does. */
export async function deleteRefs(
  repositories: Repositories,
  tool: ToolName,
  patterns: readonly string[],
): Promise<void> {
  const out = await repositories.git(tool, ['for-each-ref', '--format=delete %(refname)', ...patterns]);
  const lines = out.split('\n').filter((line) => line !== '');
  if (lines.length > 0) await updateRefs(repositories, tool, lines);
}
