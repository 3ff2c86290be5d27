import { existsSync } from 'node:fs';
import type { Fence } from '../fence/fence.ts';
import { DEVICE, END_CONNECTIONS, SET_ROUTES } from '../fence/fence-routes.ts';
import { INSTANCE_VARIABLE, PROCESS_VARIABLE } from '../process/marked-processes.ts';
import { resourceLimits } from '../process/resource-limits.ts';
import type { Mount, SandboxCommand } from '../sandbox.ts';
import { READY } from './held-network.ts';
import { type HostFiles, treeFiles } from './host-files.ts';
import { overlayOptions } from './overlay.ts';

export interface NetworkIsolation {
  readonly hostFiles: HostFiles;
  /**
   * The command's uid outside the sandbox. Null means the server's own uid, because tools have no users of their own.
   */
  readonly uid: number | null;
  readonly fence: Pick<Fence, 'files'>;
}

export interface Isolation extends NetworkIsolation {
  /** The path of the seccomp filter. */
  readonly filter: string;
  readonly instance: string;
  /**
   * True if the command enters a network that several commands share (`HeldNetwork`). The program that starts the
   * command then gets two descriptors: 3 is the user namespace of that network, and 4 is the network namespace.
   */
  readonly isInHeldNetwork: boolean;
  /** The id of this one start of a command, by which its processes are found. */
  readonly processId: string;
  /** A program with its first arguments, which starts the command. The command follows as its other arguments. */
  readonly wrapper: readonly string[];
}

const HOME = '/home/tool';
// A shell opens `FILTER_DESCRIPTOR` and `ARGUMENTS_DESCRIPTOR` by redirection, which works only for numbers of one
// digit.
const FILTER_DESCRIPTOR = '9';
const ARGUMENTS_DESCRIPTOR = '8';
/** The names of variables of the dynamic loader have this prefix until the limits are set. */
const LATER = 'TOOLFORGE_PUSH_LATER_';
const MEMORY_FOLDER_BYTES = String(64 * 1024 * 1024);

/**
 * Returns the command line of a whole sandbox. setpriv (if tools have users of their own) starts pasta, which makes a
 * network namespace without this machine's loopback. In this namespace, a shell sets the routes of the fence, and makes
 * the overlay of a mount with `writesTo`. Then bwrap makes the file system and the process namespace, and starts
 * prlimit, the wrapper and the command. For a command in a `HeldNetwork`, nsenter takes the place of pasta: it enters a
 * network that has these routes already.
 *
 * pasta comes before bwrap because pasta does not run inside bwrap. setpriv does not get the option --no-new-privs,
 * because then the uid map could not be set. bwrap sets no_new_privs itself.
 */
export function bwrapArguments(command: SandboxCommand, isolation: Isolation): string[] {
  const { isInHeldNetwork } = isolation;
  return [
    ...asUser(isolation.uid),
    ...(isInHeldNetwork ? ENTER_NETWORK : network(command.publish, isolation.hostFiles)),
    ...behindFence(command, isolation),
    ...fileSystem(command, isolation),
    '--',
    // Set the limits before the wrapper starts. The wrapper is a shell, and some shells run code from variables that a
    // tool can set (bash as sh, with SHELLOPTS and PS4). This code must not run without limits.
    ...limits(command),
    '--',
    ...isolation.wrapper,
    ...withLoaderVariables(command),
    ...command.argv,
  ];
}

/**
 * Returns the environment of the command as arguments for bwrap, which reads them from its standard input. The
 * environment may contain secrets, and everybody on this machine can read the ordinary arguments of a process.
 */
export function secretArguments(command: SandboxCommand): string {
  return Object.entries({ HOME, ...command.env })
    .flatMap(([name, value]) => ['--setenv', isForLoader(name) ? LATER + name : name, value])
    .map((word) => `${word}\0`)
    .join('');
}

/**
 * Returns a shell command that gives the variables of the dynamic loader (ld.so(8)), such as LD_PRELOAD, their real
 * names again. The shell runs after prlimit has set the limits: otherwise a library of the tool could run inside
 * prlimit. The values do not become arguments, because other variables begin with LD_ too: LD_SDK_KEY may be a secret.
 */
function withLoaderVariables({ env }: SandboxCommand): string[] {
  const names = Object.keys(env).filter(isForLoader);
  const renamed = names.map((name) => `export ${name}="$${LATER}${name}"; unset ${LATER}${name}; `);
  return names.length === 0 ? [] : ['/bin/sh', '-c', `${renamed.join('')}exec "$@"`, 'sh'];
}

/** True for names of variables that ld.so(8) may read and that a shell can export. */
function isForLoader(name: string): boolean {
  return /^LD_\w+$/.test(name);
}

