import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { endFirst } from '../core/end-first.ts';
import { DeployError } from '../core/errors.ts';
import type { CommitId, ToolName } from '../core/names.ts';
import { oneLine } from '../core/progress.ts';
import { mebibytes } from '../core/text/mebibytes.ts';
import { packedSubject } from './packed-commit.ts';
import type { Repositories } from './repositories.ts';

export interface TreeLimits {
  readonly files: number;
  readonly bytes: number;
}

/** Facts about a commit that the server reads before it builds the commit. */
export interface CommitFacts {
  /** The first paragraph of the commit message as one line of at most 72 characters, harmless for a terminal. */
  readonly subject: string;
  readonly hasLicence: boolean;
  /** True if the top folder has a file `.env`, which usually has secrets. */
  readonly hasEnvFile: boolean;
}

/** The server reads at most this many characters of the commit id and the subject that git prints. */
const MAX_SUBJECT = 2000;
const LICENCE = /^(licen[cs]e|copying|unlicen[cs]e)([-._].*)?$/i;

/**
 * Checks a pushed object before any of its files is checked out.
 *
 * @throws DeployError `NOT_A_COMMIT` if the object is not a commit, for example a tag; `EMPTY_COMMIT` if it has no
 * files; `PATH_TOO_LONG` if a path in it is too long for the disk; `TREE_TOO_LARGE`, which names the limit and the
 * largest files and folders at the top of the commit.
 */
export async function inspectCommit(
  repositories: Repositories,
  tool: ToolName,
  id: CommitId,
  limits: TreeLimits,
): Promise<CommitFacts> {
  const [subject, measured] = await Promise.allSettled([
    subjectOf(repositories, tool, id),
    measureTree(repositories, tool, id, limits),
  ]);
  if (subject.status === 'rejected') throw subject.reason;
  if (subject.value === null) {
    const type = await repositories.git(tool, ['cat-file', '-t', id]);
    throw new DeployError(
      'NOT_A_COMMIT',
      `a ${type} object, not a commit, was pushed to ${repositories.deployBranch}`,
      `To push the commit that a tag names: git push toolforge 'NAME^{}:${repositories.deployBranch}'`,
    );
  }
  if (measured.status === 'rejected') throw measured.reason;
  return {
    subject: oneLine(subject.value).slice(0, 72),
    hasLicence: measured.value.hasLicence,
    hasEnvFile: measured.value.hasEnvFile,
  };
}

/** Reads the first paragraph of the commit message. Null if the object is not a commit. */
async function subjectOf(repositories: Repositories, tool: ToolName, id: CommitId): Promise<string | null> {
  const packed = await packedSubject(repositories, tool, id);
  if (packed !== null) return packed;
  // Use `git log`, because `git show` would walk the whole tree of a root commit. For a tag object, `git log` prints
  // the id of the tagged commit; for a tree or a blob, it prints nothing. git cuts the subject, which may be as large
  // as a push.
  const text = await repositories.git(tool, ['log', '--max-count=1', '--format=%H%n%<(400,trunc)%s', id]);
  // Cut the subject again. git does not count characters without a width, so the subject may still have a hundred
  // megabytes.
  const [commit, subject = ''] = text.slice(0, MAX_SUBJECT).split('\n');
  return commit === id ? subject.trimEnd() : null;
}

/** Checks that the commit has a licence file. @throws DeployError `NO_LICENCE` if it has none. */
export function assertLicence(facts: CommitFacts): void {
  if (facts.hasLicence) return;
  throw new DeployError(
    'NO_LICENCE',
    'the repository has no licence file',
    'Add a LICENSE file with a free licence, commit and push again.',
  );
}

/**
 * Counts the files of a commit while git lists them, and stops at a limit: 12 git objects can describe 10^10 files.
 * `-t` makes git list folders too. Without `-t`, git would walk through 10^10 empty folders and print nothing.
 */
async function measureTree(
  repositories: Repositories,
  tool: ToolName,
  id: CommitId,
  limits: TreeLimits,
): Promise<TreeCount> {
  const folder = repositories.folder(tool);
  const child = execa('git', ['ls-tree', '-r', '-t', '-l', '-z', '--full-tree', id], {
    cwd: folder,
    env: repositories.environment([], { GIT_DIR: folder, ...repositories.limits }),
    extendEnv: false,
    stdin: 'ignore',
    buffer: false,
    encoding: 'buffer',
    reject: false,
  });
  endFirst(child.pid);
  const count = new TreeCount();
  let excess: DeployError | null = null;
  for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
    count.push(chunk);
    excess = count.excess(limits);
    if (excess !== null) break;
  }
  if (excess !== null) {
    child.kill('SIGKILL');
    await child;
    throw excess;
  }
  const { exitCode } = await child;
  if (exitCode !== 0) throw new Error(`git ls-tree of ${id} ended with ${exitCode}`);
  if (count.files === 0) {
    throw new DeployError(
      'EMPTY_COMMIT',
      'the commit has no files',
      'Add the tool’s files, commit and push again.',
    );
  }
  return count;
}

