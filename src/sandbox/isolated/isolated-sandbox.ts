import { randomUUID } from 'node:crypto';
import { closeSync, lchownSync, lstatSync, opendirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { execa } from 'execa';
import { outputTime } from '../../core/fair-share/time-shares.ts';
import type { Log } from '../../core/log/log.ts';
import { Fence } from '../fence/fence.ts';
import { limitFlows } from '../fence/flow-limit.ts';
import { assertPassable } from '../process/argument-limits.ts';
import type { Cgroups } from '../process/cgroups.ts';
import { KernelMemoryWatch } from '../process/kernel-memory.ts';
import { endMarked, PROCESS_VARIABLE, signalMarkedAmong } from '../process/marked-processes.ts';
import { MemoryWatch } from '../process/memory-watch.ts';
import {
  childrenOf,
  descendantsOf,
  listenersAround,
  namespaceIds,
  signal,
  untilGone,
} from '../process/process-table.ts';
import { exitOf, INTERLEAVED, settle, startInCgroup } from '../process/sandbox-child.ts';
import type {
  Exit,
  Limits,
  Mount,
  Sandbox,
  SandboxCommand,
  SandboxProcess,
  SharedNetwork,
} from '../sandbox.ts';
import { copyFilter } from '../seccomp/filter.ts';
import { bwrapArguments, networkArguments, secretArguments } from './bwrap-arguments.ts';
import { HeldNetwork } from './held-network.ts';
import { type HostFiles, hostFiles } from './host-files.ts';
import { whyNoOverlay } from './overlay.ts';

export interface IsolatedOptions {
  /**
   * The folder for output pipes, and for the few files that sandboxes do not share with this machine. Created if it
   * does not exist.
   */
  readonly folder: string;
  /** The id of the server's data folder. This id marks all processes of this server. */
  readonly instance: string;
  /** If tools have users of their own, tool number N runs under this uid plus N. */
  readonly baseUid: number;
  /** The networks that no command may reach, in CIDR form. */
  readonly blockedNetworks: readonly string[];
  /** Folders and files of the server that no command may see, even if they are in a folder that sandboxes see. */
  readonly hidden: readonly string[];
  readonly cgroups: Cgroups;
  /**
   * The store gives each tool and each preview a number. For the number of a preview, this function returns the number
   * of its tool. It returns every other number unchanged.
   */
  readonly shareOf: (toolNumber: number) => number;
  readonly log: Pick<Log, 'error'>;
}

/** The environment of pasta, setpriv and bwrap. The command in the sandbox does not get this environment. */
export const WRAPPER_ENVIRONMENT = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' };

/** How many milliseconds a sandbox that is killed may take to end its connections to the network. */
const CLEANUP_MS = 2000;

// The value of the flag O_CLOEXEC in /proc/PID/fdinfo, on the processors that sandboxes run on.
const O_CLOEXEC = 0o2000000;

/**
 * Runs each command in its own file system, process, user and network namespace. Only commands with the same
 * `SharedNetwork` are in one network namespace. The program pasta makes the network namespace. The program bwrap makes
 * the others. Linux only.
 */
export class IsolatedSandbox implements Sandbox {
  readonly mode = 'isolated';
  readonly whyNoChanges: string | null;
  readonly whyNoFlowLimit: string | null;
  readonly #options: IsolatedOptions;
  readonly #hostFiles: HostFiles;
  readonly #fence: Fence;
  readonly #filter: string;
  /** Limits the memory of commands. Null if control groups limit it. */
  readonly #memory: MemoryWatch | null;
  readonly #kernelMemory = new KernelMemoryWatch();
  readonly hasUsers = process.getuid?.() === 0;

  private constructor(
    options: IsolatedOptions,
    { files, fence, filter }: { readonly files: HostFiles; readonly fence: Fence; readonly filter: string },
    { whyNoChanges, whyNoFlowLimit }: Pick<Sandbox, 'whyNoChanges' | 'whyNoFlowLimit'>,
  ) {
    this.#options = options;
    this.whyNoChanges = whyNoChanges;
    this.whyNoFlowLimit = whyNoFlowLimit;
    this.#hostFiles = files;
    this.#fence = fence;
    this.#filter = filter;
    this.#memory = options.cgroups.resources.includes('memory') ? null : new MemoryWatch();
  }

  /** Prepares the sandbox. @throws Error that says why this machine cannot isolate. */
  static async open(options: IsolatedOptions): Promise<IsolatedSandbox> {
    closeInherited();
    const folder = join(options.folder, 'etc');
    const filter = await copyFilter(folder);
    if (filter === null)
      throw new Error(`there is no seccomp filter for processors of the kind ${process.arch}`);
    const fence = await Fence.open({ ...options, folder });
    const files = await hostFiles(folder, {
      isFenced: (address) => fence.isFenced(address),
      hidden: options.hidden,
    });
    await fence.watch(files.forwarder);
    const [whyNoChanges, whyNoFlowLimit] = await Promise.all([
      whyNoOverlay(options.folder),
      limitFlows(options.baseUid),
    ]);
    return new IsolatedSandbox(options, { files, fence, filter }, { whyNoChanges, whyNoFlowLimit });
  }

  path(mount: Mount): string {
    return mount.target;
  }

  start(command: SandboxCommand): SandboxProcess {
    assertPassable(command);
    const processId = randomUUID();
    const shareNumber = this.#options.shareOf(command.toolNumber);
    const cgroup = this.#options.cgroups.create(processId, shareNumber, command.limits);
    const network = command.network instanceof HeldNetwork ? command.network : null;
    const held = network?.descriptors ?? null;
    const argv = bwrapArguments(command, {
      ...this.#networkParts(command.toolNumber),
      filter: this.#filter,
      isInHeldNetwork: held !== null,
      instance: this.#options.instance,
      processId,
      wrapper: INTERLEAVED,
    });
    const { child, output } = startInCgroup(cgroup, argv, {
      env: WRAPPER_ENVIRONMENT,
      cwd: '/',
      input: secretArguments(command),
      ...(held === null ? {} : { descriptors: held }),
      pipeFolder: this.#options.folder,
      endsFirst: command.endsFirst,
    });
    const pastaPid = held === null ? child.pid : undefined;
    if (pastaPid !== undefined) this.#fence.add(pastaPid);
    let hasEnded = false;
    let isOverMemory = false;
    let isToolOverMemory = false;
    let isOverKernelLimits = false;
    let wrappers: number[] = [];
    const killAll = () => {
      if (child.pid === undefined || hasEnded) return;
      for (const pid of [child.pid, ...descendantsOf(child.pid)]) signal(pid, 'SIGKILL');
    };
    let killing: NodeJS.Timeout | null = null;
    const kill = () => {
      if (child.pid === undefined || hasEnded || killing !== null) return;
      wrappers = descendantsOf(child.pid);
      const bwraps = outerBwraps();
      if (pastaPid === undefined || commandOf(bwraps) === null) return killAll();
      // Leave the shell around bwrap some time to end the connections of the sandbox.
      killing = setTimeout(killAll, CLEANUP_MS);
      for (const pid of bwraps.flatMap((bwrap) => [bwrap, ...descendantsOf(bwrap)])) signal(pid, 'SIGKILL');
    };
    const onOver = (isForTool: boolean) => {
      isOverMemory = true;
      isToolOverMemory = isForTool;
      kill();
    };
    const onOverKernelLimits = () => {
      isOverKernelLimits = true;
      kill();
    };
    const outerBwraps = () => {
      if (child.pid === undefined) return [];
      // pasta has started a shell, and the shell bwrap.
      return held === null ? childrenOf(child.pid).flatMap(childrenOf) : [child.pid];
    };
    const memory = { limitBytes: command.limits.memoryBytes, toolNumber: shareNumber };
    const watching = child.pid && this.#memory?.watch(child.pid, memory, onOver);
    const { uid } = this.#networkParts(command.toolNumber);
    const watchingKernel =
      child.pid &&
      this.#kernelMemory.watch(
        { pid: child.pid, pastaPid: pastaPid ?? network?.pid ?? null, toolNumber: shareNumber, uid },
        onOverKernelLimits,
      );

    const ended = exitOf(child).then(async (exit): Promise<Exit> => {
      hasEnded = true;
      clearTimeout(killing ?? undefined);
      if (watching) watching[Symbol.dispose]();
      if (watchingKernel) watchingKernel[Symbol.dispose]();
      if (pastaPid !== undefined) this.#fence.delete(pastaPid);
      // After a SIGKILL, wait: the kernel ends the processes in the sandbox a moment later.
      await untilGone(wrappers, 5000);
      // If pasta fails or is killed between fork and exec, the process that pasta has forked waits for ever and holds
      // the output open. So end that process. Do this only if needed: to find the process takes about 40 ms, because
      // all processes of the machine are read.
      if (exit.code !== 0 && !cgroup.isEmpty()) await endMarked(PROCESS_VARIABLE, processId);
      const isOutOfMemory = isOverMemory || cgroup.isOutOfMemory();
      const isToolOutOfMemory = isToolOverMemory || cgroup.isToolOutOfMemory();
      await cgroup.remove();
      return {
        ...exit,
        isOutOfMemory,
        ...(isToolOutOfMemory && { isToolOutOfMemory }),
        ...(isOverKernelLimits && { isOverKernelLimits }),
      };
    });

    return {
      output,
      exited: ended,
      terminate: () => {
        void terminate(outerBwraps, () => hasEnded);
      },
      kill,
      settle: () =>
        settle(() => (child.pid === undefined || hasEnded ? [] : [child.pid, ...descendantsOf(child.pid)])),
      signalMarked: async (variable, value, name) => {
        if (child.pid === undefined || hasEnded) return;
        await signalMarkedAmong(descendantsOf(child.pid), [variable, value], name);
      },
      // A tool can have thousands of sockets, so to read their list takes time. This time is charged to the tool's
      // share of the time that the server spends on output (`outputTime`).
      listeningPorts: async () =>
        await outputTime.run(String(shareNumber), () => {
          const inside = hasEnded ? null : commandOf(outerBwraps());
          return inside === null ? [] : [...new Set(listenersAround(inside).map(({ port }) => port))];
        }),
      memoryBytes: () =>
        child.pid === undefined || hasEnded
          ? null
          : (cgroup.memoryBytes() ?? this.#memory?.bytesOf(child.pid) ?? null),
    };
  }

  shareNetwork(toolNumber: number, limits: Limits): SharedNetwork {
    const cgroup = this.#options.cgroups.create(randomUUID(), this.#options.shareOf(toolNumber), limits);
    const { child, output } = startInCgroup(cgroup, networkArguments(this.#networkParts(toolNumber)), {
      env: WRAPPER_ENVIRONMENT,
      cwd: '/',
      input: 'open',
      pipeFolder: this.#options.folder,
    });
    const { pid = 0 } = child;
    if (pid > 0) this.#fence.add(pid);
    const exited = exitOf(child).then(async () => {
      this.#fence.delete(pid);
      await cgroup.remove();
    });
    const kill = () => {
      for (const each of [pid, ...descendantsOf(pid)]) signal(each, 'SIGKILL');
    };
    const end = () => {
      child.stdin?.end();
      const killing = setTimeout(kill, CLEANUP_MS);
      void exited.then(() => clearTimeout(killing));
    };
    return new HeldNetwork({ pid, output, exited, end });
  }

  #networkParts(toolNumber: number) {
    const uid = this.hasUsers ? this.#options.baseUid + toolNumber : null;
    return { hostFiles: this.#hostFiles, uid, fence: this.#fence };
  }

  async own(folders: readonly string[], toolNumber: number): Promise<void> {
    if (this.hasUsers) await chownTrees(folders, this.#options.baseUid + toolNumber);
  }
}

/** Sends SIGTERM to the command as soon as it runs. */
async function terminate(outerBwraps: () => readonly number[], hasEnded: () => boolean): Promise<void> {
  while (!hasEnded()) {
    const pid = commandOf(outerBwraps());
    if (pid !== null) return signal(pid, 'SIGTERM');
    await wait(5);
  }
}

/**
 * Returns the command's process id outside the sandbox. The outer bwrap, which a shell or this server has started, starts
 * bwrap (process 1 inside), which starts the command (process 2 inside). Null if the command has not started.
 */
function commandOf(outerBwraps: readonly number[]): number | null {
  const insides = outerBwraps.flatMap(childrenOf);
  const commands = insides.filter((pid) => namespaceIds(pid).at(-1) === 1).flatMap(childrenOf);
  return commands.find((pid) => namespaceIds(pid).at(-1) === 2) ?? null;
}

/**
 * Makes a user and the group with the same number the owner of these folders and of everything in them. Changes
 * symbolic links themselves, not their targets.
 */
async function chownTrees(folders: readonly string[], uid: number): Promise<void> {
  const large = folders.filter((folder) => {
    try {
      return !chownFew(folder, uid);
    } catch {
      // If Node.js fails, leave the folder to the program `chown`. A path below the folder may be too long for Node.js,
      // but not for `chown`, which walks by file descriptors. The error of `chown` also says more.
      return true;
    }
  });
  if (large.length === 0) return;
  await execa('chown', ['-hRP', `${uid}:${uid}`, '--', ...large], {
    env: WRAPPER_ENVIRONMENT,
    extendEnv: false,
    stdin: 'ignore',
  });
}

const MAX_FEW = 100;

/**
 * Changes the owner of a path with at most `MAX_FEW` files and folders, as `chownTrees` does. This takes less time than
 * to start the program `chown`.
 *
 * @param left - How many files and folders may still be changed.
 * @returns false if the path has more files and folders, or a name that is not UTF-8. Some files may then have been
 * changed already.
 */
function chownFew(path: string, uid: number, left = { count: MAX_FEW }): boolean {
  left.count -= 1;
  if (left.count < 0) return false;
  const names = lstatSync(path).isDirectory() ? firstNames(path, left.count + 1) : [];
  // Leave names that are not UTF-8 to `chown`: a string cannot express such a name, and Node.js puts U+FFFD into it.
  if (names.length > left.count || names.some((name) => name.includes('\uFFFD'))) return false;
  lchownSync(path, uid, uid);
  return names.every((name) => chownFew(join(path, name), uid, left));
}

/** Returns at most `most` names in a folder, because to read a million names would take a second. */
function firstNames(folder: string, most: number): string[] {
  const names: string[] = [];
  using entries = opendirSync(folder, { bufferSize: MAX_FEW });
  for (let next = entries.readSync(); next !== null && names.length < most; next = entries.readSync()) {
    names.push(next.name);
  }
  return names;
}

/**
 * Closes all descriptors that this process inherited, except the standard streams. Node.js closes only the first few in
 * its children, and pasta and bwrap pass the rest on. An open folder among them would let every tool out of its
 * sandbox.
 */
function closeInherited(): void {
  for (const fd of readdirSync('/proc/self/fd').map(Number)) {
    try {
      const [, flags = ''] = /^flags:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8')) ?? [];
      if (fd > 2 && (Number.parseInt(flags, 8) & O_CLOEXEC) === 0) closeSync(fd);
    } catch {
      // Ignore this error. The descriptor is the one by which `readdirSync` read the folder, and is already closed.
    }
  }
}
