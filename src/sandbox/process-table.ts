import { closeSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';

/**
 * What /proc says about processes, read at once so that the answer is of one moment. A process that is gone,
 * or that this user may not look at, is as if it were not there.
 */

/** A process decides itself how much many files of /proc say about it: gigabytes, if it likes. */
const MOST_BYTES = 64 * 1024;
/** execve(2): no program is given more. */
const MOST_ENVIRONMENT_BYTES = 6 * 1024 * 1024;
/** The sockets that listen come first. */
const MOST_SOCKET_BYTES = 256 * 1024;

/** The ids of all processes; none where there is no /proc. */
export function processIds(): number[] {
  return names('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** The first 64 KiB of the argument list. */
export function argumentsOf(pid: number): string[] {
  return read(`/proc/${pid}/cmdline`).split('\0').slice(0, -1);
}

/** The environment that it was started with, as `NAME=value`. */
export function environmentOf(pid: number): string[] {
  return read(`/proc/${pid}/environ`, MOST_ENVIRONMENT_BYTES).split('\0').slice(0, -1);
}

/** Its id in each process namespace, the outermost first. */
export function namespaceIds(pid: number): number[] {
  const line = /^NSpid:\s*(.*)$/m.exec(read(`/proc/${pid}/status`))?.[1] ?? '';
  return line.split(/\s+/).filter(Boolean).map(Number);
}

/** What it started itself and has not ended. */
export function childrenOf(pid: number): number[] {
  return names(`/proc/${pid}/task`).flatMap((thread) =>
    // Each id ends with a space. The text behind the last space is a part of an id, where reading has stopped.
    read(`/proc/${pid}/task/${thread}/children`).split(' ').slice(0, -1).map(Number),
  );
}

/** What it and those started, without itself. */
export function descendantsOf(pid: number): number[] {
  return childrenOf(pid).flatMap((child) => [child, ...descendantsOf(child)]);
}

/** True while it runs; an ended process that nobody has asked for yet (a zombie) does not. */
export function isRunning(pid: number): boolean {
  const state = /^State:\s*(\w)/m.exec(read(`/proc/${pid}/status`))?.[1];
  return state !== undefined && state !== 'Z' && state !== 'X';
}

/** The id of its process group, or null. */
export function groupOf(pid: number): number | null {
  // proc(5): the name in parentheses may hold anything, so the fields are counted after the last one.
  const fields = read(`/proc/${pid}/stat`).split(') ').at(-1)?.split(' ') ?? [];
  return fields.length > 2 ? Number(fields[2]) : null;
}

interface Listener {
  readonly port: number;
  readonly inode: string;
}

/** The TCP sockets that listen in the network namespace of this process, of many only some. */
export function listenersAround(pid: number): Listener[] {
  return ['tcp', 'tcp6'].flatMap((table) =>
    read(`/proc/${pid}/net/${table}`, MOST_SOCKET_BYTES)
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter((fields) => fields[3] === '0A')
      .map((fields) => ({
        port: Number.parseInt(fields[1]?.split(':')[1] ?? '', 16),
        inode: fields[9] ?? '',
      })),
  );
}

/** The inodes of the sockets that these processes hold. */
export function socketsOf(pids: readonly number[]): Set<string> {
  const links = pids.flatMap((pid) => names(`/proc/${pid}/fd`).map((fd) => link(`/proc/${pid}/fd/${fd}`)));
  return new Set(links.flatMap((target) => /^socket:\[(\d+)\]$/.exec(target)?.[1] ?? []));
}

/** The other processes that hold a file open whose link ends like this. */
export function holdersOf(linkEnding: string): number[] {
  return processIds().filter(
    (pid) =>
      pid !== process.pid &&
      names(`/proc/${pid}/fd`).some((fd) => link(`/proc/${pid}/fd/${fd}`).endsWith(linkEnding)),
  );
}

/** Sends a signal; a process that is gone already is no error. */
export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // ESRCH: gone. EPERM: not ours any more, the id belongs to another by now.
  }
}

/** Waits until none of them runs, at most `limitMs`. @returns whether all are gone. */
export async function untilGone(pids: readonly number[], limitMs: number): Promise<boolean> {
  const end = performance.now() + limitMs;
  while (pids.some(isRunning)) {
    if (performance.now() > end) return false;
    await wait(5);
  }
  return true;
}

function read(path: string, mostBytes = MOST_BYTES): string {
  const chunks: Buffer[] = [];
  try {
    const file = openSync(path, 'r');
    try {
      for (let left = mostBytes; left > 0; ) {
        const chunk = Buffer.allocUnsafe(Math.min(left, MOST_BYTES));
        const count = readSync(file, chunk);
        if (count === 0) break;
        chunks.push(chunk.subarray(0, count));
        left -= count;
      }
    } finally {
      closeSync(file);
    }
  } catch {
    // It is gone, or belongs to somebody else.
    return '';
  }
  return Buffer.concat(chunks).toString('utf8');
}

function names(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function link(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
