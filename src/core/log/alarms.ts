import { DeployError, systemCode } from '../errors.ts';
import type { Log } from './log.ts';

/**
 * The failures that only an operator can end. Maps the code of a failure to the message of the log line. Failures that
 * the person who pushes can fix are not in this table.
 */
const OPERATOR_FAULTS: Readonly<Record<string, string>> = {
  BUILDER_IMAGE: 'builder image cannot be used',
  BAD_IMAGE: 'builder image cannot be used',
  BUILD_IMAGE_PULL: 'image of a build cannot be pulled',
  BUILD_UNSCHEDULABLE: 'builds find no room in the cluster',
  BUILD_REFUSED: 'cluster refuses the pods of builds',
  BUILD_SOURCE: 'builds cannot fetch their source',
  BUILD_QUOTA: 'quota of the build namespace is too small',
  BUILD_NAMESPACE: 'build namespace cannot be used',
  CLUSTER_FORBIDDEN: 'cluster does not allow what this server needs',
  CLUSTER_UNREACHABLE: 'cluster does not answer',
  DIRECTORY_UNAVAILABLE: 'user directory does not answer',
  DISK_FULL: 'disk is full',
  POD_SECURITY: 'cluster refuses the pods of tools',
  REGISTRY_FULL: 'registry is full',
  REGISTRY_REFUSED: 'registry refuses this server',
  REGISTRY_UNAVAILABLE: 'registry does not answer',
  ROLLOUT_IMAGE_PULL: 'images of tools cannot be pulled',
  ROLLOUT_UNSCHEDULABLE: 'tools find no room in the cluster',
};

/** The codes of the failures that a successful build shows to be over. */
export const BUILD_FAULTS: readonly string[] = Object.keys(OPERATOR_FAULTS).filter((code) =>
  /^(BUILD|BAD_IMAGE|CLUSTER|REGISTRY|DISK)/.test(code),
);
/** The codes of the failures that a successful rollout shows to be over. */
export const ROLLOUT_FAULTS: readonly string[] = Object.keys(OPERATOR_FAULTS).filter((code) =>
  /^(CLUSTER|DISK|POD|ROLLOUT)/.test(code),
);

/** The codes of failures in the namespace of one tool. Each tool with such a failure gets its own alarm. */
const OF_ONE_TOOL: readonly string[] = ['POD_SECURITY', 'ROLLOUT_IMAGE_PULL'];

/** If a trouble continues, the server logs it again after this many milliseconds. */
const AGAIN_MS = 10 * 60_000;

interface Trouble {
  readonly key: string;
  /**
   * True if the trouble concerns only one tool or one namespace. If another tool then succeeds, the trouble does not
   * count as over.
   */
  readonly isNarrow: boolean;
  /** The tools with which the trouble was seen. */
  readonly tools: Set<string>;
  readonly since: number;
  toldAt: number;
  /** How often the trouble was seen since it began. */
  count: number;
}

const TROUBLES = new WeakMap<Log, Map<string, Trouble>>();

/**
 * Logs at level `error` that an operator must act. Logs a trouble when it begins, and then at most every ten minutes,
 * with the number of times that it was seen.
 *
 * @param key - The name of the trouble. With this name, `calm` logs that the trouble is over.
 * @param only - Distinguishes troubles with the same key, for example by a tool. Empty if the key has only one trouble.
 */
export function alarm(
  log: Log,
  {
    key,
    only = '',
    message,
    facts,
  }: { readonly key: string; readonly only?: string; readonly message: string; readonly facts: object },
  now: number = Date.now(),
): void {
  const troubles = TROUBLES.get(log) ?? new Map<string, Trouble>();
  TROUBLES.set(log, troubles);
  const name = `${key} ${only}`;
  const trouble = troubles.get(name) ?? {
    ...{ key, isNarrow: only !== '', tools: new Set<string>() },
    ...{ since: now, toldAt: Number.NEGATIVE_INFINITY, count: 0 },
  };
  troubles.set(name, trouble);
  const tool = toolOf(facts);
  if (tool !== null) trouble.tools.add(tool);
  trouble.count += 1;
  if (now - trouble.toldAt < AGAIN_MS) return;
  trouble.toldAt = now;
  const { count } = trouble;
  log.error(
    { trouble: key, ...facts, ...(count > 1 ? { count, since: new Date(trouble.since) } : {}) },
    message,
  );
}

/**
 * Raises an alarm if an error is a failure that only an operator can end.
 *
 * @returns true if it is such a failure.
 */
export function alarmAbout(log: Log, error: unknown, facts: object): boolean {
  const found = operatorFault(error);
  if (found === null) return false;
  const { code, why, hint } = found;
  const message = OPERATOR_FAULTS[code] ?? code;
  // Count all refusals in a namespace as one trouble, because one missing role binding causes many of them.
  const namespace = code === 'CLUSTER_FORBIDDEN' ? / in the namespace (\S+)$/.exec(why)?.[1] : undefined;
  const only = namespace ?? (OF_ONE_TOOL.includes(code) ? toolOf(facts) : null) ?? '';
  alarm(log, { key: code, only, message, facts: { ...facts, why, ...(hint === '' ? {} : { hint }) } });
  return true;
}

function toolOf(facts: object): string | null {
  return 'tool' in facts && typeof facts.tool === 'string' ? facts.tool : null;
}

/** Logs a failure outside a deployment. If only an operator can end the failure, also raises an alarm. */
export function logFailure(
  log: Log,
  { error, message, facts }: { readonly error: unknown; readonly message: string; readonly facts: object },
): void {
  if (alarmAbout(log, error, facts)) log.warn({ ...facts, err: error }, message);
  else log.error({ ...facts, err: error }, message);
}

/**
 * Logs that troubles are over, and forgets them. Logs nothing if there were none.
 *
 * @param keys - The names of the troubles, as `alarm` got them.
 * @param options - `tool` is the tool that has succeeded. A trouble of one tool or namespace is not over if it was seen
 * only with other tools.
 */
export function calm(
  log: Log,
  keys: readonly string[],
  { tool, now = Date.now() }: { readonly tool?: string; readonly now?: number } = {},
): void {
  const troubles = TROUBLES.get(log) ?? new Map<string, Trouble>();
  for (const [name, { key, isNarrow, tools, since, count }] of troubles) {
    const isOthers = isNarrow && tool !== undefined && tools.size > 0 && !tools.has(tool);
    if (!keys.includes(key) || isOthers) continue;
    troubles.delete(name);
    log.info({ trouble: key, tool, count, seconds: Math.round((now - since) / 1000) }, 'trouble is over');
  }
}

function operatorFault(error: unknown): { code: string; why: string; hint: string } | null {
  for (let one = error; one instanceof Error; one = one.cause) {
    if (isDiskFull(one)) return { code: 'DISK_FULL', why: systemCode(one) ?? one.message, hint: '' };
  }
  if (!(error instanceof DeployError) || !(error.code in OPERATOR_FAULTS)) return null;
  return { code: error.code, why: error.message, hint: error.hint };
}

/** True for an error of a full disk, from the file system or from SQLite (SQLITE_FULL). */
function isDiskFull(error: Error): boolean {
  const code = systemCode(error);
  return code === 'ENOSPC' || code === 'EDQUOT' || ('errcode' in error && error.errcode === 13);
}
