import type { ChildProcess } from 'node:child_process';

/**
 * A child that was started with pipes, once it is sure that it has them. Where no file descriptors are left it has
 * none, and Node tells of it by an event that would end this process.
 *
 * @throws Error where there are none.
 */
export function withPipes<Child extends ChildProcess>(child: Child): Child {
  // Null is a pipe that was not asked for.
  if (child.stderr !== undefined) return child;
  child.on('error', () => undefined);
  throw new Error('no file descriptors are left for the pipes of a process');
}