// This limit is well below PATH_MAX of Linux (4096), because a checkout puts the path of its folder before each path.
const MAX_PATH_BYTES = 1024;
const MAX_NAME_BYTES = 255;
/**
 * The most bytes of an entry of `git ls-tree`. A longer entry has a path that is too long, because mode, type, id and
 * size take less than 200 bytes.
 */
const MAX_ENTRY = MAX_PATH_BYTES + 200;

class TreeCount {
  files = 0;
  bytes = 0;
  /** True if the top folder has a file or folder with the name of a licence. */
  hasLicence = false;
  hasEnvFile = false;
  #folderCount = 0;
  #tooLong: string | null = null;
  readonly #folders = new Map<string, number>();
  #rest = '';

  push(chunk: Buffer): void {
    const entries = (this.#rest + chunk.toString('latin1')).split('\0');
    this.#rest = entries.pop() ?? '';
    for (const entry of entries) this.#add(entry);
    // Refuse the commit if an entry is too long. git accepts names of a hundred megabytes, and to collect such a name
    // would block the server for minutes.
    if (this.#rest.length > MAX_ENTRY) this.#tooLong ??= this.#rest.slice(this.#rest.indexOf('\t') + 1);
  }

  #add(entry: string): void {
    const tab = entry.indexOf('\t');
    const size = Number(entry.slice(0, tab).split(/ +/).at(-1)) || 0;
    const path = entry.slice(tab + 1);
    if (path.length > MAX_PATH_BYTES || path.length - path.lastIndexOf('/') > MAX_NAME_BYTES + 1) {
      this.#tooLong ??= path;
    }
    if (LICENCE.test(path)) this.hasLicence = true;
    if (entry.slice(0, tab).includes(' tree ')) {
      this.#folderCount += 1;
      return;
    }
    if (path === '.env') this.hasEnvFile = true;
    const folder = path.includes('/') ? path.slice(0, path.indexOf('/') + 1) : path;
    this.files += 1;
    this.bytes += size;
    if (this.#folders.has(folder) || this.#folders.size < 1000) {
      this.#folders.set(folder, (this.#folders.get(folder) ?? 0) + size);
    }
  }

  excess(limits: TreeLimits): DeployError | null {
    if (this.#tooLong !== null) return pathTooLong(this.#tooLong);
    if (this.files > limits.files) return this.#tooLarge(`more than ${limits.files} files`);
    if (this.#folderCount > limits.files) return this.#tooLarge(`more than ${limits.files} folders`);
    if (this.bytes > limits.bytes) return this.#tooLarge(`more than ${mebibytes(limits.bytes)} of files`);
    return null;
  }

  #tooLarge(tooMuch: string): DeployError {
    const largest = [...this.#folders].sort((a, b) => b[1] - a[1]).slice(0, 3);
    const named = largest.map(([name, bytes]) => `${printable(name)} ${mebibytes(bytes)}`).join(', ');
    return new DeployError(
      'TREE_TOO_LARGE',
      `the commit has ${tooMuch}${named === '' ? '' : ` (the largest files and folders at its top: ${named})`}`,
      'Remove the files that the tool does not need when it runs, then commit and push again.',
    );
  }
}

function pathTooLong(path: string): DeployError {
  const start = printable(path.slice(path.length > MAX_PATH_BYTES ? 0 : path.lastIndexOf('/') + 1));
  return new DeployError(
    'PATH_TOO_LONG',
    `a file in the commit has a name that is too long to be written to disk (${start}…)`,
    `A file name can have ${MAX_NAME_BYTES} bytes, and a path with its folders ${MAX_PATH_BYTES}. Rename the file, commit and push again.`,
  );
}

function printable(name: string): string {
  return oneLine(Buffer.from(name, 'latin1').toString('utf8')).slice(0, 60);
}

/**
 * Writes a commit's files into an empty folder. git applies no attributes and filters to the files and runs no hooks.
 * Submodules become empty folders.
 */
export async function checkOut(
  repositories: Repositories,
  tool: ToolName,
  id: CommitId,
  folder: string,
  signal: AbortSignal,
): Promise<void> {
  const scratch = await mkdtemp(join(repositories.folder(tool), 'checkout-'));
  try {
    const more = { GIT_INDEX_FILE: join(scratch, 'index'), GIT_WORK_TREE: folder };
    await repositories.git(tool, ['read-tree', id], { more, signal });
    await repositories.git(tool, ['checkout-index', '--all', '--force'], { more, signal });
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}
