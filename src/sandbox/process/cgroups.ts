import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { isWholeRoot } from '../../settings/account.ts';
import type { Limits } from '../sandbox.ts';
import { signal } from './process-table.ts';
import { ToolsQuota } from './tools-quota.ts';

export interface CgroupsOptions {
  readonly instance: string;
  /** A cgroup v2 folder to use in place of this server's own group. Only tests set it. */
  readonly delegated?: string | null;
  /** The mount point of the control groups (`mount`), and the file that names this process's groups (`membership`). */
  readonly mount?: string;
  readonly membership?: string;
}

/**
 * How many processes a control group may have in addition to `Limits.processes`: the programs that start the command
 * (pasta, bwrap twice, a shell) count too.
 */
const WRAPPERS = 8;

/**
 * All processes of one tool together may have at most this part of the process ids of the machine. If one tool could
 * take all ids, nobody could start a program.
 */
const PART_OF_IDS = 1 / 8;
/**
 * A tool may always have this many process ids, even if `PART_OF_IDS` gives it fewer. But no tool may have more than
 * half of all ids.
 */
const LEAST_IDS = 512;
/**
 * All commands of one tool together may have this part of the memory, or as much as one of them may have alone if that
 * is more.
 */
const PART_OF_MEMORY = 1 / 2;

/**
 * The resources that control groups limit. The `cpu` group of each tool has the default weight, however many processes
 * run in it. Without groups, each session would get as much processor time as this server (sched(7), autogroup), and a
 * tool can create many sessions.
 */
const RESOURCES = ['cpu', 'memory', 'pids'] as const;

/**
 * Puts commands into control groups if this server may create them. Never writes to a folder that another program
 * (systemd, a container runtime) manages, unless that program has delegated the folder to this server. In version 1 of
 * control groups, uses a hierarchy only if this server is in its root group. In version 2, uses this server's own group
 * if root runs this server and the group is the root group, or if another user runs this server and owns the folder of
 * the group.
 *
 * @see https://systemd.io/CGROUP_DELEGATION/
 */
export class Cgroups {
  readonly #bases: readonly Base[];
  readonly #prefix: string;
  #quota: ToolsQuota | null = null;

  constructor(options: CgroupsOptions) {
    this.#prefix = `toolforge-push-${options.instance}-`;
    this.#bases = findBases(options);
  }

  /** The resources that control groups limit on this machine: any of `memory`, `pids` and `cpu`, or none. */
  get resources(): string[] {
    return this.#bases.flatMap((base) => base.resources);
  }

  /**
   * Makes a control group for one start of a command, inside the group of its tool, which is inside the group of all
   * tools. So a tool has one share of the processors. If the kernel refuses, the group limits less or nothing.
   */
  create(name: string, toolNumber: number, limits: Limits): Cgroup {
    const folders = this.#bases.flatMap((base) => {
      const tool = join(this.#groupOfTools(base), `tool-${toolNumber}`);
      if (attempt(() => mkdirSync(tool))) passOn(base, tool);
      if (base.resources.includes('pids'))
        attempt(() => writeFileSync(join(tool, 'pids.max'), mostIds(base)));
      if (base.resources.includes('memory')) limitMemory(base, tool, mostMemory(base, tool, limits));
      const folder = join(tool, name);
      return attempt(() => mkdirSync(folder)) ? [limit(base, folder, limits)] : [];
    });
    return new Cgroup(
      folders,
      folders.flatMap((folder) => [dirname(folder), dirname(dirname(folder))]),
    );
  }

  /** Returns the control group of all tools. Makes it if there is none. */
  #groupOfTools(base: Base): string {
    const folder = join(base.folder, `${this.#prefix}tools`);
    if (!attempt(() => mkdirSync(folder))) return folder;
    passOn(base, folder);
    if (base.resources.includes('cpu')) {
      this.#quota ??= new ToolsQuota(folder, base.version, base.folder);
      this.#quota.apply();
    }
    return folder;
  }

  /** Removes the control groups of an earlier server. The processes in these groups must have ended. */
  async removeLeftovers(): Promise<void> {
    const folders = this.#bases.flatMap(({ folder }) =>
      readdirSync(folder)
        .filter((name) => name.startsWith(this.#prefix))
        .flatMap((name) => withInner(join(folder, name))),
    );
    await new Cgroup(folders).remove();
  }
}