function asUser(uid: number | null): string[] {
  if (uid === null) return [];
  return ['setpriv', '--reuid', String(uid), '--regid', String(uid), '--clear-groups', '--'];
}

/**
 * Words that start the next program in the network namespace of a `HeldNetwork`, and in the user namespace that owns
 * that network namespace. They keep the uid, which is 0 in that user namespace (nsenter(1)).
 */
const ENTER_NETWORK = [
  'nsenter',
  '--user=/proc/self/fd/3',
  '--preserve-credentials',
  '--net=/proc/self/fd/4',
  '--',
];

/**
 * Returns the command line of a program that makes a network for several commands (`HeldNetwork`). The network exists
 * until the standard input of the program ends.
 */
export function networkArguments({ uid, hostFiles, fence }: NetworkIsolation): string[] {
  const script = `${SET_ROUTES}\necho ${READY}; cat${END_CONNECTIONS}`;
  return [...asUser(uid), ...network(null, hostFiles), 'sh', '-c', script, 'sh', ...fence.files];
}

function network(publish: SandboxCommand['publish'], hostFiles: HostFiles): string[] {
  return [
    ...['pasta', '--foreground', '--quiet', '--config-net'],
    ...['-t', publish === null ? 'none' : `127.0.0.1/${publish.outside}:${publish.inside}`],
    ...['-u', 'none', '-T', 'none', '-U', 'none', '--no-map-gw', '--ns-ifname', DEVICE],
    ...[...hostFiles.pasta, '--'],
  ];
}

/**
 * A part of a shell script that closes all descriptors but 0 to 2. pasta leaves one open: the socket that listens at
 * the published port. This socket belongs to the network of this machine. A tool could disconnect it (connect(2),
 * AF_UNSPEC) and then use it to reach this machine, and to listen on the machine's ports.
 *
 * Some shells cannot close a descriptor of two digits. If such a descriptor is open, the sandbox does not start.
 */
export const CLOSE_DESCRIPTORS = `
exec 3<&- 4<&- 5<&- 6<&- 7<&- 8<&- 9<&-
[ -d /proc/self/fd ] || { echo 'the open descriptors cannot be seen' >&2; exit 1; }
for descriptor in /proc/self/fd/[1-9][0-9]*; do
  [ -h "$descriptor" ] || continue
  echo "the descriptor \${descriptor##*/} stays open" >&2
  exit 1
done`;

/**
 * Returns a shell command that sets the routes of the sandbox, unless its network has them already, and then starts
 * bwrap. bwrap could not set the routes itself, because it drops the right to change routes. The shell also opens the
 * seccomp filter, because pasta, which starts the shell, closes unknown descriptors. After bwrap has ended, the shell
 * ends the connections that are left, unless other commands share the network.
 *
 * The shell moves bwrap's secret arguments from descriptor 0 to descriptor 8, because bwrap closes their descriptor
 * after reading them. If descriptor 0 became free, bwrap would open this machine's /proc as descriptor 0. bwrap passes
 * descriptors 0 to 2 to the first process in the sandbox, so every tool could leave its sandbox.
 */
function behindFence(command: SandboxCommand, { fence, filter, isInHeldNetwork }: Isolation): string[] {
  const descriptors = `${FILTER_DESCRIPTOR}<"$filter" ${ARGUMENTS_DESCRIPTOR}<&0 </dev/null`;
  const bwrap = `bwrap "$@" ${descriptors}`;
  // Silence the shell, because it would print a line if bwrap is killed. bwrap keeps the real standard error.
  const quietly = `exec 7>&2 2>/dev/null; (exec ${bwrap} 2>&7 7>&-); code=$?`;
  const [before, run] = isInHeldNetwork
    ? ['', `exec ${bwrap}`]
    : [SET_ROUTES, `${quietly}${END_CONNECTIONS}; exit $code`];
  const script = (more: string) => `${CLOSE_DESCRIPTORS}\n${before}\nfilter=$3; shift 3${more}; ${run}`;
  const words = [...fence.files, filter];
  // bwrap looks for its child in /proc, under the process id that the child has in the namespace of pasta. In the /proc
  // of this machine, this id belongs to another process or to none, and bwrap would fail.
  const ownProc = ['unshare', '--mount-proc'];
  const mount = changeable(command);
  if (mount?.writesTo === undefined)
    return [...(isInHeldNetwork ? [] : ownProc), 'sh', '-c', script(''), 'sh', ...words];
  const { source, writesTo, target } = mount;
  const unshare = isInHeldNetwork ? ['unshare', '--mount'] : ownProc;
  return [...unshare, 'sh', '-c', script(LAY_OVER), 'sh', ...words, source, writesTo, target];
}

