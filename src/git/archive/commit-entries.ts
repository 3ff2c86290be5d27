import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DeployError, noneIfGone } from '../../core/errors.ts';
import { type CommitId, commitId, type ToolName } from '../../core/names.ts';
import { type GitSettings, LIMITED_GIT } from '../git-environment.ts';
import { type GitProcess, startGit } from '../git-process.ts';
import type { Repositories } from '../repositories.ts';
import type { SourceEntry } from './archive-entries.ts';

/** The author and the message of a commit. */
export interface CommitWords {
  readonly name: string;
  readonly email: string;
  readonly message: string;
}

/**
 * A new commit that no branch of the tool's repository has yet. Its objects are in `pack` or already in that
 * repository.
 */
export interface PackedCommit extends AsyncDisposable {
  readonly commit: CommitId;
  /** The id of the commit's tree. */
  readonly tree: string;
  /**
   * The file with the objects that the repository lacks. Disposal of this object deletes the file. Null if the
   * repository has all objects, because the same person sent the same files in the same second.
   */
  readonly pack: string | null;
  readonly files: number;
}

const REF = 'refs/heads/archive';

const SETTINGS: GitSettings = [
  // Let git stream each file that is larger than this. git holds every smaller file in memory.
  ['core.bigFileThreshold', '1m'],
  // Keep all objects in one pack.
  ['fastimport.unpackLimit', '0'],
];

/** `commitEntries` calls `mayGrow` each time that it has written this many bytes to git. */
const LOOK_BYTES = 16 * 1024 ** 2;

/**
 * Makes a commit that has exactly the files of `entries`, and writes none of these files to the disk. Adds no object
 * and no ref to the tool's repository: the new objects are in a temporary repository inside its folder, which borrows
 * the objects of the tool.
 *
 * @param parent - A commit of the tool's repository. Null for a commit without a parent.
 * @param mayGrow - Called before the first entry is read, and then each time that git has got 16 MiB more. Gets the
 * size of the new pack so far. Throws if the pack must not become larger.
 * @throws DeployError `EMPTY_ARCHIVE` if there are no entries; `GIT_LIMIT` if git reached its limit of memory or
 * processor time; the errors of `entries` and `mayGrow`; the signal's reason.
 */