/** The control group of one start of a command, in one or several hierarchies. */
export class Cgroup {
  readonly #folders: readonly string[];
  readonly #outer: readonly string[];

  /**
   * @param outer - The groups that contain this group: those of its tool, and those of all tools. `remove` also removes
   * those that are then empty.
   */
  constructor(folders: readonly string[], outer: readonly string[] = []) {
    this.#folders = folders;
    this.#outer = outer;
  }

  /** The files through which a process joins this control group: the process writes its id into each file. */
  get entrances(): string[] {
    return this.#folders.map((folder) => join(folder, 'cgroup.procs'));
  }

  /** True if the group has no process. False if there is no group. */
  isEmpty(): boolean {
    return this.#folders.length > 0 && this.entrances.every((file) => existsSync(file) && read(file) === '');
  }

  /** True if the kernel killed a process of the group because the group or the machine had no memory left. */
  isOutOfMemory(): boolean {
    const counts = this.#folders.flatMap((folder) => [
      read(join(folder, 'memory.events')),
      read(join(folder, 'memory.oom_control')),
    ]);
    return counts.some((text) => Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0) > 0);
  }

  /**
   * True if the kernel killed a process of this group because all processes of the tool together had reached their
   * memory limit, while this group had not reached its own. Only version 2 of control groups can tell this, so always
   * false with version 1.
   */
  isToolOutOfMemory(): boolean {
    // `oom` counts how often a group itself had no memory left: "memory.events.local" in the kernel's documentation.
    const reached = (folder: string) => /^oom [1-9]/m.test(read(join(folder, 'memory.events.local')));
    const isOwn = this.#folders.some(reached);
    return this.isOutOfMemory() && !isOwn && this.#outer.some(reached);
  }

  /**
   * The memory that the group uses, in bytes, without file pages that the kernel can drop at once. The kubelet measures
   * the memory of a pod in the same way. Null if control groups do not measure the memory.
   */
  memoryBytes(): number | null {
    for (const folder of this.#folders) {
      const used = read(join(folder, 'memory.current')) || read(join(folder, 'memory.usage_in_bytes'));
      if (used === '') continue;
      const statistics = read(join(folder, 'memory.stat'));
      const droppable = /^inactive_file (\d+)$/m.exec(statistics)?.[1] ?? 0;
      return Math.max(0, Number(used) - Number(droppable));
    }
    return null;
  }

  kill(): void {
    for (const pid of this.entrances.flatMap((file) => read(file).split('\n').filter(Boolean))) {
      signal(Number(pid), 'SIGKILL');
    }
  }

  /**
   * Removes the control group. Tries for about a second, because the kernel releases ended processes a little later. If
   * that fails, leaves the group.
   */
  async remove(): Promise<void> {
    for (const folder of this.#folders) {
      for (let count = 0; count < 50 && existsSync(folder); count += 1) {
        if (!attempt(() => rmdirSync(folder))) await wait(20);
      }
    }
    // A group stays if it has other groups in it: rmdir(2) then fails.
    for (const folder of this.#outer) attempt(() => rmdirSync(folder));
  }
}

interface Base {
  readonly version: 1 | 2;
  readonly folder: string;
  readonly resources: readonly string[];
}

function findBases(options: CgroupsOptions): Base[] {
  const mount = options.mount ?? '/sys/fs/cgroup';
  const lines = read(options.membership ?? '/proc/self/cgroup').split('\n');
  if (existsSync(join(mount, 'cgroup.controllers'))) {
    const path = lines.find((line) => line.startsWith('0::'))?.slice(3);
    const own = path === undefined ? null : join(mount, path);
    const folder = options.delegated ?? (own !== null && isOurs(own, path === '/') ? own : null);
    return folder === null ? [] : unifiedBase(folder);
  }
  return RESOURCES.flatMap((resource) => {
    const isInRoot = lines.some((line) => new RegExp(`^\\d+:(\\w+,)*${resource}(,\\w+)*:/$`).test(line));
    const folder = join(mount, resource);
    return isInRoot && isWritable(folder) ? [{ version: 1 as const, folder, resources: [resource] }] : [];
  });
}

/**
 * True if this server may use the control group. Root can write to every group, so a server that runs as root may use
 * only the root group, as it has in a container. Any other server may use only a group that belongs to its user.
 */
function isOurs(folder: string, isRoot: boolean): boolean {
  if (!isWritable(folder)) return false;
  return isWholeRoot() ? isRoot : statSync(folder).uid === process.getuid?.();
}

