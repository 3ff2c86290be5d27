import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import { outputTime } from '../core/fair-share/time-shares.ts';
import { assertPassable } from './process/argument-limits.ts';
import type { Cgroups } from './process/cgroups.ts';
import {
  endMarked,
  INSTANCE_VARIABLE,
  markedProcesses,
  PROCESS_VARIABLE,
  signalMarkedAmong,
} from './process/marked-processes.ts';
import {
  groupOf,
  listenersAround,
  memoryOf,
  processIds,
  signal,
  socketsOf,
  untilGone,
} from './process/process-table.ts';
import { resourceLimits } from './process/resource-limits.ts';
import { exitOf, INTERLEAVED, settle, startInCgroup } from './process/sandbox-child.ts';
import type {
  Exit,
  Limits,
  Mount,
  Sandbox,
  SandboxCommand,
  SandboxProcess,
  SharedNetwork,
} from './sandbox.ts';

export interface TrustedOptions {
  /** An existing folder of the server, for the output pipes. */
  readonly folder: string;
  /** The id of the server's data folder. This id marks all processes of this server. */
  readonly instance: string;
  readonly cgroups: Cgroups;
}

/**
 * Runs commands without isolation: as the server's user, with real paths and this machine's network. Suits only one
 * trusted user. The environment is still clean, and everything that a command starts ends with the command. The number
 * of processes and their memory together are limited only if there are control groups.
 */
export class TrustedSandbox implements Sandbox {
  readonly mode = 'trusted';
  readonly whyNoChanges = 'tools are not isolated';
  readonly whyNoFlowLimit = null;
  readonly hasUsers = false;
  readonly #options: TrustedOptions;

  constructor(options: TrustedOptions) {
    this.#options = options;
  }

  path(mount: Mount): string {
    return mount.source;
  }

  /** Starts nothing, because all commands use this machine's network. */
  shareNetwork(): SharedNetwork {
    return { [Symbol.dispose]: () => {} };
  }

  start(command: SandboxCommand): SandboxProcess {
    assertPassable(command);
    const processId = randomUUID();
    const cgroup = this.#options.cgroups.create(processId, command.toolNumber, command.limits);
    const { child, output, writers } = startInCgroup(
      cgroup,
      [...INTERLEAVED, ...limits(command.limits), ...command.argv],
      {
        env: {
          ...command.env,
          [INSTANCE_VARIABLE]: this.#options.instance,
          [PROCESS_VARIABLE]: processId,
        },
        cwd: command.cwd,
        input: null,
        pipeFolder: this.#options.folder,
        endsFirst: command.endsFirst,
      },
    );
    const pid = child.pid ?? null;
    let hasEnded = false;

    /**
     * Returns the command's processes: those in its process group, and those that left the group but still have
     * `PROCESS_VARIABLE` in their environment.
     */
    const members = () => [
      ...new Set([
        ...processIds().filter((id) => pid !== null && groupOf(id) === pid),
        ...markedProcesses(PROCESS_VARIABLE, processId),
      ]),
    ];
    const killAll = () => {
      // First kill the whole process group by one signal. If processes were only killed one by one, a process could
      // escape by forking.
      if (pid !== null) signal(-pid, 'SIGKILL');
      cgroup.kill();
      for (const id of members()) signal(id, 'SIGKILL');
    };

    const exited = exitOf(child).then(async (exit): Promise<Exit> => {
      hasEnded = true;
      killAll();
      await endMarked(PROCESS_VARIABLE, processId);
      await untilGone(members(), 5000);
      // Kill also a daemon that was started without `PROCESS_VARIABLE` and holds the output pipe open. Otherwise the
      // output would never end.
      for (const id of writers()) signal(id, 'SIGKILL');
      const isOutOfMemory = cgroup.isOutOfMemory();
      const isToolOutOfMemory = cgroup.isToolOutOfMemory();
      await cgroup.remove();
      return { ...exit, isOutOfMemory, ...(isToolOutOfMemory && { isToolOutOfMemory }) };
    });

    return {
      output,
      exited,
      terminate: () => {
        if (pid !== null && !hasEnded) signal(pid, 'SIGTERM');
      },
      kill: () => {
        if (!hasEnded) killAll();
      },
      settle: () => settle(() => (hasEnded ? [] : members())),
      signalMarked: async (variable, value, name) => {
        if (!hasEnded) await signalMarkedAmong(members(), [variable, value], name);
      },
      listeningPorts: async () => {
        if (pid === null || hasEnded) return [];
        if (existsSync('/proc/self/net/tcp'))
          return await outputTime.run(String(command.toolNumber), () => portsOf(members()));
        const port = command.publish?.outside;
        return port !== undefined && (await isOpen(port)) ? [port] : [];
      },
      memoryBytes: () => (pid === null || hasEnded ? null : (cgroup.memoryBytes() ?? memoryOf(members()))),
    };
  }

  async own(): Promise<void> {
    // Nothing to do: without isolation, all files belong to the server's user.
  }
}

/**
 * Returns the words that, put before a command, set its limits. Does not limit the number of processes, because the
 * kernel would count all processes of the server's user. Returns no words if prlimit(1) is not installed.
 */
function limits(given: Limits): string[] {
  if (!existsSync('/usr/bin/prlimit')) return [];
  return ['/usr/bin/prlimit', ...resourceLimits(given), '--'];
}

function portsOf(pids: readonly number[]): number[] {
  const sockets = socketsOf(pids);
  const own = listenersAround(process.pid).filter(({ inode }) => sockets.has(inode));
  return [...new Set(own.map(({ port }) => port))];
}

/** True if a process listens on the port. Finds out by connecting, for systems without /proc. */
function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const finish = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(1000, () => finish(false));
    socket.once('connect', () => finish(true)).once('error', () => finish(false));
  });
}
