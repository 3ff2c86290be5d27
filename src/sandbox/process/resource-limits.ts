import { readFileSync } from 'node:fs';
import type { Limits } from '../sandbox.ts';

// V8 reserves this many bytes for code at its start, and the kernel counts them as data (setrlimit(2), RLIMIT_DATA).
const RESERVED_BYTES = 768 * 1024 * 1024;
/** How many files a process may have open. With more, a tool could make the search for its deleted files endless. */
const MAX_OPEN_FILES = 16_384;

/**
 * Returns the arguments with which prlimit(1) limits each process. `--data` leaves enough for the runtime of every
 * language to start and to use `memoryBytes`. Only a control group limits the memory exactly.
 */
export function resourceLimits({ memoryBytes, fileBytes }: Limits): string[] {
  return [
    `--data=${memoryBytes + RESERVED_BYTES}`,
    `--fsize=${fileBytes}`,
    `--nofile=${Math.min(MAX_OPEN_FILES, ownOpenFiles())}`,
    '--core=0',
  ];
}

/**
 * Returns how many files this server may have open: the hard limit in proc_pid_limits(5). Tools inherit this limit, and
 * prlimit has no right to raise it.
 */
function ownOpenFiles(): number {
  try {
    const [, hard = ''] =
      /^Max open files +\S+ +(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? [];
    return Number(hard) || MAX_OPEN_FILES;
  } catch {
    return MAX_OPEN_FILES;
  }
}
