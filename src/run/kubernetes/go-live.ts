import { logFailure } from '../../core/alarms.ts';
import type { Log } from '../../core/log.ts';
import type { RollOut } from '../runtime.ts';
import type { LiveRollouts } from './live.ts';
import type { ManifestConfig } from './manifests-pod.ts';
import type { Rollout } from './names.ts';
import { type RolloutParts, startRollout, undoRollout } from './rollout.ts';
import { grow, shrink } from './scaling.ts';

export interface GoLiveParts {
  readonly parts: RolloutParts & { readonly config: ManifestConfig };
  readonly live: LiveRollouts;
  readonly log: Log;
}

/**
 * Starts a rollout beside what runs, records it, and moves the traffic to it.
 *
 * @returns What goes on where the traffic did not move at once; null = it did.
 * @throws as `Runtime.rollOut`; then nothing of it is left.
 */
export async function goLive(
  { parts, live }: GoLiveParts,
  rollout: Rollout,
  { toolNumber, progress, signal, beforeSwitch }: RollOut,
): Promise<{ readonly later: Promise<void> | null }> {
  const { release } = rollout;
  const whole = AbortSignal.any([signal, parts.closing]);
  live.start(rollout);
  try {
    await startRollout(parts, { rollout, toolNumber, progress, signal: whole });
    await orUndo(
      () => undoRollout(parts, rollout),
      async () => {
        whole.throwIfAborted();
        await beforeSwitch();
      },
    );
  } catch (error) {
    live.forget(rollout);
    throw error;
  }
  // From the record on the release is live, and nothing here may fail.
  const before = live.of(release.tool)?.release.version ?? null;
  const { later } = await live.switchTo(rollout, toolNumber);
  if (later !== null) {
    progress.warn(
      'Requests do not reach the new processes yet: the cluster does not answer. It is tried on.',
    );
  }
  if (before !== null && before !== release.version) progress.line(`v${before} draining`);
  return { later };
}

/**
 * Brings a live rollout to other numbers of pods, and records them in between.
 *
 * @param rollout - With the numbers that are wanted.
 * @throws as `Runtime.scale`; then as many run as before.
 */
export async function goInNumbers(
  { parts, live, log }: GoLiveParts,
  rollout: Rollout,
  { toolNumber, progress, signal, beforeSwitch }: RollOut,
): Promise<void> {
  const whole = AbortSignal.any([signal, parts.closing]);
  const undo = await grow(parts, { rollout, toolNumber, progress, signal: whole });
  await orUndo(undo, async () => {
    whole.throwIfAborted();
    await beforeSwitch();
  });
  live.adopt(rollout, toolNumber);
  // From the record on nothing may fail.
  await shrink(parts, rollout, parts.closing).catch((error: unknown) => {
    const facts = { tool: rollout.release.tool };
    logFailure(log, { error, message: 'processes beyond the number asked for not ended', facts });
    progress.warn(
      'What is too many runs on: the cluster does not answer. It is ended when this server starts again, or by the next scale.',
    );
  });
}

async function orUndo(undo: () => Promise<void>, step: () => Promise<void>): Promise<void> {
  try {
    await step();
  } catch (error) {
    await undo();
    throw error;
  }
}
