import { readFile, writeFile } from 'node:fs/promises';
import { setTimeout as wait } from 'node:timers/promises';

export interface Memory {
  /** MiB that the process holds now (VmRSS). */
  readonly now: number;
  /** MiB that it held at most since its start, or since `forgetPeak` (VmHWM). */
  readonly peak: number;
}

/** The memory of one process, without its children. @see proc_pid_status(5) */
export async function memoryOf(pid: number): Promise<Memory> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const mebibytes = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) / 1024;
  return { now: mebibytes('VmRSS'), peak: mebibytes('VmHWM') };
}

/** Resets the peak to what the process holds now. @see proc_pid_clear_refs(5), value 5 */
export async function forgetPeak(pid: number): Promise<void> {
  await writeFile(`/proc/${pid}/clear_refs`, '5');
}

/** The MiB that a null server holds after it has collected its garbage, which V8 itself does late. */
export async function settledMemory(pid: number): Promise<number> {
  process.kill(pid, 'SIGUSR2');
  await wait(500);
  return (await memoryOf(pid)).now;
}
