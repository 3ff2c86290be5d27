import { mapWithLimit } from '../../core/concurrency/concurrency-limit.ts';
import type { SetAside } from '../../core/disk/set-aside.ts';
import { DeployError } from '../../core/errors.ts';
import type { ToolName } from '../../core/names.ts';
import { refNames } from '../../git/refs/ref-files.ts';
import { updateRefs } from '../../git/refs/ref-transaction.ts';
import { type Damaged, tornRefs } from '../../git/refs/torn-refs.ts';
import { REPOSITORIES_AT_ONCE, type Repositories } from '../../git/repositories.ts';
import { cleanUpRepositories } from '../../git/repository-clean-up.ts';
import { forgottenBelow } from '../../store/tables/old-rows.ts';
import type { DeployContext } from '../deploy-context.ts';

type Context = Pick<DeployContext, 'store' | 'repositories' | 'log'>;

/** Each release that went live has a ref below this name, such as `refs/releases/v3`. */
export const RELEASES = 'refs/releases';

/** Returns the version of a release ref, for example 3 for `refs/releases/v3`. Returns 0 for any other ref. */
export function versionOf(ref: string): number {
  return Number(/^refs\/releases\/v([1-9][0-9]{0,8})$/.exec(ref)?.[1] ?? 0);
}

/**
 * The versions that have a release ref in a tool's repository, and the damaged files of this repository. Both lists are
 * empty if the tool has no repository.
 */
export interface ReleaseRefs {
  /** The versions of the releases that have a ref, even if the ref's file is damaged. */
  readonly released: readonly number[];
  /** The names of the repository's damaged ref files, such as `refs/releases/v3` or `packed-refs`. */
  readonly torn: readonly string[];
}

/**
 * Returns the versions that went live, according to the refs of the repository. If no release has a ref, or if the file
 * `packed-refs` is damaged, adds `newerCopies`. Those versions may have gone live too, because each release gets a copy
 * outside the store before it goes live.
 *
 * @param newerCopies - The versions that have a copy but that the store has never assigned.
 */
export function wentLive({ released, torn }: ReleaseRefs, newerCopies: readonly number[]): number[] {
  const hasAll = released.length > 0 && !torn.includes('packed-refs');
  return hasAll ? [...released] : [...new Set([...released, ...newerCopies])];
}

async function releasedVersions(repositories: Repositories, tool: ToolName): Promise<number[]> {
  const names = await refNames(repositories, tool, [RELEASES]);
  return names.map(versionOf).filter((version) => version > 0);
}

/** Tells which tools' data need a closer check. */
export interface Suspects {
  /**
   * True if the tool's repository must be checked for damaged refs and lost objects. By default, all repositories are
   * checked.
   */
  readonly mayBeDamaged?: (tool: ToolName) => boolean;
  /** True if the store lacks releases of the tool that went live. By default, false for every tool. */
  readonly isBehind?: (tool: ToolName) => boolean;
}

/**
 * Repairs repositories at start, before anything else changes them. Adds the releases that an older store lacks, then
 * moves damaged parts of repositories to `set-aside`.
 *
 * @returns the damaged parts.
 * @throws DeployError `STORE_FULL` if the disk cannot be written; `DATA_DISAGREES` if missing releases could not be
 * read back, because the server would then start an older release.
 */
export async function mendRepositories(
  context: Context,
  setAside: SetAside,
  { mayBeDamaged = () => true, isBehind = () => false }: Suspects = {},
): Promise<Damaged[]> {
  const failed = await readBackReleases(context);
  const behind = [...failed].filter(isBehind);
  if (behind.length > 0) {
    throw new DeployError(
      'DATA_DISAGREES',
      `the store lacks releases of ${behind.join(', ')}, and the server could not read the copies of these releases`,
      'Find the cause in the log, repair it, and start the server again.',
    );
  }
  const mended = await cleanUpRepositories(
    context.repositories,
    setAside,
    (tool) => mayBeDamaged(tool) && !failed.has(tool),
  );
  for (const damaged of mended) context.log.warn(damaged, 'damaged part of a repository set aside');
  return mended;
}

