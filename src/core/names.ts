/** The name of a tool, as Toolforge's builds-api accepts it. At most 63 characters, because it becomes a host name. */
export type ToolName = string & { readonly __brand: 'ToolName' };

/** A full object id of a commit: 40 lower-case hexadecimal digits (64 in a SHA-256 repository). */
export type CommitId = string & { readonly __brand: 'CommitId' };

const TOOL_NAME = /^[a-z]([-_a-z0-9]{0,61}[a-z0-9])?$/;
const COMMIT_ID = /^([0-9a-f]{40}|[0-9a-f]{64})$/;

/** The most config vars of one tool. */
export const MAX_CONFIG_VARS = 200;

/** Matches the name of a config var. */
export const CONFIG_VAR_NAME = /^[A-Z_][A-Z0-9_]{0,99}$/;
/**
 * Matches names of variables that a tool may not set. The platform sets them itself, or they would change how the
 * platform's own programs run.
 */
export const RESERVED_VARIABLE =
  /^(PORT|PATH|HOME|PWD|TOOL_DATA_DIR|LD_PRELOAD|LD_AUDIT|CNB_.*|BASH_ENV|ENV|IFS)$/;

/** The text as a tool name, or null if it cannot be one. Does not remove a trailing `.git`. */
export function toolName(text: string): ToolName | null {
  return TOOL_NAME.test(text) ? (text as ToolName) : null;
}

/**
 * The text as a full commit id, or null if it is not one. Only zeros are no commit id, because git writes them for "no
 * commit".
 */
export function commitId(text: string): CommitId | null {
  return COMMIT_ID.test(text) && !/^0+$/.test(text) ? (text as CommitId) : null;
}

/** The variables that tell a process which release it belongs to. A config var of the same name replaces a variable. */
export function releaseVariables(release: {
  readonly commit: CommitId;
  readonly version: number;
}): Record<string, string> {
  return { SOURCE_COMMIT: release.commit, RELEASE_VERSION: `v${release.version}` };
}

/** The first seven digits of a commit id, as git prints them. */
export function short(commit: CommitId): string {
  return commit.slice(0, 7);
}

/**
 * A new deployment id: UTC date, time and ten random characters, so that ids sort by time
 * (the form of Toolforge's components-api).
 */
export function newId(now: Date, random: Uint8Array): string {
  const stamp = now.toISOString().replace(/[-:]/g, '').replace('T', '-').slice(0, 15);
  const tail = Array.from(random.subarray(0, 10), (byte) => (byte % 36).toString(36)).join('');
  return `${stamp}-${tail}`;
}
