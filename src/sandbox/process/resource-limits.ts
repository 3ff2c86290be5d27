import { readFileSync } from 'node:fs';
import type { Limits } from '../sandbox.ts';

// V8 reserves this many bytes for code at its start, and the kernel counts them as data (setrlimit(2), RLIMIT_DATA).
const RESERVED_BYTES = 768 * 1024 * 1024;
/** With more descriptors, a tool could make the search for its deleted files endless. */
const MAX_OPEN_FILES = 16_384;

/**
 * Returns the arguments with which prlimit(1) limits each process. With the limit of data, the runtime of every language
 * can start and use its memory; only the limit of a control group is exact.
 */
export function resourceLimits({ memoryBytes, fileBytes }: Limits): string[] {
  return [
    `--data=${memoryBytes + RESERVED_BYTES}`,
    `--fsize=${fileBytes}`,
    `--nofile=${Math.min(MAX_OPEN_FILES, ownOpenFiles())}`,
    '--core=0',
  ];
}

/** How many files this server may have open (proc_pid_limits(5), the hard limit). A process cannot give more to others. */
function ownOpenFiles(): number {
  try {
    const [, hard = ''] =
      /^Max open files +\S+ +(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? [];
    return Number(hard) || MAX_OPEN_FILES;
  } catch {
    return MAX_OPEN_FILES;
  }
}
