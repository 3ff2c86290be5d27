import { closeSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';

/**
 * All functions of this file except `untilGone` are synchronous: this server does nothing else between their first and
 * their last read of /proc. Processes that have ended, or that this user may not inspect, count as missing.
 */

/**
 * The most bytes that are read from a file in /proc, unless the caller gives another limit. A process can make some of
 * its files gigabytes large.
 */
const MAX_BYTES = 64 * 1024;
/** The largest environment that a program can be started with (execve(2)). */
const MAX_ENVIRONMENT_BYTES = 6 * 1024 * 1024;
/**
 * The most bytes that are read from a list of sockets. Only listening sockets are needed, and the list begins with
 * them.
 */
const MAX_SOCKET_BYTES = 256 * 1024;

/** Lists the ids of all processes. The list is empty if there is no /proc. */
export function processIds(): number[] {
  return names('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** Returns the arguments of a process, cut after 64 KiB. */
export function argumentsOf(pid: number): string[] {
  return read(`/proc/${pid}/cmdline`).split('\0').slice(0, -1);
}

/** Returns the environment that the process was started with, as `NAME=value`. */
export function environmentOf(pid: number): string[] {
  return read(`/proc/${pid}/environ`, MAX_ENVIRONMENT_BYTES).split('\0').slice(0, -1);
}

/** True if the text occurs in the arguments of the process, or in the environment that it was started with. */
export function mentions(pid: number, text: string): boolean {
  return (
    bytesOf(`/proc/${pid}/environ`, MAX_ENVIRONMENT_BYTES).includes(text) ||
    bytesOf(`/proc/${pid}/cmdline`, MAX_BYTES).includes(text)
  );
}

/** Returns the id of the process in each process namespace, the outermost namespace first. */
export function namespaceIds(pid: number): number[] {
  const line = /^NSpid:\s*(.*)$/m.exec(read(`/proc/${pid}/status`))?.[1] ?? '';
  return line.split(/\s+/).filter(Boolean).map(Number);
}

/** Returns the ids of the process's children. */
export function childrenOf(pid: number): number[] {
  return names(`/proc/${pid}/task`).flatMap((thread) =>
    // Each id ends with a space. Text after the last space is a part of an id, because reading stops at a limit.
    read(`/proc/${pid}/task/${thread}/children`).split(' ').slice(0, -1).map(Number),
  );
}

/** Returns the ids of all descendants of the process, without its own id. */
export function descendantsOf(pid: number): number[] {
  return childrenOf(pid).flatMap((child) => [child, ...descendantsOf(child)]);
}

/**
 * Returns the memory that processes use together, in bytes, without mapped files and swap space. Memory that several of
 * these processes share counts once for each.
 */
export function memoryOf(pids: readonly number[]): number {
  const kibibytes = pids.flatMap((pid) =>
    [...read(`/proc/${pid}/status`).matchAll(/^Rss(?:Anon|Shmem):\s*(\d+) kB$/gm)].map(([, size]) =>
      Number(size),
    ),
  );
  return 1024 * kibibytes.reduce((sum, size) => sum + size, 0);
}

/** True if the process runs. A zombie does not count as running. */
export function isRunning(pid: number): boolean {
  const state = /^State:\s*(\w)/m.exec(read(`/proc/${pid}/status`))?.[1];
  return state !== undefined && state !== 'Z' && state !== 'X';
}

/** Returns the id of the process's group, or null if the process has ended. */
export function groupOf(pid: number): number | null {
  // The program's name in parentheses may hold anything, so the fields are counted after the last parenthesis
  // (proc(5)).
  const fields = read(`/proc/${pid}/stat`).split(') ').at(-1)?.split(' ') ?? [];
  return fields.length > 2 ? Number(fields[2]) : null;
}

interface Listener {
  readonly port: number;
  readonly inode: string;
}

/**
 * Lists the listening TCP sockets in the network namespace of the process `pid`. The list is incomplete if the kernel's
 * list of sockets has more than 256 KiB (`MAX_SOCKET_BYTES`).
 */
export function listenersAround(pid: number): Listener[] {
  return ['tcp', 'tcp6'].flatMap((table) =>
    read(`/proc/${pid}/net/${table}`, MAX_SOCKET_BYTES)
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter((fields) => fields[3] === '0A')
      .map((fields) => ({
        port: Number.parseInt(fields[1]?.split(':')[1] ?? '', 16),
        inode: fields[9] ?? '',
      })),
  );
}

/** Returns the inodes of the sockets that the processes `pids` hold open. */
export function socketsOf(pids: readonly number[]): Set<string> {
  const links = pids.flatMap((pid) => names(`/proc/${pid}/fd`).map((fd) => link(`/proc/${pid}/fd/${fd}`)));
  return new Set(links.flatMap((target) => /^socket:\[(\d+)\]$/.exec(target)?.[1] ?? []));
}

/**
 * Returns the ids of all processes, without this server, that hold an open file for which a link in `/proc/PID/fd` ends
 * with `linkEnding`.
 */
export function holdersOf(linkEnding: string): number[] {
  return processIds().filter(
    (pid) =>
      pid !== process.pid &&
      names(`/proc/${pid}/fd`).some((fd) => link(`/proc/${pid}/fd/${fd}`).endsWith(linkEnding)),
  );
}

/**
 * Sends a signal to a process, or to a process group if `pid` is negative. Does nothing if the process has already
 * ended, or if `pid` is 0, 1 or -1. By these, kill(2) means the caller's own group, init, and every process.
 * `cgroup.procs` lists a process of another PID namespace as 0 (cgroups(7)).
 */
export function signal(pid: number, name: NodeJS.Signals): void {
  if (Math.abs(pid) <= 1) return;
  try {
    process.kill(pid, name);
  } catch {
    // Ignore ESRCH, because the process has ended, and EPERM, because its id now belongs to another user's process.
  }
}

/** Waits at most `limitMs` until none of the processes `pids` runs. @returns true if all of them have ended. */
export async function untilGone(pids: readonly number[], limitMs: number): Promise<boolean> {
  const end = performance.now() + limitMs;
  while (pids.some(isRunning)) {
    if (performance.now() > end) return false;
    await wait(5);
  }
  return true;
}

function read(path: string, mostBytes = MAX_BYTES): string {
  return bytesOf(path, mostBytes).toString('utf8');
}

// All reads use one buffer, because many buffers of this size would make V8 collect garbage often.
const piece = Buffer.allocUnsafe(MAX_BYTES);

function bytesOf(path: string, mostBytes: number): Buffer {
  const chunks: Buffer[] = [];
  try {
    const file = openSync(path, 'r');
    try {
      for (let left = mostBytes; left > 0; ) {
        const count = readSync(file, piece, 0, Math.min(left, piece.length), null);
        if (count === 0) break;
        chunks.push(Buffer.from(piece.subarray(0, count)));
        left -= count;
      }
    } finally {
      closeSync(file);
    }
  } catch {
    // Return no bytes: the process has ended, or belongs to another user.
    return Buffer.alloc(0);
  }
  return Buffer.concat(chunks);
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
