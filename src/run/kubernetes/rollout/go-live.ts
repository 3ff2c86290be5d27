import { logFailure } from '../../../core/log/alarms.ts';
import type { RollOut } from '../../runtime.ts';
import { sayDraining } from '../../words/rollout-words.ts';
import type { Rollout } from '../manifests/object-names.ts';
import { orUndo } from './after-undo.ts';
import type { LiveRollouts } from './live-rollouts.ts';
import { grow, shrink } from './scale-rollout.ts';
import { startRollout, undoRollout } from './start-rollout.ts';
import { assertRoomForTool } from './try-rollout.ts';

/**
 * Starts a rollout beside the old rollout, records it as live, and moves the requests to it.
 *
 * @returns `later`, which resolves when the server no longer retries to move the requests. Null if the requests moved
 * at once.
 * @throws DeployError that says why a process is not healthy; the error of `beforeSwitch`; the signal's reason when the
 * signal fires. The new rollout has then been removed, unless its removal failed.
 */
export async function rollOutAndSwitch(
  live: LiveRollouts,
  rollout: Rollout,
  { toolNumber, progress, signal, beforeSwitch }: RollOut,
): Promise<{ readonly later: Promise<void> | null }> {
  const { release } = rollout;
  const { parts } = live;
  const whole = AbortSignal.any([signal, parts.closing]);
  live.start(rollout);
  try {
    await startRollout(parts, { rollout, toolNumber, progress, signal: whole });
    await orUndo(
      () => undoRollout(parts, rollout),
      async () => {
        whole.throwIfAborted();
        await assertRoomForTool(live, rollout.previewOf, { signal: whole });
        await beforeSwitch();
      },
    );
  } catch (error) {
    live.forget(rollout);
    throw error;
  }
  // `beforeSwitch` has recorded the release as live, so nothing from here on may throw.
  const before = live.of(release.tool)?.release.version ?? null;
  const { later } = await live.switchTo(rollout, toolNumber);
  if (later !== null) {
    progress.warn(
      'Requests do not reach the new processes yet, because the cluster has not moved them. The server keeps trying.',
    );
  }
  sayDraining(progress, before, release);
  return { later };
}

/**
 * Scales a live rollout: adds pods, records the new numbers of processes, and then removes surplus pods.
 *
 * @param rollout - The live rollout, with the new numbers.
 * @throws DeployError that says why a new process is not healthy; the error of `beforeSwitch`; the signal's
 * reason when the signal fires. The recorded numbers then stay as they were.
 */
export async function applyScale(
  live: LiveRollouts,
  rollout: Rollout,
  { toolNumber, progress, signal, beforeSwitch }: RollOut,
): Promise<void> {
  const { parts, log } = live;
  const whole = AbortSignal.any([signal, parts.closing]);
  const undo = await grow(parts, { rollout, toolNumber, progress, signal: whole });
  await orUndo(undo, async () => {
    whole.throwIfAborted();
    await beforeSwitch();
  });
  live.resume(rollout, toolNumber);
  // The new numbers of processes have been recorded, so the change counts as done, and nothing from here on may throw.
  await shrink(parts, rollout, parts.closing).catch((error: unknown) => {
    const facts = { tool: rollout.release.tool };
    logFailure(log, { error, message: 'cannot end surplus processes', facts });
    progress.warn(
      'The cluster could not end the surplus processes yet. The next command `scale`, or the next start of this server, ends them.',
    );
  });
}
