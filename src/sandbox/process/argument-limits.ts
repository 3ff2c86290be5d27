import { DeployError, systemCode } from '../../core/errors.ts';
import type { SandboxCommand } from '../sandbox.ts';

/**
 * Refuses NUL characters, which cannot be passed to a program. In a wrapper's arguments, a NUL would begin a new
 * argument, so a variable could become a mount. A build may write anything into env files and launch.toml.
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

/** Turns the system's E2BIG into a DeployError; only the kernel knows its limit. Returns other errors unchanged. */
export function asPassableError(error: unknown): unknown {
  return systemCode(error) === 'E2BIG' ? tooLargeToPass({ cause: error }) : error;
}

/** The same for bwrap, which reads the variables itself and prints the error; null if it printed none. */
export function passableErrorIn(output: string): DeployError | null {
  const said = /^bwrap: (execvp .*: Argument list too long|Exceeded maximum number of arguments.*)$/m;
  return said.test(output) ? tooLargeToPass() : null;
}

/** The error of a command and variables that are too large. */
export function tooLargeToPass(options?: ErrorOptions): DeployError {
  return new DeployError(
    'NOT_PASSABLE',
    'The command and its variables are too large to start a program with.',
    'Put large values into files: config vars and the env files of a build count.',
    options,
  );
}

function notPassable(what: string): DeployError {
  return new DeployError(
    'NOT_PASSABLE',
    `${what}, which cannot be passed to a program.`,
    'Check what the build writes into the env files and launch.toml of its layers, and push again.',
  );
}

function shown(text: string): string {
  return JSON.stringify(text.slice(0, 80));
}
