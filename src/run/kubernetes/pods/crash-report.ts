import { DeployError } from '../../../core/errors.ts';
import { maskedLines, masking } from '../../../core/masking/masking.ts';
import type { Progress } from '../../../core/progress.ts';
import type { Release } from '../../../core/types.ts';
import type { Cluster } from '../../../kubernetes/cluster.ts';
import { lastLines } from '../../../kubernetes/container-log.ts';
import { type PodFault, PUSH_AGAIN, podFault } from '../../../kubernetes/faults/pod-faults.ts';
import { beginsError, MOST_DETAILS } from '../../words/last-error.ts';
import { crashed, outputOf } from '../../words/rollout-words.ts';
import { CONTAINER } from '../manifests/object-names.ts';
import { endHint, exitOf, lastEnd } from './container-exit.ts';
import type { ToolPod } from './tool-pods.ts';

export interface CrashParts {
  readonly cluster: Cluster;
  readonly config: { readonly run_memory: number };
  readonly release: Release;
  readonly progress: Progress;
}

/**
 * Shows the client of the deployment the last output of a process that has ended. @returns an error that says how the
 * process ended.
 */
export async function crashOf(parts: CrashParts, pod: ToolPod): Promise<DeployError> {
  const isOver = pod.container?.state?.terminated !== undefined;
  const lines = await showLastLines(parts, pod, isOver ? 'current' : 'previous');
  const fault = podFault(pod.pod);
  const isEnd = fault === null || fault.code === 'EXITED' || fault.code === 'OUT_OF_MEMORY';
  const end = lastEnd(pod.container);
  if (!isEnd || end === null) return faultError(pod.name, fault ?? GONE);
  const exit = exitOf(end);
  const { release } = parts;
  return crashed(pod, { release, exit, ...parts.config, lastLines: lines }, endHint(exit, lines));
}

/**
 * Shows the client of the deployment the last lines of output of a process. If none of these lines begins an error, but
 * an earlier line does, that line comes first. Config vars are masked, because other people may read the log of the
 * deployment.
 *
 * @param run - The current run of the container, or the run before its last restart.
 * @returns the lines that were shown, with config vars masked.
 */
export async function showLastLines(
  { cluster, release, progress }: CrashParts,
  { namespace, podName, name }: ToolPod,
  run: 'current' | 'previous',
): Promise<string[]> {
  const container = { namespace, pod: podName, container: CONTAINER };
  const lines = await lastLines(cluster, container, run);
  if (!lines.some(beginsError)) {
    const error = (await lastLines(cluster, container, run, MOST_DETAILS)).findLast(beginsError);
    if (error !== undefined) lines.unshift(error);
  }
  const { steps } = await masking(release.configVars, namespace);
  const masked = await maskedLines(lines, steps, namespace);
  for (const line of masked) progress.line(outputOf(name, line));
  return masked;
}

export function faultError(
  name: string,
  { code, words, hint }: Pick<PodFault, 'code' | 'words' | 'hint'>,
): DeployError {
  return new DeployError(`ROLLOUT_${code}`, `${name} ${words}`, hint);
}

const GONE = {
  code: 'NODE_LOST',
  words: 'disappeared before it was healthy',
  hint: PUSH_AGAIN,
} as const;
