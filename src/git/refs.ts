import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ExecaError, execa } from 'execa';
import type { CommitId, ToolName } from '../core/names.ts';
import { withPipes } from '../core/with-pipes.ts';
import { readRefs } from './ref-files.ts';
import type { Repositories } from './repositories.ts';

/** The deploy branch of one tool as it stands. */
export interface DeployBranch {
  /** `refs/heads/main`, or `refs/heads/master` where only that one is there. */
  readonly ref: string;
  /** Null while nothing has been live. */
  readonly commit: CommitId | null;
}

/** `main` of `refs/heads/main`. */
export function branchName(ref: string): string {
  return ref.replace(/^refs\/heads\//, '');
}

/** Which branch of the tool deploys, and where it stands. */
export async function readDeployBranch(repositories: Repositories, tool: ToolName): Promise<DeployBranch> {
  const main = `refs/heads/${repositories.deployBranch}`;
  if (!repositories.exists(tool)) return { ref: main, commit: null };
  const names = [main, 'refs/heads/master'];
  const found = await readRefs(repositories, tool, names);
  for (const ref of names) {
    const commit = found.get(ref);
    if (commit !== undefined) return { ref, commit };
  }
  return { ref: main, commit: null };
}

/**
 * True where `ancestor` can be reached from `descendant`. History that a shallow push has cut off does not
 * count, nor does a commit that is not there.
 */
export async function isAncestor(
  repositories: Repositories,
  tool: ToolName,
  ancestor: CommitId,
  descendant: CommitId,
): Promise<boolean> {
  try {
    await repositories.git(tool, ['merge-base', '--is-ancestor', ancestor, descendant]);
    return true;
  } catch (error) {
    if (error instanceof ExecaError && (error.exitCode === 1 || error.exitCode === 128)) return false;
    throw error;
  }
}

/** Updates refs in one transaction; `lines` are commands of git-update-ref(1) `--stdin`. */
export async function updateRefs(
  repositories: Repositories,
  tool: ToolName,
  lines: readonly string[],
): Promise<void> {
  await repositories.git(tool, ['update-ref', '--stdin'], {
    input: lines.map((line) => `${line}\n`).join(''),
  });
}

/**
 * A ref transaction that has been prepared: every lock is held and every value written beside its place, so
 * that `commit` hardly can fail. Ends by itself, undone, when this process dies.
 */
export class RefTransaction implements AsyncDisposable {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #answers: AsyncIterator<string>;
  #errors = '';

  private constructor(child: ChildProcessWithoutNullStreams) {
    this.#child = child;
    this.#answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    child.stderr.on('data', (chunk: Buffer) => {
      this.#errors = (this.#errors + chunk.toString()).slice(-2000);
    });
    child.on('error', (error) => {
      this.#errors = error.message;
    });
    // What was written to a git that has ended is told by its missing answer.
    child.stdin.on('error', () => undefined);
  }

  /** @throws Error with git's own words where a ref has moved, a name is bad or the disk is full. */
  static async prepare(
    repositories: Repositories,
    tool: ToolName,
    lines: readonly string[],
  ): Promise<RefTransaction> {
    const folder = repositories.folder(tool);
    const env = repositories.environment([], { GIT_DIR: folder });
    const transaction = new RefTransaction(
      withPipes(spawn('git', ['update-ref', '--stdin'], { cwd: folder, env, stdio: 'pipe' })),
    );
    await transaction.#say('start', 'start: ok');
    transaction.#child.stdin.write(lines.map((line) => `${line}\n`).join(''));
    await transaction.#say('prepare', 'prepare: ok');
    return transaction;
  }

  async commit(): Promise<void> {
    await this.#say('commit', 'commit: ok');
    this.#child.stdin.end();
  }

  /** Undoes what was not committed. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin.end();
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, 'close');
  }

  async #say(word: string, expected: string): Promise<void> {
    this.#child.stdin.write(`${word}\n`);
    const { value, done } = await this.#answers.next();
    if (done === true || value !== expected) {
      await this[Symbol.asyncDispose]();
      throw new Error(`git update-ref did not ${word}: ${this.#errors.trim()}`);
    }
  }
}

/** Makes HEAD name the deploy branch, which is what a clone checks out. */
export async function pointHead(repositories: Repositories, tool: ToolName, ref: string): Promise<void> {
  const head = await readFile(join(repositories.folder(tool), 'HEAD'), 'utf8');
  if (head === `ref: ${ref}\n`) return;
  await execa('git', ['symbolic-ref', 'HEAD', ref], {
    cwd: repositories.folder(tool),
    env: repositories.environment([], { GIT_DIR: repositories.folder(tool) }),
    extendEnv: false,
    stdin: 'ignore',
  });
}
