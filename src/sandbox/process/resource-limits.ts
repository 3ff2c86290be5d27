import { readFileSync } from 'node:fs';
import type { Limits } from '../sandbox.ts';

// V8 reserves this many bytes for code at its start, and the kernel counts them as data (setrlimit(2), RLIMIT_DATA).
const RESERVED_BYTES = 768 * 1024 * 1024;
/**
 * How many files a process may have open, and how many entries it may give to one call of poll(2). With more files, a
 * tool could make the search for its deleted files endless. With more entries, the processes of a tool could wait for
 * one file in millions of entries. The kernel walks them all at once, with interrupts off, when somebody writes to the
 * file, and no control group counts their memory. Programs of builds need fewer than 1,024, the default of most
 * systems.
 */
const MAX_OPEN_FILES = 2048;
/**
 * How many pending signals and POSIX timers (timer_create(2)) a sandbox may have. If the server is not root, the kernel
 * also counts the signals and timers of all tools together.
 */
const MAX_PENDING = 2048;
/**
 * The largest core dump. The kernel writes no dump of one byte. If the machine gives core dumps to a program (a pipe in
 * core_pattern, core(5)), the kernel starts this program as root for each crash, also with the limit 0, but not with 1.
 */
const CORE_BYTES = 1;

/**
 * Returns the arguments with which prlimit(1) limits each process. `--data` leaves enough for the runtime of every
 * language to start and to use `memoryBytes`. Only a control group limits the memory exactly.
 */
export function resourceLimits({ memoryBytes, fileBytes }: Limits): string[] {
  return [
    `--data=${memoryBytes + RESERVED_BYTES}`,
    `--fsize=${fileBytes}`,
    `--nofile=${ownLimit('open files', MAX_OPEN_FILES)}`,
    `--sigpending=${ownLimit('pending signals', MAX_PENDING)}`,
    `--core=${CORE_BYTES}`,
  ];
}

/**
 * Returns the smaller of `most` and the server's own hard limit in proc_pid_limits(5). Tools inherit the server's
 * limit, and prlimit(1), which sets limits for them, has no right to raise it.
 */
function ownLimit(name: string, most: number): number {
  try {
    const line = new RegExp(`^Max ${name} +\\S+ +(\\d+)`, 'm').exec(
      readFileSync('/proc/self/limits', 'utf8'),
    );
    return Math.min(most, Number(line?.[1] ?? most));
  } catch {
    return most;
  }
}
