import { setTimeout as wait } from 'node:timers/promises';
import { ApiException } from '@kubernetes/client-node';
import { DeployError } from '../../../core/errors.ts';
import type { Progress } from '../../../core/progress.ts';
import { isNoNamespace, statusOf } from '../../../kubernetes/faults/api-refusals.ts';
import { type QuotaRefusal, quotaFaultWords, quotaRefusal } from '../../../kubernetes/faults/quota-words.ts';
import type { BuildLimits } from '../../build-limits.ts';
import type { KubernetesBuilderConfig } from '../kubernetes-builder-config.ts';
import { buildNamespaceUnusable, noRoomForBuilds } from '../output/job-failures.ts';

/** How a build waits for room in the quota of its namespace. */
export interface Room {
  readonly namespace: string;
  /** If the quota still has no room when the build has used this many milliseconds of `build_time`, the build fails. */
  readonly waitMs: number;
  /** Returns how many milliseconds of `build_time` the build has used. */
  readonly spentMs: () => number;
  /** Called when an object must wait for room, with words such as `finds no room in the quota builds (…)`. */
  readonly onWait: (words: string) => void;
  readonly signal: AbortSignal;
}

const AGAIN_MS = 2000;
/**
 * A build may use up this part of `build_time` while it waits for room in the quota. The rest is for the build itself.
 */
export const ROOM_SHARE = 0.5;

/** Tells the person who pushes why the build waits. @param words - Continue the line `waiting: the build …`. */
export function sayWaiting(progress: Progress, words: string): void {
  progress.line(`waiting: the build ${words}`);
}

export function roomOf(
  config: Pick<KubernetesBuilderConfig, 'build_namespace' | 'build_time'>,
  progress: Progress,
  guard: Pick<BuildLimits, 'signal' | 'spentMs'>,
): Room {
  return {
    namespace: config.build_namespace,
    waitMs: config.build_time * ROOM_SHARE,
    spentMs: () => guard.spentMs,
    onWait: (words) => sayWaiting(progress, words),
    signal: guard.signal,
  };
}

/**
 * Makes an object in the build namespace. Retries while the namespace's quota has no room.
 *
 * @throws DeployError `BUILD_QUOTA` if the object can never fit, or if the build has waited too long; `BUILD_NAMESPACE`
 * if the namespace does not exist or is being deleted; other errors of `make`.
 */
export async function makeInRoom<Made>(make: () => Promise<Made>, room: Room): Promise<Made> {
  const { namespace, waitMs, spentMs, onWait, signal } = room;
  for (let isFirst = true; ; isFirst = false) {
    try {
      return await make();
    } catch (error) {
      if (isNoNamespace(error)) throw buildNamespaceUnusable(namespace, error);
      const refusal = refusalIn(error);
      if (refusal === null) throw error;
      const words = quotaFaultWords(refusal);
      if (!refusal.canFit) throw noRoomForBuilds(words, 0, error);
      if (spentMs() > waitMs) throw noRoomForBuilds(words, waitMs, error);
      if (isFirst) onWait(words);
    }
    await wait(AGAIN_MS, null, { signal });
  }
}

function refusalIn(error: unknown): QuotaRefusal | null {
  if (!(error instanceof DeployError) || !(error.cause instanceof ApiException)) return null;
  return quotaRefusal(statusOf(error.cause).message);
}
