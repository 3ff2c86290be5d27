import { homedir, userInfo } from 'node:os';
import { join } from 'node:path';

/** The environment variable that tells a server in a user namespace the name of the user who started it. */
export const STARTED_BY = 'TOOLFORGE_PUSH_STARTED_BY';
let startedBy: string | null = null;

/**
 * Call this only in a process that is root in a user namespace but not on the machine. From then on, `accountName`
 * returns `user`, the name of the user who started this process, and `isWholeRoot` returns false.
 */
export function setStartedBy(user: string): void {
  startedBy = user;
}

/** True if this process is root of its whole machine or container. */
export function isWholeRoot(): boolean {
  return process.getuid?.() === 0 && startedBy === null;
}

/** The name of the user that this process runs as. If the user has no name, `user` and its number: `user1000`. */
export function accountName(): string {
  if (startedBy !== null) return startedBy;
  try {
    return userInfo().username;
  } catch {
    // The uid has no account, as can happen in a container.
    return `user${process.getuid?.() ?? ''}`;
  }
}

/** The home folder of the user that this process runs as, or the root folder if the user has no home folder. */
export function homeFolder(): string {
  try {
    return homedir();
  } catch {
    // The uid has no account, as can happen in a container.
    return '/';
  }
}

/** The default data folder: in /var/lib (FHS) for root, otherwise in ~/.local/share (XDG Base Directory). */
export function defaultDataFolder(): string {
  return isWholeRoot() ? '/var/lib/toolforge-push' : join(homeFolder(), '.local/share/toolforge-push');
}
