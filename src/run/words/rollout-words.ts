import { DeployError } from '../../core/errors.ts';
import type { Progress } from '../../core/progress.ts';
import type { Release } from '../../core/types.ts';
import type { Exit } from '../../sandbox/sandbox.ts';
import type { Seen } from '../health/health-check.ts';
import { memoryLimit } from '../service-limits.ts';
import { errorHint } from './error-hints.ts';
import { exitHint, exitWords, wasOverLimit } from './exit-words.ts';
import { lastError } from './last-error.ts';

/** A process of a rollout. */
interface Named {
  /** The name of the process, such as `web.1`. */
  readonly name: string;
  /** The process type, such as `web`. */
  readonly type: string;
}

/**
 * Says that a process has started: `web.1 started · healthy after 1.2 s`.
 *
 * @param startedAt - When the process started, as `performance.now()` gave it.
 * @param remark - A problem of a process that counts as healthy. Null if the process has no problem.
 */
export function startedWords({ name, type }: Named, startedAt: number, remark: string | null): string {
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  const how = type === 'web' ? 'healthy' : 'up';
  return `${name} started · ${how} after ${seconds} s${remark === null ? '' : ` (${remark})`}`;
}

/**
 * Tells the push that the previous release drains. Says nothing if the same release was only restarted.
 *
 * @param before - The version of the release that was live before. Null if no release was live.
 */
export function sayDraining(progress: Progress, before: number | null, { version }: Release): void {
  if (before !== null && before !== version) progress.line(`v${before} draining`);
}

/** Formats a line of the last output of a process, as the push shows it: `web.1 | ready`. */
export function outputOf(name: string, line: string): string {
  return `${name} | ${line}`;
}

/**
 * The error of a rollout in which a process ended by itself or exceeded a limit. If the process exited by itself, and
 * the last lines of its output name an error, the message quotes this error.
 *
 * @param lastLines - The last output of the process, with config vars masked.
 * @param isFolderReadOnly - True if tools of this server cannot write to the folders of their releases.
 */
export function crashed(
  { name, type }: Named,
  {
    release,
    exit,
    run_memory,
    lastLines,
    isFolderReadOnly = false,
  }: {
    readonly release: Release;
    readonly exit: Exit;
    readonly run_memory: number;
    readonly lastLines: readonly string[];
    readonly isFolderReadOnly?: boolean;
  },
  hint = exitHint(exit),
): DeployError {
  const words = exitWords(exit, memoryLimit(release, type, run_memory));
  const isOwnError = exit.code !== null && !wasOverLimit(exit);
  const error = isOwnError ? lastError(lastLines) : null;
  if (error === null) return new DeployError('ROLLOUT_CRASHED', `${name} ${words}`, hint);
  return new DeployError(
    'ROLLOUT_CRASHED',
    `${name} ${words}: ${error}`,
    errorHint(error, isFolderReadOnly, lastLines) ?? hint,
  );
}

/**
 * The error of a rollout in which a process did not become healthy in time. If the process opened no port, and the last
 * lines of its output name an error, the message quotes this error: programs such as nodemon go on after the tool has
 * ended.
 *
 * @param lastLines - The last output of the process, with config vars masked.
 * @param isFolderReadOnly - True if tools of this server cannot write to the folders of their releases.
 */
export function notHealthy(
  { message, hint, hasNoPort = false }: Omit<Seen, 'soFar'>,
  waitedMs: number,
  lastLines: readonly string[] = [],
  isFolderReadOnly = false,
): DeployError {
  const error = hasNoPort ? lastError(lastLines) : null;
  return new DeployError(
    'ROLLOUT_TIMED_OUT',
    `${message}; waited ${waitedMs / 1000} s${error === null ? '' : `: ${error}`}`,
    (error === null ? null : errorHint(error, isFolderReadOnly, lastLines)) ?? hint,
  );
}
