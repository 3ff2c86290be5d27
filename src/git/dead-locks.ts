import { readdir, readFile, readlink, realpath, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { noneIfGone, systemCode } from '../core/errors.ts';
import type { CommitId, ToolName } from '../core/names.ts';
import { readRefs } from './ref-files.ts';
import type { Repositories } from './repositories.ts';

/** A command of git-update-ref(1) `--stdin`, taken apart. */
interface Command {
  readonly verb: string;
  readonly ref: string;
  readonly value: string;
}

/** Only this server changes refs below these, and only in its turn (`Repositories.changeRefs`). */
const OWN = /^refs\/(heads|releases|deployments|parked|set-aside)\//;

/**
 * Removes the lock files that a `git update-ref` with these lines left when it was killed. Only those whose owner is
 * certainly gone: the lock of a ref that only this server changes, in its turn; every lock of a transaction that had
 * them all; and otherwise a lock that was there while no other git was at work in the repository.
 *
 * @param lines - What the killed process was to do. It has ended, and the caller has the turn.
 * @param hadAll - Whether it had said that it holds every lock.
 */
export async function removeDeadLocks(
  repositories: Repositories,
  tool: ToolName,
  lines: readonly string[],
  hadAll: boolean,
): Promise<void> {
  const folder = repositories.folder(tool);
  const refs = lines.map((line) => commandOf(line).ref);
  const own = refs.filter((ref) => hadAll || OWN.test(ref)).map((ref) => `${ref}.lock`);
  // HEAD names a branch, and is locked with it.
  const certain = [...own, ...(refs.some((ref) => ref.startsWith('refs/heads/')) ? ['HEAD.lock'] : [])];
  const isDeleting = lines.some((line) => commandOf(line).verb === 'delete');
  const packed = isDeleting ? ['packed-refs.lock', 'packed-refs.new'] : [];
  const shared = [...packed, ...refs.filter((ref) => !OWN.test(ref)).map((ref) => `${ref}.lock`)];
  await removeFiles(folder, hadAll ? [...certain, ...packed] : certain);
  if (hadAll) return;
  const before = await inodes(folder, shared);
  if (before.size === 0 || !(await isAlone(folder))) return;
  // Nobody can have taken a lock whose file was there all the time.
  const now = await inodes(folder, shared);
  await removeFiles(
    folder,
    [...now].filter(([name, inode]) => before.get(name) === inode).map(([name]) => name),
  );
}

/** The lines that have not been done yet: a transaction that is killed while it commits has moved some refs. */
export async function remaining(
  repositories: Repositories,
  tool: ToolName,
  lines: readonly string[],
): Promise<string[]> {
  const refs = lines.map((line) => commandOf(line).ref);
  const now: ReadonlyMap<string, CommitId> = await readRefs(repositories, tool, refs);
  return lines.filter((line) => {
    const { verb, ref, value } = commandOf(line);
    return verb === 'delete' ? now.has(ref) : now.get(ref) !== value;
  });
}

function commandOf(line: string): Command {
  const [verb = '', ref = '', value = ''] = line.split(' ');
  return { verb, ref, value };
}

async function removeFiles(folder: string, names: readonly string[]): Promise<void> {
  await Promise.all(names.map((name) => rm(join(folder, name), { force: true })));
}

async function inodes(folder: string, names: readonly string[]): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const name of names) {
    const file = await stat(join(folder, name), { bigint: true }).catch(noneIfGone);
    if (file !== null) found.set(name, `${file.ino}:${file.mtimeNs}`);
  }
  return found;
}

/**
 * True if no git is at work in the repository. A receive-pack that waits for its hook has let go of its locks. False
 * if the system does not tell (proc(5)).
 */
async function isAlone(folder: string): Promise<boolean> {
  const place = await realpath(folder);
  const pids = (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name));
  const processes = await Promise.all(pids.map(lookAt));
  const here = processes.filter((one) => one !== null && `${one.folder}/`.startsWith(`${place}/`));
  return (
    pids.length > 0 &&
    here.every((one) => {
      if (one === null || !one.name.startsWith('git')) return true;
      return here.some((other) => other?.parent === one.pid && !other.name.startsWith('git'));
    })
  );
}

async function lookAt(pid: string) {
  try {
    const [folder, status] = await Promise.all([
      readlink(`/proc/${pid}/cwd`),
      readFile(`/proc/${pid}/status`, 'utf8'),
    ]);
    const name = /^Name:\t(.*)$/m.exec(status)?.[1] ?? '';
    return { pid, folder, name, parent: /^PPid:\t(\d+)$/m.exec(status)?.[1] ?? '' };
  } catch (error) {
    // It has ended meanwhile, is another user's, or has no folder any more.
    if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes(systemCode(error) ?? '')) return null;
    throw error;
  }
}
