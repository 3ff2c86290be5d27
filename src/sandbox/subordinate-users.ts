import { existsSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { execa } from 'execa';
import { checkReach } from './folder-reach.ts';

const environment = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' };
const PROBE_MS = 10_000;

interface Range {
  readonly start: number;
  readonly count: number;
}

export interface SubordinateUsers {
  /** Words that start a command as root of a user namespace, in which tool number N has the uid `baseUid` + N. */
  readonly wrapper: readonly string[];
  /**
   * Identifies the mapping of uids. If it changes, the files of tools on the disk belong to other users than before.
   */
  readonly id: string;
}

/**
 * Finds out how a server that is not root can give each tool a user of its own: by a user namespace with the server's
 * user as root, and with the user's subordinate ids (subuid(5)). Starts a process in such a namespace as a test.
 *
 * @returns how to start a process in the namespace. If this server cannot, returns the reason: a text that can follow
 * the word `because`.
 */
export async function subordinateUsers(
  user: string,
  baseUid: number,
  data: string,
): Promise<SubordinateUsers | string> {
  const users = rangeIn(read('/etc/subuid'), user);
  const groups = rangeIn(read('/etc/subgid'), user);
  if (users === null || groups === null)
    return `/etc/subuid or /etc/subgid gives the user ${user} no subordinate ids`;
  // Refuse a server that was started with a capability, for example to listen on port 22: it would lose this capability
  // in the namespace.
  if (!/^CapEff:\s*0+$/m.test(read('/proc/self/status'))) return 'this server was started with capabilities';
  const closed = await checkReach(existing(dirname(data))).catch((error: Error) => error.message);
  if (closed !== undefined) return closed;
  const count = Math.min(users.count, groups.count);
  const wrapper = [
    ...['unshare', '--map-root-user'],
    `--map-users=${users.start},${baseUid},${count}`,
    `--map-groups=${groups.start},${baseUid},${count}`,
    '--',
  ];
  return (await works(wrapper, baseUid))
    ? { wrapper, id: `${users.start} ${groups.start} ${baseUid}\n` }
    : 'newuidmap (apt-get install uidmap) or user namespaces do not work here';
}

/**
 * Finds the largest range of subordinate ids that the lines of subuid(5) give to the user `user`, by name, or to the
 * user of this process, by number. Null if there is no range of at least two ids.
 */
export function rangeIn(text: string, user: string): Range | null {
  const ranges = text.split('\n').flatMap((line) => {
    const [owner = '', start, count] = line.split(':');
    return [user, String(process.getuid?.())].includes(owner)
      ? [{ start: Number(start), count: Number(count) }]
      : [];
  });
  return (
    ranges.filter(({ start, count }) => start > 0 && count > 1).sort((a, b) => b.count - a.count)[0] ?? null
  );
}

/**
 * Tests whether a user in the namespace can create namespaces, as the sandbox of a tool needs. @returns true if it can.
 */
async function works(wrapper: readonly string[], uid: number): Promise<boolean> {
  const asTool = ['setpriv', '--reuid', `${uid}`, '--regid', `${uid}`, '--clear-groups', '--'];
  const [program = '', ...words] = [
    ...wrapper,
    ...asTool,
    'unshare',
    '--map-root-user',
    '--net',
    '--',
    'true',
  ];
  const options = { env: environment, extendEnv: false, stdio: 'ignore', reject: false } as const;
  const tried = await execa(program, words, { ...options, timeout: PROBE_MS });
  return tried.exitCode === 0;
}

function existing(folder: string): string {
  return existsSync(folder) ? folder : existing(dirname(folder));
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
