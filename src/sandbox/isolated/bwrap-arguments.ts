import { existsSync } from 'node:fs';
import type { Fence } from '../fence/fence.ts';
import { DEVICE, SET_ROUTES } from '../fence/fence-routes.ts';
import { INSTANCE_VARIABLE, PROCESS_VARIABLE } from '../process/marked-processes.ts';
import { resourceLimits } from '../process/resource-limits.ts';
import type { SandboxCommand } from '../sandbox.ts';
import type { HostFiles } from './host-files.ts';

export interface Isolation {
  readonly hostFiles: HostFiles;
  /** The command's uid outside the sandbox. Null means the server's own uid, because the server is not root. */
  readonly uid: number | null;
  readonly fence: Pick<Fence, 'files'>;
  /** The path of the seccomp filter. */
  readonly filter: string;
  readonly instance: string;
  /** The id of this one start of a command, by which its processes are found. */
  readonly processId: string;
  /**
   * A program with its first arguments. It runs inside the limits, and starts the command that its other arguments
   * name.
   */
  readonly wrapper: readonly string[];
}

const HOME = '/home/tool';
// The shell opens both descriptors by redirection, which works only for numbers of one digit.
const FILTER_DESCRIPTOR = '9';
const ARGUMENTS_DESCRIPTOR = '8';
const MEMORY_FOLDER_BYTES = String(64 * 1024 * 1024);

/**
 * Returns the whole argument list. setpriv (if the server is root) starts pasta, which makes a network namespace
 * without this machine's loopback. In this namespace, the fence sets its routes. Then bwrap makes the file system and
 * the process namespace, and starts prlimit, the wrapper and the command.
 *
 * pasta comes before bwrap because pasta does not run inside bwrap. setpriv has no --no-new-privs, because then the uid
 * map could not be set. bwrap sets that flag itself.
 */
export function bwrapArguments(command: SandboxCommand, isolation: Isolation): string[] {
  return [
    ...asUser(isolation.uid),
    ...network(command, isolation),
    ...behindFence(isolation),
    ...fileSystem(command, isolation),
    '--',
    // The limits come before the wrapper: some shells run code from a tool's variables (bash as sh, with SHELLOPTS and
    // PS4).
    ...limits(command),
    '--',
    ...isolation.wrapper,
    ...withLoaderVariables(command),
    ...command.argv,
  ];
}

/**
 * Returns the environment of the command as arguments for bwrap. bwrap reads them from the standard input of the whole
 * command, because they contain secrets and everybody on this machine can read the arguments of a process.
 */
export function secretArguments(command: SandboxCommand): string {
  return Object.entries({ HOME, ...command.env })
    .filter(([name]) => !isForLoader(name))
    .flatMap(([name, value]) => ['--setenv', name, value])
    .map((word) => `${word}\0`)
    .join('');
}

/**
 * Returns words that set the variables of the dynamic loader (ld.so(8)) after the limits. Otherwise a library of the
 * tool could run inside prlimit, before the limits are set. The values are paths, so they may be visible as arguments.
 */
function withLoaderVariables({ env }: SandboxCommand): string[] {
  const variables = Object.entries(env).flatMap(([name, value]) =>
    isForLoader(name) ? [`${name}=${value}`] : [],
  );
  // A shell starts the command, because env would take a command with `=` in its name for a variable.
  return variables.length === 0
    ? []
    : ['/usr/bin/env', '--', ...variables, '/bin/sh', '-c', 'exec "$@"', 'sh'];
}

function isForLoader(name: string): boolean {
  return name.startsWith('LD_');
}

function asUser(uid: number | null): string[] {
  if (uid === null) return [];
  return ['setpriv', '--reuid', String(uid), '--regid', String(uid), '--clear-groups', '--'];
}

function network({ publish }: SandboxCommand, { hostFiles }: Isolation): string[] {
  return [
    ...['pasta', '--foreground', '--quiet', '--config-net'],
    ...['-t', publish === null ? 'none' : `127.0.0.1/${publish.outside}:${publish.inside}`],
    ...['-u', 'none', '-T', 'none', '-U', 'none', '--no-map-gw', '--ns-ifname', DEVICE],
    ...[...hostFiles.pasta, '--'],
  ];
}

/**
 * Returns words that set the routes before bwrap, because bwrap drops the right to change them. Opens the seccomp
 * filter here, because pasta closes unknown descriptors.
 *
 * bwrap closes the descriptor of its arguments, and passes the standard descriptors to the first process inside. If the
 * arguments were on descriptor 0, bwrap's own descriptor of this machine's /proc would get the number 0, pass to the
 * first process, and let every tool out.
 */
function behindFence({ fence, filter }: Isolation): string[] {
  const descriptors = `${FILTER_DESCRIPTOR}<"$filter" ${ARGUMENTS_DESCRIPTOR}<&0 </dev/null`;
  const script = `${SET_ROUTES}\nfilter=$3; shift 3; exec "$@" ${descriptors}`;
  return ['sh', '-c', script, 'sh', ...fence.files, filter];
}

function fileSystem(command: SandboxCommand, isolation: Isolation): string[] {
  const targets = new Set(command.mounts.map((mount) => mount.target));
  const inMemory = ['/tmp', HOME].filter((folder) => !targets.has(folder));
  return [
    ...['bwrap', '--unshare-user', '--unshare-pid', '--unshare-ipc', '--unshare-uts', '--unshare-cgroup-try'],
    ...['--uid', '1000', '--gid', '1000', '--die-with-parent', '--new-session', '--clearenv'],
    // These words are marks for `markedProcesses`, which reads the arguments. The command does not see the variables.
    ...['--setenv', INSTANCE_VARIABLE, isolation.instance, '--unsetenv', INSTANCE_VARIABLE],
    ...['--setenv', PROCESS_VARIABLE, isolation.processId, '--unsetenv', PROCESS_VARIABLE],
    ...['--seccomp', FILTER_DESCRIPTOR],
    ...isolation.hostFiles.bwrap,
    ...['--proc', '/proc', '--dev', '/dev', '--size', MEMORY_FOLDER_BYTES, '--tmpfs', '/dev/shm'],
    // Cover /proc/1: the first process inside is bwrap, which runs as the same user. A tool that controls bwrap could
    // hide the command's end.
    ...['--tmpfs', '/proc/1', '--remount-ro', '/proc/1'],
    // /proc/keys would list the keys of the server's own session.
    ...(existsSync('/proc/keys') ? ['--ro-bind', '/dev/null', '/proc/keys'] : []),
    ...inMemory.flatMap((folder) => ['--size', MEMORY_FOLDER_BYTES, '--tmpfs', folder]),
    ...command.mounts.flatMap(({ source, target, isWritable }) => [
      isWritable ? '--bind' : '--ro-bind',
      source,
      target,
    ]),
    // The rest of the root folder is in memory, so it is read-only. In a writable /proc, a tool could lower its
    // oom_score_adj.
    ...['--remount-ro', '/proc', '--remount-ro', '/dev', '--remount-ro', '/'],
    // Secrets are passed through a descriptor, because everybody on this machine can read the arguments.
    ...['--args', ARGUMENTS_DESCRIPTOR, '--chdir', command.cwd],
  ];
}

/**
 * Returns the prlimit command that sets the limits. Does not limit address space (--as), because Node and other
 * runtimes reserve far more than they use.
 */
function limits({ limits: given }: SandboxCommand): string[] {
  return ['/usr/bin/prlimit', `--nproc=${given.processes}`, ...resourceLimits(given)];
}
