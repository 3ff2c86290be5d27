import { limitedOutput } from '../output-limit.ts';
import { releaseTimedOut, runReleaseCommand } from '../release-command.ts';
import type { ReleasePhase } from '../runtime.ts';
import { type RunParts, type Start, startRun } from './processes/running-process.ts';

/**
 * Runs the release command of a release to its end. The output goes to the push and to the tool's log.
 *
 * @throws DeployError `RELEASE_FAILED`, `RELEASE_TIMED_OUT`; AbortError when the signal fires.
 */
export async function runReleasePhase(
  start: Start,
  { progress, signal }: ReleasePhase,
  parts: RunParts,
): Promise<void> {
  const { release_time, run_memory: memoryBytes } = parts.config;
  const limit = AbortSignal.timeout(release_time);
  const whole = AbortSignal.any([signal, limit]);
  whole.throwIfAborted();
  await runReleaseCommand({ progress, memoryBytes }, async () => {
    const running = await startRun({ ...start, onLine: limitedOutput((text) => progress.line(text)) }, parts);
    const kill = (): void => running.process.kill();
    if (whole.aborted) kill();
    else whole.addEventListener('abort', kill, { once: true });
    const exit = await running.finished;
    whole.removeEventListener('abort', kill);
    signal.throwIfAborted();
    if (limit.aborted) throw releaseTimedOut(release_time);
    return exit;
  });
}
