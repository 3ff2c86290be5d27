import type { Limits } from '../sandbox.ts';

// V8 reserves this much for code at its start, and the kernel counts it as data (setrlimit(2), RLIMIT_DATA).
const RESERVED_BYTES = 768 * 1024 * 1024;

/** The RLIMIT_DATA with which every language's runtime can start and use its memory. Only a cgroup's limit is exact. */
export function dataLimit({ memoryBytes }: Limits): number {
  return memoryBytes + RESERVED_BYTES;
}
