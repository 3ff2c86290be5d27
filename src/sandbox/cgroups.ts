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
import { dirname, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { signal } from './process-table.ts';
import type { Limits } from './sandbox.ts';

export interface CgroupsOptions {
  readonly instance: string;
  /** A cgroup v2 folder that the operator delegated to this server (`Delegate=yes`); null = look for one. */
  readonly delegated?: string | null;
  /** Where the hierarchies are mounted, and what says where this process is in them. */
  readonly mount?: string;
  readonly membership?: string;
}

/** pasta, bwrap twice and a shell count too. */
const WRAPPERS = 8;

/**
 * A group for `cpu` has the usual weight, whatever is in it: that of a tool too. Without one each session counts as much as this server
 * (sched(7), autogroup), and anybody makes sessions.
 */
const RESOURCES = ['cpu', 'memory', 'pids'] as const;

/**
 * Control groups, where they can be had. A folder that another manager (systemd, a container runtime) made is
 * not written to unless it was handed over: in version 1 only hierarchies in whose root this server is, in
 * version 2 a folder that belongs to this user or that the operator named.
 *
 * @see https://systemd.io/CGROUP_DELEGATION/
 */
export class Cgroups {
  readonly #bases: readonly Base[];
  readonly #prefix: string;

  constructor(options: CgroupsOptions) {
    this.#prefix = `toolforge-push-${options.instance}-`;
    this.#bases = findBases(options);
  }

  /** Which resources a group limits here: some of `memory`, `pids` and `cpu`. */
  get resources(): string[] {
    return this.#bases.flatMap((base) => base.resources);
  }

  /**
   * A new group for one start, in the group of its tool: however many processes a tool has, it has one share of the
   * processors. If the kernel refuses a group, it limits less or nothing.
   */
  create(name: string, toolNumber: number, limits: Limits): Cgroup {
    const folders = this.#bases.flatMap((base) => {
      const tool = join(base.folder, `${this.#prefix}tool-${toolNumber}`);
      if (attempt(() => mkdirSync(tool))) passOn(base, tool);
      const folder = join(tool, name);
      return attempt(() => mkdirSync(folder)) ? [limit(base, folder, limits)] : [];
    });
    return new Cgroup(
      folders,
      folders.map((folder) => dirname(folder)),
    );
  }

  /** Removes the groups that an earlier server left; their processes must have ended. */
  async removeLeftovers(): Promise<void> {
    const folders = this.#bases.flatMap(({ folder }) =>
      readdirSync(folder)
        .filter((name) => name.startsWith(this.#prefix))
        .flatMap((name) => withInner(join(folder, name))),
    );
    await new Cgroup(folders).remove();
  }
}

/** One group, in one hierarchy or several. */
export class Cgroup {
  readonly #folders: readonly string[];
  readonly #outer: readonly string[];

  /** @param outer - The groups around it, which go with the last group in them. */
  constructor(folders: readonly string[], outer: readonly string[] = []) {
    this.#folders = folders;
    this.#outer = outer;
  }

  /** The files that a process writes its id into to be in the group. */
  get entrances(): string[] {
    return this.#folders.map((folder) => join(folder, 'cgroup.procs'));
  }

  /** True where the kernel ended a process of the group for its memory. */
  isOutOfMemory(): boolean {
    const counts = this.#folders.flatMap((folder) => [
      read(join(folder, 'memory.events')),
      read(join(folder, 'memory.oom_control')),
    ]);
    return counts.some((text) => Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0) > 0);
  }

  kill(): void {
    for (const pid of this.entrances.flatMap((file) => read(file).split('\n').filter(Boolean))) {
      signal(Number(pid), 'SIGKILL');
    }
  }

  /** The kernel lets go of ended processes a little later, so it may take a few attempts. */
  async remove(): Promise<void> {
    for (const folder of this.#folders) {
      for (let count = 0; count < 50 && existsSync(folder); count += 1) {
        if (!attempt(() => rmdirSync(folder))) await wait(20);
      }
    }
    // One stays while something else is in it.
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

/** As root everything is writable, so only a root folder, as in a container of our own, is ours. */
function isOurs(folder: string, isRoot: boolean): boolean {
  if (!isWritable(folder)) return false;
  return process.getuid?.() === 0 ? isRoot : statSync(folder).uid === process.getuid?.();
}

/** Version 2: a group with children has no processes of its own, so this server moves into a child first. */
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

/** Version 2: what is limited or shared in the groups inside of this one. */
function passOn({ version, resources }: Pick<Base, 'version' | 'resources'>, folder: string): void {
  if (version === 1) return;
  for (const resource of resources) {
    attempt(() => writeFileSync(join(folder, 'cgroup.subtree_control'), `+${resource}`));
  }
}

/** A group and those in it, the innermost first. */
function withInner(folder: string): string[] {
  const inner = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return [...inner.flatMap(({ name }) => withInner(join(folder, name))), folder];
}

function limit(base: Base, folder: string, limits: Limits): string {
  const memoryFile = base.version === 2 ? 'memory.max' : 'memory.limit_in_bytes';
  if (base.resources.includes('memory')) {
    attempt(() => writeFileSync(join(folder, memoryFile), String(limits.memoryBytes)));
    if (base.version === 2) attempt(() => writeFileSync(join(folder, 'memory.oom.group'), '1'));
  }
  if (base.resources.includes('pids')) {
    attempt(() => writeFileSync(join(folder, 'pids.max'), String(limits.processes + WRAPPERS)));
  }
  return folder;
}

function isWritable(folder: string): boolean {
  return attempt(() => accessSync(join(folder, 'cgroup.procs'), constants.W_OK));
}

/** Whether it went well: everything here is a limit on top of those that always hold. */
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
