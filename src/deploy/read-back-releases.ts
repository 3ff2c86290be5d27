import type { ToolName } from '../core/names.ts';
import { refNames } from '../git/ref-files.ts';
import { updateRefs } from '../git/ref-transaction.ts';
import type { Torn } from '../git/torn-refs.ts';
import type { DeployContext } from './deploy-context.ts';

type Context = Pick<DeployContext, 'store' | 'repositories' | 'log'>;

/** Below here each release that went live has a ref, `refs/releases/v3`. */
export const RELEASES = 'refs/releases';

/** The version that a ref or its name means; 0 for any other. */
export function versionOf(ref: string): number {
  return Number(/^refs\/releases\/v([1-9][0-9]{0,8})$/.exec(ref)?.[1] ?? 0);
}

/**
 * At start: a repository that has releases which the store lacks shows that the store is older, as after a restore.
 * Such releases are entered from their copies. The next version is above every one that was ever given out.
 */
export async function readBackReleases(context: Context, torn: readonly Torn[]): Promise<void> {
  const { store, repositories, log } = context;
  const tools = new Set([
    ...(await repositories.tools()),
    ...store.tools().map(({ name }) => name),
    ...torn.map(({ tool }) => tool),
  ]);
  for (const tool of tools) {
    try {
      const own = torn.filter((one) => one.tool === tool);
      for (const { name, at } of own) log.error({ tool, name, at }, 'torn file of a repository set aside');
      await readBack(
        context,
        tool,
        own.map(({ name }) => name),
      );
    } catch (err) {
      log.error({ err, tool }, 'releases of a tool not compared with the store');
    }
  }
}

async function readBack(
  { store, repositories, log }: Context,
  tool: ToolName,
  torn: string[],
): Promise<void> {
  const known = store.releaseCommits(tool);
  const refs = [
    ...(repositories.exists(tool) ? await refNames(repositories, tool, [RELEASES]) : []),
    ...torn,
  ];
  const released = refs.map(versionOf).filter((version) => version > 0);
  const behind = released.filter((version) => !known.has(version));
  if (behind.length > 0) {
    const versions = store.readBack(tool, behind);
    log.warn({ tool, versions, of: behind }, 'releases that the store lacked read back from their copies');
  }
  const highest = Math.max(0, ...released, ...store.copiedVersions(tool));
  if (highest > 0) store.skipVersions(tool, highest);
  store.copyReleases(tool);
}

/** At start: a repository that lost refs of releases, as an older one, gets those back whose commits it has. */
export async function restoreReleaseRefs(
  { store, repositories, log }: Context,
  tool: ToolName,
): Promise<void> {
  const commits = store.releaseCommits(tool);
  if (commits.size === 0) return;
  const there = new Set((await refNames(repositories, tool, [RELEASES])).map(versionOf));
  const missing = [...commits].filter(([version]) => !there.has(version));
  if (missing.length === 0) return;
  const input = missing.map(([, commit]) => `${commit}\n`).join('');
  const answers = (await repositories.git(tool, ['cat-file', '--batch-check'], { input })).split('\n');
  const found = missing.filter((_, index) => answers[index]?.split(' ')[1] === 'commit');
  if (found.length > 0)
    await updateRefs(
      repositories,
      tool,
      found.map(([version, commit]) => `create ${RELEASES}/v${version} ${commit}`),
    );
  log.warn({ tool, found: found.length, lost: missing.length - found.length }, 'refs of releases made anew');
}
