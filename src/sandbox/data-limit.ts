import type { Limits } from './sandbox.ts';

// V8 reserves this much for code before it runs a line, and the kernel counts it as data (setrlimit(2), RLIMIT_DATA).
const RESERVED_BYTES = 768 * 1024 * 1024;

/** The RLIMIT_DATA that lets each runtime start and use what it was promised; the cgroup, where there is one, is exact. */
export function dataLimit({ memoryBytes }: Limits): number {
  return memoryBytes + RESERVED_BYTES;
}