/**
 * Returns the mount of the command that has `writesTo`, if there is one. At most one mount of a command may have it.
 */
function changeable({ mounts }: SandboxCommand): Mount | undefined {
  return mounts.find(({ writesTo }) => writesTo !== undefined);
}

/**
 * A part of a shell script that lays a writable folder over a mount's source (overlayfs), and gives bwrap the result as
 * its first arguments. This needs no root, because the shell is in the user namespace of pasta and in a mount namespace
 * of its own. The overlay ends with the sandbox. The mount is read-only if the kernel cannot make the overlay, or if a
 * path has a comma, colon or backslash, which would change the options of the overlay.
 */
const LAY_OVER = `
how=--ro-bind from=$1
case "$1$2" in
  *[,:\\\\]*) ;;
  *) mount -it overlay -o "${overlayOptions('$1', '$2')}" overlay "$2/view" </dev/null 2>/dev/null &&
    how=--bind from=$2/view ;;
esac
target=$3; shift 3; set -- "$how" "$from" "$target" "$@"`;

function fileSystem(command: SandboxCommand, isolation: Isolation): string[] {
  const targets = new Set(command.mounts.map((mount) => mount.target));
  const inMemory = ['/tmp', HOME].filter((folder) => !targets.has(folder));
  return [
    ...['--unshare-user', '--unshare-pid', '--unshare-ipc', '--unshare-uts', '--unshare-cgroup-try'],
    ...['--uid', '1000', '--gid', '1000', '--die-with-parent', '--new-session', '--clearenv'],
    // `markedProcesses` finds this bwrap by these arguments. The variables are unset again, so that the command does
    // not get them.
    ...['--setenv', INSTANCE_VARIABLE, isolation.instance, '--unsetenv', INSTANCE_VARIABLE],
    ...['--setenv', PROCESS_VARIABLE, isolation.processId, '--unsetenv', PROCESS_VARIABLE],
    ...['--seccomp', FILTER_DESCRIPTOR],
    ...(command.tree === null
      ? isolation.hostFiles.bwrap
      : [...treeFiles(command.tree), ...isolation.hostFiles.overTree]),
    ...['--proc', '/proc', '--dev', '/dev', '--size', MEMORY_FOLDER_BYTES, '--tmpfs', '/dev/shm'],
    // Cover /proc/1. The first process in the sandbox is bwrap, which runs as the user of the tool. Through /proc/1, a
    // tool could take control of bwrap, and then hide that the command has ended.
    ...['--tmpfs', '/proc/1', '--remount-ro', '/proc/1'],
    // Cover /proc/keys, which would show tools the kernel keys of the server's session (keyrings(7)), and /proc/locks:
    // while it is read, nobody on this machine can take or give back a lock of a file.
    ...['/proc/keys', '/proc/locks']
      .filter((path) => existsSync(path))
      .flatMap((path) => ['--ro-bind', '/dev/null', path]),
    ...inMemory.flatMap((folder) => ['--size', MEMORY_FOLDER_BYTES, '--tmpfs', folder]),
    ...mounted(
      command.mounts.filter((mount) => mount !== changeable(command)),
      isolation.hostFiles.covers,
    ),
    // Make these folders read-only. The sandbox's root folder is in memory, so a tool that could write to it could fill
    // the memory. In a writable /proc, a tool could lower its oom_score_adj, so that other processes are killed first.
    ...['--remount-ro', '/proc', '--remount-ro', '/dev', '--remount-ro', '/'],
    // Secrets are passed through a descriptor, because everybody on this machine can read the arguments of a process.
    ...['--args', ARGUMENTS_DESCRIPTOR, '--chdir', command.cwd],
  ];
}

/**
 * Returns bwrap's arguments for these mounts. If the source and the target of a mount are the same path, the mount
 * shows a folder of this machine. Then it is shown without the files that `covers` hides, such as the server's secrets.
 * It is left out if `covers` hides the whole folder.
 */
function mounted(mounts: readonly Mount[], covers: HostFiles['covers']): string[] {
  const isOfMachine = ({ source, target }: Mount) => source === target;
  const shown = mounts.filter((mount) => !isOfMachine(mount) || !covers.hides(mount.source));
  return [
    ...shown.flatMap(({ source, target, isWritable }) => [
      isWritable ? '--bind' : '--ro-bind',
      source,
      target,
    ]),
    ...covers.argumentsFor(shown.filter(isOfMachine)),
  ];
}

/**
 * Returns the prlimit command that sets the limits. Does not limit address space (--as), because Node.js and other
 * runtimes reserve far more than they use.
 */
function limits({ limits: given }: SandboxCommand): string[] {
  return ['/usr/bin/prlimit', `--nproc=${given.processes}`, ...resourceLimits(given)];
}
