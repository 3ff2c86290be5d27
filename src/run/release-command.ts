import { DeployError } from '../core/errors.ts';
import type { Progress } from '../core/progress.ts';
import type { Exit } from '../sandbox/sandbox.ts';
import { exitWords } from './words/exit-words.ts';

/**
 * Tells the push that the release command starts, runs the command, and throws an error if it failed.
 *
 * @param run - Runs the release command to its end.
 * @throws DeployError `RELEASE_FAILED`; what `run` throws.
 * @see https://devcenter.heroku.com/articles/release-phase
 */
export async function runReleaseCommand(
  { progress, memoryBytes }: { readonly progress: Progress; readonly memoryBytes: number },
  run: () => Promise<Exit>,
): Promise<void> {
  progress.step('Running the release command');
  const exit = await run();
  if (exit.code === 0) return;
  throw new DeployError(
    'RELEASE_FAILED',
    `the release command ${exitWords(exit, memoryBytes)}`,
    exit.code === 127
      ? 'The command was not found. Check the line `release:` in the Procfile, and check whether the build installs it.'
      : 'The output of the release command is above. Fix the error and push again.',
  );
}

/** The error of a release command that ran longer than `release_time`. */
export function releaseTimedOut(limitMs: number): DeployError {
  return new DeployError(
    'RELEASE_TIMED_OUT',
    `the release command took longer than ${limitMs / 1000} s and was ended`,
    'Make the release command do less, or ask the operator for a higher release_time.',
  );
}
