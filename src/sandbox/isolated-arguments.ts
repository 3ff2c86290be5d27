import { existsSync } from 'node:fs';
import { dataLimit } from './data-limit.ts';
import type { Fence } from './fence/fence.ts';
import { DEVICE, SET_ROUTES } from './fence/routes.ts';
import type { HostFiles } from './host-files.ts';
import { INSTANCE_VARIABLE, PROCESS_VARIABLE } from './leftovers.ts';
import type { SandboxCommand } from './sandbox.ts';

export interface Isolation {
  readonly hostFiles: HostFiles;
  /** The uid outside; null = the server's own, where it is not root. */
  readonly uid: number | null;
  readonly fence: Pick<Fence, 'files'>;
  /** The path of the seccomp filter. */
  readonly filter: string;
  readonly instance: string;
  /** An id for this one start. */
  readonly processId: string;
  /** What comes right before the limits: a program that runs the rest of its arguments. */
  readonly wrapper: readonly string[];
}

const HOME = '/home/tool';
// A shell redirects descriptors of one digit only.
const FILTER_DESCRIPTOR = '9';
const ARGUMENTS_DESCRIPTOR = '8';
const MEMORY_FOLDER_BYTES = String(64 * 1024 * 1024);

/**
 * The whole argument list: setpriv (where the server is root) → pasta, which makes a network of its own
 * without this machine's loopback → the fence, which sets routes there → bwrap, which makes the file system and the
 * process namespace → prlimit → the command.
 *
 * pasta is the outer one since it does not run inside bwrap, and setpriv is without --no-new-privs since the
 * uid map could not be set then; bwrap sets that itself.
 */
export function isolatedArguments(command: SandboxCommand, isolation: Isolation): string[] {
  return [
    ...asUser(isolation.uid),
    ...network(command, isolation),
    ...behindFence(isolation),
    ...fileSystem(command, isolation),
    '--',
    ...isolation.wrapper,
    ...limits(command),
    '--',
    ...withLoaderVariables(command),
    ...command.argv,
  ];
}

/** What bwrap reads from the standard input of all: the environment, which holds secrets. */
export function secretArguments(command: SandboxCommand): string {
  return Object.entries({ HOME, ...command.env })
    .filter(([name]) => !isForLoader(name))
    .flatMap(([name, value]) => ['--setenv', name, value])
    .map((word) => `${word}\0`)
    .join('');
}

/**
 * What the dynamic loader obeys (ld.so(8)) is set after the limits: a library of the tool's own would otherwise run in
 * prlimit, in place of it. These values are paths and stand among the arguments.
 */
function withLoaderVariables({ env }: SandboxCommand): string[] {
  const variables = Object.entries(env).flatMap(([name, value]) =>
    isForLoader(name) ? [`${name}=${value}`] : [],
  );
  // Through a shell, since env takes a command with `=` in its name for a variable.
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
 * Sets the routes while that can still be done: bwrap takes the right to change them away. The seccomp filter is opened
 * here because pasta closes the descriptors that it does not know.
 *
 * bwrap closes the descriptor of its arguments, and keeps the standard ones for the first process inside. Were the
 * arguments on 0, bwrap's own descriptor of this machine's /proc would come in their place, and lead every tool out.
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
    // The marks are for whoever reads the arguments; the command does not see them.
    ...['--setenv', INSTANCE_VARIABLE, isolation.instance, '--unsetenv', INSTANCE_VARIABLE],
    ...['--setenv', PROCESS_VARIABLE, isolation.processId, '--unsetenv', PROCESS_VARIABLE],
    ...['--seccomp', FILTER_DESCRIPTOR],
    ...isolation.hostFiles.bwrap,
    ...['--proc', '/proc', '--dev', '/dev', '--size', MEMORY_FOLDER_BYTES, '--tmpfs', '/dev/shm'],
    // Its first process is bwrap, of the same user: who got hold of that could hide its end.
    ...['--tmpfs', '/proc/1', '--remount-ro', '/proc/1'],
    // It would list the keys of the session that the server was started in.
    ...(existsSync('/proc/keys') ? ['--ro-bind', '/dev/null', '/proc/keys'] : []),
    ...inMemory.flatMap((folder) => ['--size', MEMORY_FOLDER_BYTES, '--tmpfs', folder]),
    ...command.mounts.flatMap(({ source, target, isWritable }) => [
      isWritable ? '--bind' : '--ro-bind',
      source,
      target,
    ]),
    // What is left of the root is memory: not for writing.
    // Through /proc, a tool could undo that the kernel ends it before the server (oom_score_adj).
    ...['--remount-ro', '/proc', '--remount-ro', '/dev', '--remount-ro', '/'],
    // More arguments come by a descriptor: anyone on this machine may read those given here.
    ...['--args', ARGUMENTS_DESCRIPTOR, '--chdir', command.cwd],
  ];
}

/** Not --as: Node and others reserve far more addresses than they use. */
function limits({ limits: given }: SandboxCommand): string[] {
  const { processes, fileBytes } = given;
  return [
    '/usr/bin/prlimit',
    `--nproc=${processes}`,
    `--data=${dataLimit(given)}`,
    `--fsize=${fileBytes}`,
    '--core=0',
  ];
}