export async function commitEntries(
  repositories: Repositories,
  {
    tool,
    parent,
    words,
  }: { readonly tool: ToolName; readonly parent: CommitId | null; readonly words: CommitWords },
  entries: AsyncIterable<SourceEntry>,
  mayGrow: (packBytes: number) => Promise<void>,
  signal: AbortSignal,
): Promise<PackedCommit> {
  await mayGrow(0);
  // If the server is killed, its next start deletes this folder, because of the folder's name.
  const folder = await mkdtemp(join(repositories.folder(tool), 'checkout-'));
  const remove = () => rm(folder, { recursive: true, force: true });
  try {
    await makeBorrower(folder, join(repositories.folder(tool), 'objects'));
    const environment = repositories.environment(SETTINGS, { GIT_DIR: folder });
    const git = startGit(['fast-import', '--quiet', '--done', '--date-format=raw'], {
      ...environment,
      // The sender of the archive chooses what git reads, so git gets the same limits as for a push.
      PATH: `${LIMITED_GIT}:${environment['PATH']}`,
    });
    const look = async () => await mayGrow(await bytesIn(join(folder, 'objects/pack')));
    const files = await feed(git, { parent, words, entries, look }, signal);
    const ids = await repositories.git(tool, ['rev-parse', REF, `${REF}^{tree}`], {
      more: { GIT_DIR: folder },
    });
    const [id = '', tree = ''] = ids.split('\n');
    const packs = await readdir(join(folder, 'objects/pack'));
    const pack = packs.find((name) => name.endsWith('.pack'));
    const commit = commitId(id);
    if (commit === null) throw new Error(`git fast-import made no commit: ${ids}`);
    return {
      commit,
      tree,
      pack: pack === undefined ? null : join(folder, 'objects/pack', pack),
      files,
      [Symbol.asyncDispose]: remove,
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** Makes an empty repository that reads the objects of another repository too (gitrepository-layout(5)). */
async function makeBorrower(folder: string, objects: string): Promise<void> {
  for (const part of ['refs', 'objects/info', 'objects/pack'])
    await mkdir(join(folder, part), { recursive: true, mode: 0o700 });
  await writeFile(join(folder, 'objects/info/alternates'), `${objects}\n`);
  await writeFile(join(folder, 'HEAD'), `ref: ${REF}\n`);
}

async function bytesIn(folder: string): Promise<number> {
  const names = await readdir(folder);
  const sizes = await Promise.all(names.map((name) => stat(join(folder, name)).catch(noneIfGone)));
  return sizes.reduce((sum, found) => sum + (found?.size ?? 0), 0);
}

/** Writes the commit to git fast-import, and waits until git has stored it. @returns the number of entries. */
async function feed(
  git: GitProcess,
  {
    parent,
    words,
    entries,
    look,
  }: {
    readonly parent: CommitId | null;
    readonly words: CommitWords;
    readonly entries: AsyncIterable<SourceEntry>;
    readonly look: () => Promise<void>;
  },
  signal: AbortSignal,
): Promise<number> {
  const ended = new AbortController();
  const status = git.status.finally(() => ended.abort());
  status.catch(() => undefined);
  const over = AbortSignal.any([ended.signal, signal]);
  let sinceLook = 0;
  const write = async (bytes: Uint8Array | string): Promise<void> => {
    over.throwIfAborted();
    sinceLook += bytes.length;
    if (sinceLook >= LOOK_BYTES) {
      sinceLook = 0;
      await look();
    }
    if (git.stdin.write(bytes)) return;
    git.stdin.uncork();
    await once(git.stdin, 'drain', { signal: over });
    git.stdin.cork();
  };
  // Small writes are collected, because each write to the pipe costs a system call.
  git.stdin.cork();
  try {
    await write(head(parent, words));
    let files = 0;
    for await (const entry of entries) {
      await writeEntry(entry, write);
      files += 1;
    }
    if (files === 0)
      throw new DeployError(
        'EMPTY_ARCHIVE',
        'the archive has no files',
        'Make the archive in the folder of the tool: tar cz .',
      );
    await write('done\n');
    git.stdin.end();
    if ((await status) === 0) return files;
  } catch (error) {
    signal.throwIfAborted();
    if (!ended.signal.aborted) throw error;
  } finally {
    git.kill();
    await status.catch(() => undefined);
  }
  throw failed(await status, git.signal(), git.stderr());
}

/**
 * Returns the beginning of the input for git-fast-import(1): the command `commit` for a commit that keeps no file of
 * its parent.
 */
function head(parent: CommitId | null, { name, email, message }: CommitWords): string {
  const who = `${name.replace(/[<>\n\0]/g, '')} <${email.replace(/[<>\n\0]/g, '')}>`;
  const at = `${Math.floor(Date.now() / 1000)} +0000`;
  const text = `${message}\n`;
  return [
    `commit ${REF}`,
    `author ${who} ${at}`,
    `committer ${who} ${at}`,
    `data ${Buffer.byteLength(text)}`,
    text,
    ...(parent === null ? [] : [`from ${parent}`]),
    'deleteall\n',
  ].join('\n');
}

async function writeEntry(
  entry: SourceEntry,
  write: (bytes: Uint8Array | string) => Promise<void>,
): Promise<void> {
  const path = quoted(entry.path);
  switch (entry.kind) {
    case 'file':
      await write(`M ${entry.isExecutable ? '100755' : '100644'} inline ${path}\ndata ${entry.bytes}\n`);
      for await (const chunk of entry.content) await write(chunk);
      return await write('\n');
    case 'link':
      return await write(
        `M 120000 inline ${path}\ndata ${Buffer.byteLength(entry.target)}\n${entry.target}\n`,
      );
    case 'copy':
      return await write(`C ${quoted(entry.of)} ${path}\n`);
    default:
      throw entry satisfies never;
  }
}

/**
 * Puts a path between quotes, because git could take a character of the path for the end of the path or of the line.
 */
function quoted(path: string): string {
  return `"${path.replace(/["\\]/g, '\\$&').replaceAll('\n', '\\n')}"`;
}

/**
 * Returns the error of a git fast-import that failed. The kernel ends git by SIGKILL at the limit of processor time,
 * and not by SIGXCPU, because the soft and the hard limit are equal. It also does so if the machine has no memory left.
 */
function failed(status: number | null, signal: NodeJS.Signals | null, complaint: string): Error {
  const cause = new Error(`git fast-import ended with ${signal ?? status}: ${complaint}`);
  const isLimit =
    signal === 'SIGKILL' || signal === 'SIGXCPU' || /out of memory|attempting to allocate/i.test(complaint);
  if (!isLimit) return cause;
  return new DeployError(
    'GIT_LIMIT',
    'git reached its limit of memory or processor time while it stored the files',
    'Deploy fewer or smaller files.',
    { cause },
  );
}