/**
 * Prepares a control group of version 2 (cgroup2) for this server. A group that limits inner groups may not contain
 * processes, so this server moves itself into an inner group first.
 */
function unifiedBase(folder: string): Base[] {
  const server = join(folder, 'server');
  attempt(() => mkdirSync(server));
  attempt(() => writeFileSync(join(server, 'cgroup.procs'), String(process.pid)));
  passOn({ version: 2, resources: RESOURCES }, folder);
  const enabled = read(join(folder, 'cgroup.subtree_control')).split(/\s+/);
  const resources = RESOURCES.filter((resource) =>
    enabled.some((word) => word === resource || word === `+${resource}`),
  );
  return resources.length === 0 ? [] : [{ version: 2, folder, resources }];
}

/** Allows the groups inside the group `folder` to limit the resources. Only version 2 of control groups needs this. */
function passOn({ version, resources }: Pick<Base, 'version' | 'resources'>, folder: string): void {
  if (version === 1) return;
  for (const resource of resources) {
    attempt(() => writeFileSync(join(folder, 'cgroup.subtree_control'), `+${resource}`));
  }
}

/** Lists a group and all groups in it, the innermost first. */
function withInner(folder: string): string[] {
  const inner = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return [...inner.flatMap(({ name }) => withInner(join(folder, name))), folder];
}

function limit(base: Base, folder: string, limits: Limits): string {
  if (base.resources.includes('memory')) {
    limitMemory(base, folder, limits.memoryBytes);
    if (base.version === 2) attempt(() => writeFileSync(join(folder, 'memory.oom.group'), '1'));
  }
  if (base.resources.includes('pids')) {
    attempt(() => writeFileSync(join(folder, 'pids.max'), String(limits.processes + WRAPPERS)));
  }
  return folder;
}

function limitMemory({ version }: Base, folder: string, bytes: number): void {
  const write = (file: string, value: number) =>
    attempt(() => writeFileSync(join(folder, file), String(value)));
  // Limit the swap space too. Otherwise the processes would fill the swap space of the machine.
  if (version === 2) {
    write('memory.max', bytes);
    write('memory.swap.max', 0);
    return;
  }
  // The limit of memory with swap space may never be lower than the limit without swap space. So write it first, in
  // case it must rise, and again last, in case it must fall.
  write('memory.memsw.limit_in_bytes', bytes);
  write('memory.limit_in_bytes', bytes);
  write('memory.memsw.limit_in_bytes', bytes);
}

function isWritable(folder: string): boolean {
  return attempt(() => accessSync(join(folder, 'cgroup.procs'), constants.W_OK));
}

/**
 * How many processes and threads all commands of one tool together may have: a part of what the machine and the
 * server's control group may have.
 */
function mostIds({ folder }: Base): string {
  const files = ['/proc/sys/kernel/pid_max', '/proc/sys/kernel/threads-max', join(folder, 'pids.max')];
  const most = Math.min(...files.map((file) => Number(read(file))).filter((limit) => limit > 0));
  if (!Number.isFinite(most)) return 'max';
  return String(Math.floor(Math.max(most * PART_OF_IDS, Math.min(LEAST_IDS, most / 2))));
}

/**
 * How much memory all commands of one tool together may have, in bytes: a part of what the machine and the server's
 * control group may have, but at least the limit of the new command, and of each running command of the tool.
 */
function mostMemory({ folder }: Base, tool: string, { memoryBytes }: Limits): number {
  const limitOf = (one: string): number => {
    const limit = Number(read(join(one, 'memory.max')) || read(join(one, 'memory.limit_in_bytes')));
    // A group without a limit has the text `max`, or in version 1 a number near 2 ** 63. Both count as no limit.
    return limit > 0 && limit < 2 ** 60 ? limit : Number.NaN;
  };
  const machine = Math.min(totalmem(), limitOf(folder) || totalmem());
  const running = withInner(tool).filter((one) => one !== tool);
  return Math.max(
    Math.floor(machine * PART_OF_MEMORY),
    memoryBytes,
    ...running.map((one) => limitOf(one) || 0),
  );
}

/** True if `action` succeeded. Ignores errors, because control groups only add to the limits of prlimit(1). */
function attempt(action: () => unknown): boolean {
  try {
    action();
    return true;
  } catch {
    return false;
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
