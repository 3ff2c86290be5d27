import { DeployError } from '../core/errors.ts';
import type { Progress } from '../core/progress.ts';
import type { Exit } from '../sandbox/sandbox.ts';
import { exitWords } from './words/exit-words.ts';
import { errorHint, lastError } from './words/last-error.ts';

/** The error of a release command is searched in this many of its last lines. */
const KEPT_LINES = 60;

/**
 * Tells the push that the release command starts, runs the command, and throws an error if it failed.
 *
 * @param isFolderReadOnly - Whether tools of this server cannot write to the folders of their releases.
 * @param run - Runs the release command to its end, and calls `tell` with each line of its output, config vars masked.
 * @throws DeployError `RELEASE_FAILED`; what `run` throws.
 * @see https://devcenter.heroku.com/articles/release-phase
 */
export async function runReleaseCommand(
  {
    progress,
    memoryBytes,
    isFolderReadOnly = false,
  }: { readonly progress: Progress; readonly memoryBytes: number; readonly isFolderReadOnly?: boolean },
  run: (tell: (line: string) => void) => Promise<Exit>,
): Promise<void> {
  progress.step('Running the release command');
  const lines: string[] = [];
  const exit = await run((line) => {
    progress.line(line);
    lines.push(line);
    if (lines.length > KEPT_LINES) lines.shift();
  });
  if (exit.code === 0) return;
  const words = `the release command ${exitWords(exit, memoryBytes)}`;
  const isOwnError = exit.code !== null && exit.disk === undefined && !exit.isOutOfMemory;
  const error = isOwnError ? lastError(lines) : null;
  throw new DeployError(
    'RELEASE_FAILED',
    error === null ? words : `${words}: ${error}`,
    (error === null ? null : errorHint(error, isFolderReadOnly)) ?? hint(exit),
  );
}

function hint({ code }: Exit): string {
  return code === 127
    ? 'The command was not found. Check the line `release:` in the Procfile, and check whether the build installs it.'
    : 'The output of the release command is above. Fix the error and push again.';
}

/** The error of a release command that ran longer than `release_time`. */
export function releaseTimedOut(limitMs: number): DeployError {
  return new DeployError(
    'RELEASE_TIMED_OUT',
    `the release command took longer than ${limitMs / 1000} s and was ended`,
    'Make the release command do less, or ask the operator for a higher release_time.',
  );
}