/**
 * Reads back, at start, releases that went live but that the store lacks. The store is then older than the
 * repositories, for example after a restore. Adds these releases from their copies, and makes the next version higher
 * than every earlier version. Must run before damaged ref files are moved, because the files' names show versions.
 *
 * @returns the tools whose releases could not be compared with the store. Damaged files in the repositories of these
 * tools must stay.
 * @throws DeployError `STORE_FULL` if the disk cannot be written.
 */
export async function readBackReleases(context: Context): Promise<Set<ToolName>> {
  const { store, repositories, log } = context;
  const moved = store.settleNumbers();
  if (moved.length > 0)
    log.warn(
      { tools: moved },
      'the store is older than the copies of releases; these tools got other numbers, those of the copies',
    );
  const records = new Map(store.tools().map((record) => [record.name, record]));
  const withRefs = new Set(await repositories.tools());
  const failed = new Set<ToolName>();
  const tools = new Set([...records.keys(), ...withRefs, ...store.copiedTools()]);
  await mapWithLimit([...tools], REPOSITORIES_AT_ONCE, async (tool) => {
    try {
      const live = records.get(tool)?.liveVersion ?? null;
      await readBack(context, tool, { live, hasRefs: withRefs.has(tool) });
    } catch (err) {
      if (err instanceof DeployError && err.code === 'STORE_FULL') throw err;
      log.error({ err, tool }, 'cannot compare the releases of a tool with the store');
      failed.add(tool);
    }
  });
  return failed;
}

async function readBack(
  { store, repositories, log }: Context,
  tool: ToolName,
  { live, hasRefs }: { readonly live: number | null; readonly hasRefs: boolean },
): Promise<void> {
  const known = store.releaseCommits(tool);
  const newer = store.newerCopies(tool);
  const released = hasRefs ? await releasedVersions(repositories, tool) : [];
  const torn = hasRefs && newer.length > 0 ? tornRefs(repositories, tool) : [];
  // Add the version that the store calls live, so that the release of this version is read back if the store has lost
  // it.
  const went = [...wentLive({ released, torn }, newer), ...(live === null ? [] : [live])];
  const oldest = forgottenBelow(known.keys());
  const behind = went.filter((version) => version >= oldest && !known.has(version));
  const versions = behind.length === 0 ? [] : store.readBack(tool, behind);
  if (versions.length > 0)
    log.warn({ tool, versions, of: behind }, 'missing releases read back from their copies');
  const highest = Math.max(0, ...released, ...store.copiedVersions(tool));
  if (highest > 0) store.skipVersions(tool, highest);
  await store.copyReleases(tool);
}

/** Restores lost release refs if the repository still has their commits. */
export async function restoreReleaseRefs(
  { store, repositories, log }: Context,
  tool: ToolName,
): Promise<void> {
  const commits = store.releaseCommits(tool);
  if (commits.size === 0) return;
  const findMissing = async () => {
    const there = new Set((await refNames(repositories, tool, [RELEASES])).map(versionOf));
    return [...commits].filter(([version]) => !there.has(version));
  };
  const missing = await findMissing();
  if (missing.length === 0) return;
  const input = missing.map(([, commit]) => `${commit}\n`).join('');
  const answers = (await repositories.git(tool, ['cat-file', '--batch-check'], { input })).split('\n');
  const found = missing.filter((_, index) => answers[index]?.split(' ')[1] === 'commit');
  if (found.length > 0)
    // Look again which refs are missing, because a deployment may have created one while git looked for the commits.
    await updateRefs(repositories, tool, async () => {
      const still = new Set((await findMissing()).map(([version]) => version));
      return found
        .filter(([version]) => still.has(version))
        .map(([version, commit]) => `create ${RELEASES}/v${version} ${commit}`);
    });
  log.warn({ tool, found: found.length, lost: missing.length - found.length }, 'refs of releases restored');
}
