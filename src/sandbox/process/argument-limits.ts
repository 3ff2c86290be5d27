import { DeployError, systemCode } from '../../core/errors.ts';
import type { SandboxCommand } from '../sandbox.ts';

/**
 * Checks that the command and its variables can be passed to a program: they have no NUL characters, and each variable
 * has a name without `=`. bwrap reads a NUL as the end of an argument, so a variable with a NUL could add a mount. A
 * build may write anything into env files and launch.toml.
 *
 * @throws DeployError `NOT_PASSABLE` if one of these rules is broken.
 * @see https://man7.org/linux/man-pages/man2/execve.2.html
 */
export function assertPassable({ argv, env, cwd }: SandboxCommand): void {
  for (const [name, value] of Object.entries(env)) {
    if (name === '' || /[=\0]/.test(name)) throw notPassable(`a variable has the name ${shown(name)}`);
    if (value.includes('\0')) throw notPassable(`the variable ${shown(name)} has a NUL character in it`);
  }
  if ([cwd, ...argv].some((word) => word.includes('\0'))) {
    throw notPassable('the command has a NUL character in it');
  }
}

/**
 * Turns the system error E2BIG (arguments too large) into a DeployError. Nothing checks the size earlier, because only
 * the kernel knows the limit. Returns other errors unchanged.
 */
export function asPassableError(error: unknown): unknown {
  return systemCode(error) === 'E2BIG' ? tooLargeToPass({ cause: error }) : error;
}

/**
 * Finds bwrap's error that the command and its variables together are too large, in the output of bwrap. The start of
 * bwrap itself does not fail, because bwrap reads the variables later. Null if bwrap printed no such error.
 */
export function passableErrorIn(output: string): DeployError | null {
  const said = /^bwrap: (execvp .*: Argument list too long|Exceeded maximum number of arguments.*)$/m;
  return said.test(output) ? tooLargeToPass() : null;
}

/** Returns the error for a command that, with its variables, is too large to start. */
export function tooLargeToPass(options?: ErrorOptions): DeployError {
  return new DeployError(
    'NOT_PASSABLE',
    'the command and its environment variables together are too large to start a program',
    'Put large values into files. Config vars and the variables that a build sets count towards the limit.',
    options,
  );
}

function notPassable(problem: string): DeployError {
  return new DeployError(
    'NOT_PASSABLE',
    `${problem}, which cannot be passed to a program`,
    'Look for NUL characters, and for variable names that are empty or have = in them, in the env files and launch.toml that the build writes into its layers. Then push again.',
  );
}

function shown(text: string): string {
  return JSON.stringify(text.slice(0, 80));
}
