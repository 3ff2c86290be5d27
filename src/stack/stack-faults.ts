import { DeployError } from '../core/errors.ts';

/**
 * The options with which this room runs programs of Debian. With these variables, the programs print English and ask no
 * questions. They inherit all other variables of this process.
 */
export const PROGRAMS = {
  env: {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    LC_ALL: 'C.UTF-8',
    DEBIAN_FRONTEND: 'noninteractive',
  },
  stdin: 'ignore',
} as const;

/** A prefix for a program that must not outlive this process, even if this process is killed. */
export const BOUND = ['setpriv', '--pdeathsig', 'KILL', '--'] as const;

/** Where the packages of a stack come from. */
export interface Origin {
  readonly mirror: string;
  readonly suite: string;
}

const AGAIN = 'Then run the command again: it continues, and downloads no package twice.';

export function stackNotMade(why: string, hint: string, options?: ErrorOptions): DeployError {
  return new DeployError('STACK_NOT_MADE', `no stack was made: ${why}`, hint, options);
}

/**
 * Turns the output of a failed apt-get into an error that names the cause, such as a full disk or an unreachable
 * mirror.
 */
export function explainApt(output: string, { mirror, suite }: Origin): DeployError {
  const full = fullDisk(output);
  if (full !== null) return full;
  if (/NO_PUBKEY|is not signed|EXPKEYSIG|couldn.t be verified/.test(output))
    return stackNotMade(
      `the signatures of Debian ${suite} at ${mirror} cannot be verified with the keys of this machine`,
      'Install newer keys as root: apt-get update && apt-get install debian-archive-keyring',
    );
  const unknown =
    /^E: (?:Unable to locate package (\S+)|Package '(\S+)' has no installation candidate)/m.exec(output);
  if (unknown !== null)
    return stackNotMade(
      `Debian ${suite} has no package ${unknown[1] ?? unknown[2]}`,
      'Correct the list of packages.',
    );
  if (/does not have a Release file|404 +Not Found/.test(output))
    return stackNotMade(
      `there are no packages of Debian ${suite} at ${mirror}`,
      `Name another mirror with --mirror. ${AGAIN}`,
    );
  if (
    /Could not resolve|Temporary failure resolving|Could not connect|Unable to connect|Connection (failed|timed out)|Network is unreachable|Failed to fetch/.test(
      output,
    )
  )
    return stackNotMade(
      `Debian’s packages at ${mirror} cannot be reached`,
      `Check the network and the proxy in /etc/apt/apt.conf.d, or name another mirror with --mirror. ${AGAIN}`,
    );
  return stackNotMade(`apt-get failed: ${lastError(output)}`, `Remove the cause of this error. ${AGAIN}`);
}

/**
 * Turns the output of a failed mmdebstrap into an error that names the cause.
 *
 * @param log - The file with the whole output.
 */
export function explainMmdebstrap(output: string, log: string): DeployError {
  const full = fullDisk(output);
  if (full !== null) return full;
  if (/unshare (syscall|\(\))|unshare\(\) failed|failed to unshare|newuidmap|uid_map/.test(output))
    return stackNotMade(
      'this machine does not let a plain user make user namespaces',
      'Run the command as root. Or allow user namespaces: sysctl -w kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0',
    );
  return stackNotMade(
    `mmdebstrap failed: ${lastError(output)}`,
    `The file ${log} has the whole output. Remove the cause of this error. ${AGAIN}`,
  );
}

/** The error for a full disk, if the output of a program tells of one. Otherwise null. */
export function fullDisk(output: string): DeployError | null {
  if (!/No space left on device|not enough free space|Disk quota exceeded/i.test(output)) return null;
  return stackNotMade(
    'the disk is full',
    `Free disk space: a stack needs 3 GB, and 2 GB more while it is made. ${AGAIN}`,
  );
}

/** The first line of apt or mmdebstrap that reports an error, or the last line if no line does. */
function lastError(output: string): string {
  const lines = output.split('\n').filter((line) => line.trim() !== '');
  const found = lines.find((line) => /^E: /.test(line)) ?? lines.at(-1) ?? 'it printed nothing';
  return found.replace(/^E: /, '').slice(0, 300);
}
