import type { Limits } from '../sandbox.ts';

// V8 reserves this many bytes for code at its start, and the kernel counts them as data (setrlimit(2), RLIMIT_DATA).
const RESERVED_BYTES = 768 * 1024 * 1024;

/**
 * Returns a RLIMIT_DATA with which the runtime of every language can start and use its memory. Only the limit of a
 * control group is exact.
 */
export function dataLimit({ memoryBytes }: Limits): number {
  return memoryBytes + RESERVED_BYTES;
}
