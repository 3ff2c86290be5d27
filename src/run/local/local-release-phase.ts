import { addAbortListener } from 'node:events';
import type { PhaseStep } from '../../core/replicas.ts';
import { limitedOutput } from '../output-limit.ts';
import { releaseTimedOut, runReleaseCommand } from '../release-command.ts';
import type { ReleasePhase } from '../runtime.ts';
import { mostMemory } from '../service-limits.ts';
import { type RunParts, type Start, startRun } from './processes/running-process.ts';

/**
 * Runs the test or release command of a release to its end. The output goes to the push and to the tool's log.
 *
 * @throws DeployError `TEST_FAILED` or `RELEASE_FAILED` if the command failed; `TEST_TIMED_OUT` or `RELEASE_TIMED_OUT`
 * if it took too long; the signal's reason when the signal fires.
 */
export async function runReleasePhase(
  start: Start,
  { step, progress, signal }: ReleasePhase,
  parts: RunParts,
): Promise<void> {
  const { release_time, run_memory } = parts.config;
  const memoryBytes = mostMemory(start.release, run_memory);
  const limit = AbortSignal.timeout(release_time);
  const whole = AbortSignal.any([signal, limit]);
  whole.throwIfAborted();
  const isFolderReadOnly = parts.sandbox.whyNoChanges !== null;
  await runReleaseCommand({ step, progress, memoryBytes, isFolderReadOnly }, async (tell) => {
    const onChanged = (names: readonly string[]) => progress.line(notKept(step, names));
    const running = await startRun({ ...start, onLine: limitedOutput(tell), onChanged }, parts);
    using _killing = addAbortListener(whole, () => running.process.kill());
    const exit = await running.finished;
    signal.throwIfAborted();
    if (limit.aborted) throw releaseTimedOut(step, release_time);
    return exit;
  });
}

function notKept(step: PhaseStep, names: readonly string[]): string {
  return `The ${step} command wrote in /workspace (${names.join(', ')}). These files are deleted now: every process starts with the files of the build.`;
}
