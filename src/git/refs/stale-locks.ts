import { readdir, readFile, readlink, realpath, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { noneIfGone, systemCode } from '../../core/errors.ts';
import type { CommitId, ToolName } from '../../core/names.ts';
import type { Repositories } from '../repositories.ts';
import { readRefs } from './ref-files.ts';

/** A parsed command of git-update-ref(1) `--stdin`. */
interface Command {
  readonly verb: string;
  readonly ref: string;
  readonly value: string;
}

/**
 * Matches refs that the server changes only within a turn of `Repositories.takeRefs`, so one change at a time. The git
 * process of a push takes no turn. Of these refs, it only creates those with the id of the push in their name
 * (`refs/deployments/ID`, `refs/parked/ID/…`), and deletes branches of previews.
 */
const OWN = /^refs\/(heads|releases|deployments|parked|set-aside)\//;

/**
 * Removes the lock files that a killed `git update-ref` left. If the process held all its locks, removes all of them.
 * Otherwise, removes the locks of refs that only the server changes (`OWN`). The process may not have got the other
 * locks, so removes them only if no other git was running in the repository. Call this when the process has ended, and
 * within a turn of `Repositories.takeRefs`.
 *
 * @param lines - The commands of the killed process.
 * @param hadAll - Whether the process had reported that it held every lock.
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
  // Add the lock of HEAD, because git locks HEAD together with the branch that HEAD names.
  const certain = [...own, ...(refs.some((ref) => ref.startsWith('refs/heads/')) ? ['HEAD.lock'] : [])];
  const isDeleting = lines.some((line) => commandOf(line).verb === 'delete');
  const packed = isDeleting ? ['packed-refs.lock', 'packed-refs.new'] : [];
  const shared = [...packed, ...refs.filter((ref) => !OWN.test(ref)).map((ref) => `${ref}.lock`)];
  await removeFiles(folder, hadAll ? [...certain, ...packed] : certain);
  if (hadAll) return;
  const before = await inodes(folder, shared);
  if (before.size === 0 || !(await isAlone(folder))) return;
  // `isAlone` has just found that no git runs. If a lock file has kept its inode, it was there during that
  // check, so no git holds it.
  const now = await inodes(folder, shared);
  await removeFiles(
    folder,
    [...now].filter(([name, inode]) => before.get(name) === inode).map(([name]) => name),
  );
}

/**
 * Returns those of the commands of `git update-ref --stdin` that have not been carried out yet. A git that was killed
 * while it committed its transaction may have moved only some of the refs.
 */
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
 * True if no git process is running in the repository. A receive-pack that waits for its hook does not count, because
 * it holds no locks then. False if the system has no proc(5).
 */
async function isAlone(folder: string): Promise<boolean> {
  const place = await realpath(folder);
  const { dev, ino } = await stat(place);
  const pids = (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name));
  const processes = await Promise.all(pids.map((pid) => lookAt(pid, place)));
  // A process in a sandbox may see another folder at the same path, so compare devices and inodes.
  const here = processes.filter((one) => one?.seen?.dev === dev && one.seen.ino === ino);
  return (
    pids.length > 0 &&
    here.every((one) => {
      if (one === null || !one.name.startsWith('git')) return true;
      return here.some((other) => other?.parent === one.pid && !other.name.startsWith('git'));
    })
  );
}

/**
 * Describes a process whose working folder is `place` or below it. Returns null for any other process. `seen` describes
 * the folder that the process sees at the path `place`, which is another folder if the process is in a sandbox.
 */
async function lookAt(pid: string, place: string) {
  try {
    if (!`${await readlink(`/proc/${pid}/cwd`)}/`.startsWith(`${place}/`)) return null;
    const status = await readFile(`/proc/${pid}/status`, 'utf8');
    const seen = await stat(`/proc/${pid}/root${place}`).catch(noneIfGone);
    const name = /^Name:\t(.*)$/m.exec(status)?.[1] ?? '';
    return { pid, seen, name, parent: /^PPid:\t(\d+)$/m.exec(status)?.[1] ?? '' };
  } catch (error) {
    // The process has ended, belongs to another user, or has lost its folder.
    if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes(systemCode(error) ?? '')) return null;
    throw error;
  }
}
