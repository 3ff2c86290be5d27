import { DeployError } from '../../core/errors.ts';
import { exitWords } from '../exit-words.ts';
import { limitedOutput } from '../output-limit.ts';
import type { ReleasePhase } from '../runtime.ts';
import { type RunParts, type Start, startRun } from './processes/running-process.ts';

/**
 * Runs the release command of a release to its end. The output goes to the push and to the tool's log.
 *
 * @throws DeployError `RELEASE_FAILED`, `RELEASE_TIMED_OUT`; AbortError when the signal fires.
 * @see https://devcenter.heroku.com/articles/release-phase
 */
export async function runReleasePhase(
  start: Start,
  { progress, signal }: ReleasePhase,
  parts: RunParts,
): Promise<void> {
  const limit = AbortSignal.timeout(parts.config.release_time);
  const whole = AbortSignal.any([signal, limit]);
  whole.throwIfAborted();
  progress.step('Running the release command');
  const running = await startRun({ ...start, onLine: limitedOutput((text) => progress.line(text)) }, parts);
  const kill = (): void => running.process.kill();
  if (whole.aborted) kill();
  else whole.addEventListener('abort', kill, { once: true });
  const exit = await running.finished;
  whole.removeEventListener('abort', kill);
  signal.throwIfAborted();
  if (limit.aborted) {
    throw new DeployError(
      'RELEASE_TIMED_OUT',
      `The release command took longer than ${parts.config.release_time / 1000} s and was ended.`,
      'Make the release command do less, or ask the operator for a higher release_time.',
    );
  }
  if (exit.code === 0 && exit.signal === null) return;
  throw new DeployError(
    'RELEASE_FAILED',
    `The release command ${exitWords(exit, parts.config.run_memory)}.`,
    exit.code === 127
      ? 'The command was not found. Check the line `release:` in the Procfile, and check whether the build installs it.'
      : 'The output of the release command is above. Fix the error and push again.',
  );
}
