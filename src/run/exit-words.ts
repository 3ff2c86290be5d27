import { mebibytes } from '../core/mebibytes.ts';
import type { Exit } from '../sandbox/sandbox.ts';

/** How a process ended, for people: `exited with code 1`. */
export function exitWords(exit: Exit, memoryBytes: number): string {
  if (exit.diskLimit !== undefined)
    return `was ended because it wrote more than ${mebibytes(exit.diskLimit)} to disk`;
  if (exit.isOutOfMemory) return `was ended because it needed more than ${mebibytes(memoryBytes)} of memory`;
  if (exit.signal !== null) return `was ended by the signal ${exit.signal}`;
  return `exited with code ${exit.code}`;
}

/** What to do about it, as a sentence. */
export function exitHint(exit: Exit): string {
  if (exit.diskLimit !== undefined)
    return 'Write less to /tmp and home, which are gone with the process anyway, or ask the operator for a higher run_disk.';
  if (exit.isOutOfMemory)
    return 'Make it need less memory, ask for more (mem in service.template), or ask the operator for a higher run_memory.';
  if (exit.code === 127)
    return 'Its command was not found: check its line in the Procfile and what the build installs.';
  if (exit.code === 126) return 'Its command is not executable: check its line in the Procfile.';
  if (exit.code === 0)
    return 'A process has to stay up: let its command run in the foreground, and push again.';
  return 'What it printed last, if anything, is above. Mend it and push again.';
}
