import { devNull } from 'node:os';
import { join } from 'node:path';

export type GitSettings = readonly (readonly [key: string, value: string])[];

// The most memory that git may allocate in one piece (`GIT_ALLOC_LIMIT` in git's wrapper.c). A delta of a few kilobytes
// can ask for gigabytes. A large file that is not a delta needs no large piece, because git streams the file.
const MAX_AT_ONCE = '128m';

const PACK_FOR_CLIENTS = ['uploadpack.packObjectsHook', 'nice -n 15'] as const;

/** The settings of each git process of this server. The configuration files of the repositories do not have them. */
const baseSettings: GitSettings = [
  ['safe.directory', '*'],
  // Let git find no hooks. Otherwise git would run the hooks that a restored backup may have put into a repository.
  ['core.hooksPath', devNull],
  ['core.fsync', 'committed,reference'],
  ['gc.auto', '0'],
  ['core.protectHFS', 'true'],
  ['core.protectNTFS', 'true'],
  ['core.bigFileThreshold', '32m'],
  ['pack.threads', '2'],
  // For a clone, run with low priority the program that makes the pack, because it can take minutes of processor time.
  PACK_FOR_CLIENTS,
  // Limit the memory for deltas, because each thread of git otherwise keeps up to ten files and their indexes in
  // memory.
  ['pack.windowMemory', '16m'],
  ['pack.deltaCacheSize', '16m'],
  ['advice.detachedHead', 'false'],
];

/** A folder for the front of PATH: its `git` starts the real git with limits on memory and processor time. */
export const LIMITED_GIT = join(import.meta.dirname, 'limited');

/** With this variable in its environment, the git of `LIMITED_GIT` has a low priority. */
export const LOW_PRIORITY = { TOOLFORGE_PUSH_LOW: '1' } as const;

/** With this variable in its environment, the git of `LIMITED_GIT` leads a process group of its own. */
export const OWN_GROUP = { TOOLFORGE_PUSH_GROUP: '1' } as const;

/**
 * The `--upload-pack` of a `git fetch` from one repository of this server into another. `git fetch` does not pass the
 * settings in its environment on to this command, so the command has them as arguments. It needs no `nice` of its own,
 * because `Repositories.git` runs `git fetch` with a low priority.
 */
export const UPLOAD_PACK = [
  'git',
  ...baseSettings
    .filter((setting) => setting !== PACK_FOR_CLIENTS)
    .map(([key, value]) => `-c '${key}=${value}'`),
  'upload-pack',
].join(' ');

/**
 * Hides the server's own refs from clients. `refs/deployments` and `refs/parked` hold the commits and tags of pushes
 * until their deployments end, or longer. `refs/set-aside` holds commits that a repair took off a branch or a release.
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
