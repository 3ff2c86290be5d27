import { homedir, userInfo } from 'node:os';

// A container may run under a number that no account has: the system then knows neither a name nor a home.

/** The user that this process runs as, by name; by number where it has none. */
export function accountName(): string {
  try {
    return userInfo().username;
  } catch {
    return `user${process.getuid?.() ?? ''}`;
  }
}

/** Its home; the root folder where it has none. */
export function homeFolder(): string {
  try {
    return homedir();
  } catch {
    return '/';
  }
}
