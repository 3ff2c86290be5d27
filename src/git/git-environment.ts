import { devNull } from 'node:os';
import { join } from 'node:path';

export type GitSettings = readonly (readonly [key: string, value: string])[];

// The most memory that git may allocate in one piece (`GIT_ALLOC_LIMIT` in git's wrapper.c). A delta of a few kilobytes
// can ask for gigabytes. git needs no such piece for a large file that is not a delta, because it streams the file.
const MAX_AT_ONCE = '128m';

const PACK_FOR_CLIENTS = ['uploadpack.packObjectsHook', 'nice -n 15'] as const;

/** The settings of every git process of this server; the repositories' own configuration files have none of them. */
const baseSettings: GitSettings = [
  ['safe.directory', '*'],
  // No repository of this server has hooks. A restored backup of somebody else could bring some.
  ['core.hooksPath', devNull],
  ['core.fsync', 'committed,reference'],
  ['gc.auto', '0'],
  ['core.protectHFS', 'true'],
  ['core.protectNTFS', 'true'],
  ['core.bigFileThreshold', '32m'],
  ['pack.threads', '2'],
  // A clone can take minutes of processor time. It gets what the server and the tools leave.
  PACK_FOR_CLIENTS,
  // While git looks for deltas, each thread keeps up to ten files and their indexes in memory.
  ['pack.windowMemory', '16m'],
  ['pack.deltaCacheSize', '16m'],
  ['advice.detachedHead', 'false'],
];

/** A folder with the programs of git that serve a client. They start git with limits on memory and processor time. */
export const LIMITED_GIT = join(import.meta.dirname, 'limited');

/**
 * The command that sends objects to a `git fetch` from a folder of this server. git gives this command none of the
 * settings of its environment, so they are arguments.
 */
export const UPLOAD_PACK = [
  'git',
  ...baseSettings
    .filter((setting) => setting !== PACK_FOR_CLIENTS)
    .map(([key, value]) => `-c '${key}=${value}'`),
  'upload-pack',
].join(' ');

/**
 * Hides the server's own refs from every fetch and push. These refs hold the commits of pushes that wait for their
 * deployment, and commits that a repair moved off a branch.
 */
export const hiddenRefs: GitSettings = [
  ['transfer.hideRefs', 'refs/deployments'],
  ['transfer.hideRefs', 'refs/parked'],
  ['transfer.hideRefs', 'refs/set-aside'],
];

/**
 * Returns the whole environment of a git process. git inherits nothing from the server, and reads no configuration file
 * outside the repository (git(1), "ENVIRONMENT VARIABLES").
 */
export function gitEnvironment(
  path: string,
  settings: GitSettings = [],
  more: Readonly<Record<string, string>> = {},
): Record<string, string> {
  const all = [...baseSettings, ...settings];
  const counted = all.flatMap(([key, value], index) => [
    [`GIT_CONFIG_KEY_${index}`, key],
    [`GIT_CONFIG_VALUE_${index}`, value],
  ]);
  return {
    PATH: path,
    LANG: 'C.UTF-8',
    HOME: devNull,
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: devNull,
    GIT_ATTR_NOSYSTEM: '1',
    GIT_TERMINAL_PROMPT: '0',
    GIT_NO_REPLACE_OBJECTS: '1',
    GIT_ALLOC_LIMIT: MAX_AT_ONCE,
    GIT_CONFIG_COUNT: String(all.length),
    ...Object.fromEntries(counted),
    ...more,
  };
}
