import { writeFileSync } from 'node:fs';

/**
 * The score that `endFirst` gives a process, see proc_pid_oom_score_adj(5). If memory runs out, the kernel adds the
 * score to the memory of each process, in thousandths of all memory, and ends the process with the highest sum. Live
 * processes of tools have the score 500, the server usually has 0.
 */
const SCORE = '600';

/**
 * Raises the score of the process `pid`, so that the kernel ends it rather than live processes of tools and the server
 * if the machine runs out of memory. This also applies to children that the process starts from now on. Without this,
 * hostile pushes and clones could end the tools of other people.
 */
export function endFirst(pid: number | undefined): void {
  try {
    if (pid !== undefined) writeFileSync(`/proc/${pid}/oom_score_adj`, SCORE);
  } catch {
    // Ignore the error: the process has ended already, or the system has no proc(5).
  }
}
