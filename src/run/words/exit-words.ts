import { mebibytes } from '../../core/text/mebibytes.ts';
import { type DiskEnd, type Exit, KERNEL_LIMITS_HINT, OVER_KERNEL_LIMITS } from '../../sandbox/sandbox.ts';

/**
 * True if the server or the kernel ended a process because it, or its tool, exceeded a limit, or because this machine
 * was short of memory or disk space.
 */
export function wasOverLimit(exit: Exit): boolean {
  return exit.isOutOfMemory || exit.isOverKernelLimits === true || exit.disk !== undefined;
}

/** Says how a process ended: `exited with code 1`. */
export function exitWords(exit: Exit, memoryBytes: number): string {
  if (exit.disk !== undefined) return `was ended because ${diskWords(exit.disk)}`;
  if (exit.isOverKernelLimits) return `was ended because it had ${OVER_KERNEL_LIMITS}`;
  if (exit.isToolOutOfMemory)
    return 'was ended because the processes of this tool needed more memory together than one tool gets here';
  if (exit.isOutOfMemory) return `was ended because it needed more than ${mebibytes(memoryBytes)} of memory`;
  if (exit.signal !== null) return `was ended by the signal ${exit.signal}`;
  return `exited with code ${exit.code}`;
}

/** Says, in whole sentences, what a maintainer can do about the end of a process. */
export function exitHint(exit: Exit): string {
  if (exit.disk !== undefined) return diskHint(exit.disk);
  if (exit.isOverKernelLimits) return KERNEL_LIMITS_HINT;
  if (exit.isToolOutOfMemory)
    return 'Run fewer processes (`scale`), end previews, or make the processes need less memory. While a new release starts, the processes of the old one need memory too.';
  if (exit.isOutOfMemory)
    return 'Make the process need less memory, ask for more memory (mem in service.template), or ask the operator for a higher run_memory.';
  if (exit.code === 127)
    return 'The command was not found. Check it in the Procfile, toolforge.yaml, jobs.yaml or service.template, and check whether the build installs it.';
  if (exit.code === 126)
    return 'The command is not executable. Check it in the Procfile, toolforge.yaml, jobs.yaml or service.template.';
  if (exit.code === 0)
    return 'A process has to stay up: let its command run in the foreground. A job that ends needs a schedule in toolforge.yaml or jobs.yaml, or a line of its own in a Procfile.';
  return 'The last output of the process, if any, is above. Fix the error and push again.';
}

function diskWords(end: DiskEnd): string {
  switch (end.kind) {
    case 'bytes':
      return `it wrote more than ${mebibytes(end.limit)} to disk`;
    case 'entries':
      return `it made more than ${end.limit} files and folders`;
    case 'bytes-of-tool':
      return `the processes of this tool wrote more than ${mebibytes(end.limit)} to disk together`;
    case 'entries-of-tool':
      return `the processes of this tool made more than ${end.limit} files and folders together`;
    case 'open-files':
      return `its processes together made room for more than ${end.limit} open files, mapped far too many files into memory, or hid which files they had mapped`;
    case 'moving':
      return 'it moved files and folders all the time, so that their size could not be measured';
    case 'room':
      return 'it was filling the disk of this server, which is nearly full';
  }
  return end satisfies never;
}

function diskHint(end: DiskEnd): string {
  const less =
    'to /tmp, /workspace and home, where files last until the process ends, or ask the operator for a higher';
  switch (end.kind) {
    case 'bytes':
      return `Write less ${less} run_disk.`;
    case 'entries':
      return `Write fewer files ${less} run_files.`;
    case 'bytes-of-tool':
      return 'Write less to /tmp, /workspace and home: all processes of a tool together may have a quarter of the disk of this server, or run_disk if that is more.';
    case 'entries-of-tool':
      return 'Write fewer files to /tmp, /workspace and home: all processes of a tool together may have a quarter of the files that the disk of this server can hold.';
    case 'open-files':
      return 'Close files and connections that the process no longer needs, or let it start fewer child processes.';
    case 'moving':
      return 'Move or rename fewer files and folders at the same time in /tmp, /workspace and home.';
    case 'room':
      return 'Write less to /tmp, /workspace and home, and tell the operator that the disk is nearly full.';
  }
  return end satisfies never;
}
