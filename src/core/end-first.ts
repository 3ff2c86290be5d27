import { writeFileSync } from 'node:fs';

/** Tools have 500 (proc_pid_oom_score_adj(5)), the server 0. */
const SCORE = '600';

/**
 * If the machine runs out of memory, the kernel ends this process, and the children that it starts from now on, before
 * the tools and the server. Otherwise hostile pushes and clones could end the tools of other people.
 */
export function endFirst(pid: number | undefined): void {
  try {
    if (pid !== undefined) writeFileSync(`/proc/${pid}/oom_score_adj`, SCORE);
  } catch {
    // The process has ended already, or the system has no proc(5).
  }
}
