import { DeployError } from '../core/errors.ts';
import type { Progress } from '../core/progress.ts';
import type { PhaseStep } from '../core/replicas.ts';
import type { Exit } from '../sandbox/sandbox.ts';
import { errorHint } from './words/error-hints.ts';
import { exitWords, wasOverLimit } from './words/exit-words.ts';
import { lastError } from './words/last-error.ts';

/** How many of the last output lines of a test or release command are searched for the error that made it fail. */
const KEPT_LINES = 60;

/**
 * Tells the push that the test or release command starts, runs the command, and throws an error if it failed.
 *
 * @param isFolderReadOnly - True if tools of this server cannot write to the folders of their releases.
 * @param run - Runs the command to its end, and calls `tell` with each line of its output that the push shows, config
 * vars masked.
 * @throws DeployError `TEST_FAILED` or `RELEASE_FAILED` if the command failed; what `run` throws.
 * @see https://devcenter.heroku.com/articles/release-phase
 */
export async function runReleaseCommand(
  {
    step,
    progress,
    memoryBytes,
    isFolderReadOnly = false,
  }: {
    readonly step: PhaseStep;
    readonly progress: Progress;
    readonly memoryBytes: number;
    readonly isFolderReadOnly?: boolean;
  },
  run: (tell: (line: string) => void) => Promise<Exit>,
): Promise<void> {
  progress.step(`Running the ${step} command`);
  const lines: string[] = [];
  const exit = await run((line) => {
    progress.line(line);
    lines.push(line);
    if (lines.length > KEPT_LINES) lines.shift();
  });
  if (exit.code === 0) return;
  const words = `the ${step} command ${exitWords(exit, memoryBytes)}`;
  const isOwnError = exit.code !== null && !wasOverLimit(exit);
  const error = isOwnError ? lastError(lines) : null;
  throw new DeployError(
    phaseFailed(step),
    error === null ? words : `${words}: ${error}`,
    (error === null ? null : errorHint(error, isFolderReadOnly, lines)) ?? hint(step, exit),
  );
}

/** Returns the code of the DeployError about a test or release command that failed. */
export function phaseFailed(step: PhaseStep): 'TEST_FAILED' | 'RELEASE_FAILED' {
  return step === 'test' ? 'TEST_FAILED' : 'RELEASE_FAILED';
}

function hint(step: PhaseStep, { code }: Exit): string {
  const where =
    step === 'test' ? 'environments.test.scripts.test in app.json' : 'the line `release:` in the Procfile';
  return code === 127
    ? `The command was not found. Check ${where}, and check whether the build installs it.`
    : `The output of the ${step} command is above. Fix the error and push again.`;
}

/** Returns the code of the DeployError about a test or release command that ran too long or did not start in time. */
export function phaseTimedOut(step: PhaseStep): 'TEST_TIMED_OUT' | 'RELEASE_TIMED_OUT' {
  return step === 'test' ? 'TEST_TIMED_OUT' : 'RELEASE_TIMED_OUT';
}

/** The error of a test or release command that ran longer than `release_time`. */
export function releaseTimedOut(step: PhaseStep, limitMs: number): DeployError {
  return new DeployError(
    phaseTimedOut(step),
    `the ${step} command took longer than ${limitMs / 1000} s and was ended`,
    `Make the ${step} command do less, or ask the operator for a higher release_time.`,
  );
}
