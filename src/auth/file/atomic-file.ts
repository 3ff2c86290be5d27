import { randomBytes } from 'node:crypto';
import { link, open, readFile, realpath, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { syncFolder } from '../../core/disk/sync-folder.ts';
import { DeployError, systemCode } from '../../core/errors.ts';

const WAIT_MS = 5000;
const RETRY_MS = 50;
const LONGEST_EDIT_MS = 60_000;

/**
 * Changes a file in one step: other processes see either the old text or the new text, never a part. The new text is
 * written beside the file under a lock, made durable, and renamed. If `change` throws, or returns the same text, the
 * file does not change.
 *
 * @param ifMissing - The text that `change` gets if there is no file. If null, a missing file is the error ENOENT.
 * @throws DeployError `FILE_BUSY` if the lock is not free within 5 s, because of other edits.
 */
export async function editFile<T>(
  name: string,
  change: (before: string) => { readonly after: string; readonly result: T },
  ifMissing: string | null = null,
): Promise<T> {
  // If the name is a symbolic link, change the file that the link points to.
  const path = await orIfMissing(realpath(name), ifMissing === null ? null : name);
  await using _lock = await lock(`${path}.lock`);
  const before = await orIfMissing(readFile(path, 'utf8'), ifMissing);
  const { after, result } = change(before);
  if (after === before) return result;
  const temporary = await writeBeside(path, after);
  try {
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncFolder(dirname(path));
  return result;
}

async function orIfMissing(found: Promise<string>, instead: string | null): Promise<string> {
  try {
    return await found;
  } catch (error) {
    if (instead === null || systemCode(error) !== 'ENOENT') throw error;
    return instead;
  }
}

/** Creates a file in one step. Only its owner can read it. @returns false if it existed before. */
export async function createFile(path: string, text: string): Promise<boolean> {
  const temporary = await writeBeside(path, text);
  try {
    // Use link(2), because it fails if the name is taken. rename(2) would replace the file.
    await link(temporary, path);
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(temporary, { force: true });
  }
  await syncFolder(dirname(path));
  return true;
}

async function writeBeside(path: string, text: string): Promise<string> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.new`;
  await using file = await open(temporary, 'wx', 0o600);
  try {
    if (process.getuid?.() === 0) {
      // If root changes the file, the file keeps its owner. If root creates the file, its owner is the owner of its
      // folder.
      const owner = await stat(path).catch(() => stat(dirname(path)));
      const made = await file.stat();
      // Call chown(2) only if the owner differs, because some network disks refuse even a call that changes nothing.
      if (made.uid !== owner.uid || made.gid !== owner.gid) await file.chown(owner.uid, owner.gid);
    }
    await file.writeFile(text);
    await file.sync();
    return temporary;
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

async function lock(path: string): Promise<AsyncDisposable> {
  const deadline = performance.now() + WAIT_MS;
  while (!(await createFile(path, `${process.pid}\n`))) {
    const holder = Number(await readFile(path, 'utf8').catch(() => ''));
    if (holder > 0 && (!isRunning(holder) || (await isLeft(path)))) {
      await breakLock(path, holder);
    } else if (performance.now() > deadline) {
      throw new DeployError(
        'FILE_BUSY',
        'another command is changing the user directory at the moment',
        'Try again in a moment.',
      );
    } else {
      await delay(RETRY_MS);
    }
  }
  return { [Symbol.asyncDispose]: () => rm(path, { force: true }) };
}

/**
 * True if the lock is older than `LONGEST_EDIT_MS`, which is longer than any edit takes. If a process with the number
 * in the lock is running, it is then another process, for example because the machine has restarted.
 */
async function isLeft(path: string): Promise<boolean> {
  const since = await stat(path).catch(() => null);
  return since !== null && Date.now() - since.mtimeMs > LONGEST_EDIT_MS;
}

/**
 * Moves the lock of a dead process away. If several processes try, only one of them moves the lock, and the others find
 * none.
 */
async function breakLock(path: string, holder: number): Promise<void> {
  const aside = `${path}.${randomBytes(6).toString('hex')}.dead`;
  try {
    await rename(path, aside);
    // Another process may have taken the lock after `holder` was read from it. If so, give the lock back.
    if (Number(await readFile(aside, 'utf8')) !== holder) await link(aside, path).catch(() => undefined);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  } finally {
    await rm(aside, { force: true });
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemCode(error) === 'EPERM';
  }
}
