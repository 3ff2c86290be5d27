import type { ChildProcess } from 'node:child_process';

/**
 * Asserts that a child process has the pipes that were requested for it. If no file descriptors are left, the child has
 * no pipes, and Node emits an event `error`, which would end this process if nobody listened.
 *
 * @throws Error if a pipe is missing.
 */
export function withPipes<Child extends ChildProcess>(child: Child): Child {
  // If the pipes could not be made, `stderr` and the other pipes of the child are undefined. A pipe that was not
  // requested is null, so it passes this check.
  if (child.stderr !== undefined) return child;
  child.on('error', () => undefined);
  throw new Error('no file descriptors are left for the pipes of a process');
}
