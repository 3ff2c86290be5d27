import { DeployError, systemCode } from '../core/errors.ts';
import type { SandboxCommand } from './sandbox.ts';

/**
 * No program can be given a NUL, and here it would end one argument of a wrapper and begin the next: a variable would
 * become a mount. What a build writes into env files and launch.toml may hold anything.
 *
 * @throws DeployError `NOT_PASSABLE`
 * @see https://man7.org/linux/man-pages/man2/execve.2.html
 */
export function assertPassable({ argv, env, cwd }: SandboxCommand): void {
  for (const [name, value] of Object.entries(env)) {
    if (name === '' || /[=\0]/.test(name)) throw notPassable(`A variable has the name ${shown(name)}`);
    if (value.includes('\0')) throw notPassable(`The variable ${shown(name)} has a NUL character in it`);
  }
  if ([cwd, ...argv].some((word) => word.includes('\0'))) {
    throw notPassable('The command has a NUL character in it');
  }
}

/** From what the system says where it starts nothing: its limit is known to it alone. */
export function asPassableError(error: unknown): unknown {
  return systemCode(error) === 'E2BIG' ? tooLargeToPass({ cause: error }) : error;
}

/** The same of what bwrap, which reads the variables itself, printed instead of starting the command; null = it did not. */
export function passableErrorIn(output: string): DeployError | null {
  const said = /^bwrap: (execvp .*: Argument list too long|Exceeded maximum number of arguments.*)$/m;
  return said.test(output) ? tooLargeToPass() : null;
}

/** What cannot be passed because of its size. */
export function tooLargeToPass(options?: ErrorOptions): DeployError {
  return new DeployError(
    'NOT_PASSABLE',
    'The command and its variables are larger than a program can be given.',
    'Put large values into files: config vars and what a build writes into env files count.',
    options,
  );
}

function notPassable(what: string): DeployError {
  return new DeployError(
    'NOT_PASSABLE',
    `${what}, which no program can be given.`,
    'Look at what the build writes into the env files and launch.toml of its layers, and push again.',
  );
}

function shown(text: string): string {
  return JSON.stringify(text.slice(0, 80));
}
