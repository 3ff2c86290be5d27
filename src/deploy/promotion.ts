import { DeployError } from '../core/errors.ts';
import { short, type ToolName } from '../core/names.ts';
import type { Artifact, Release } from '../core/types.ts';
import { isAncestor } from '../git/refs/deploy-branch.ts';
import type { Repositories } from '../git/repositories.ts';
import { buildState } from './build-step.ts';
import type { DeployContext, DeployPlan } from './deploy-context.ts';
import { isLost } from './reconciliation/follow-live.ts';

/** A request to release the artifact of one tool as a release of another. */
export interface Promotion {
  readonly source: ToolName;
  /** The release of `source` that was live when the promotion was requested. */
  readonly version: number;
  /** True to replace a live commit that is not in the history of the promoted commit. */
  readonly isForced: boolean;
}

/**
 * Returns the release to promote, after its commit and history were copied into the repository of `tool`. The temporary
 * ref of the deployment `id` holds the commit there.
 *
 * @throws DeployError `ARTIFACT_GONE`, `ARTIFACT_UNUSABLE`; `OTHER_HISTORY` if the live commit of `tool` would be replaced
 * by a commit that does not contain it.
 */
export async function takePromoted(
  { store, repositories }: Pick<DeployContext, 'store' | 'repositories'>,
  { tool, id, live }: { readonly tool: ToolName; readonly id: string; readonly live: Release | null },
  { source, version, isForced }: Promotion,
): Promise<Release> {
  const from = store.release(source, version);
  if (from === null || !store.build(from.artifact.id)?.artifact) {
    throw new DeployError(
      'ARTIFACT_GONE',
      `the build of v${version} of ${source} has been deleted`,
      `Promote what is live on ${source} now: \`promote ${source} ${tool}\``,
    );
  }
  await copyCommit(repositories, from, { tool, id });
  if (live === null || isForced || (await isAncestor(repositories, tool, live.commit, from.commit)))
    return from;
  // If the repository has lost the live commit, nothing can build upon it.
  if (await isLost(repositories, live)) return from;
  throw new DeployError(
    'OTHER_HISTORY',
    `v${version} of ${source} (${short(from.commit)}) does not contain the commit ${short(live.commit)}, which is live on ${tool} as v${live.version}`,
    `To replace it anyway: \`promote ${source} ${tool} --force\``,
  );
}

async function copyCommit(
  repositories: Repositories,
  { tool: source, commit }: Release,
  { tool, id }: { readonly tool: ToolName; readonly id: string },
): Promise<void> {
  await repositories.ensure(tool);
  // A shallow history stays shallow. Version 2 of the protocol lets git fetch a commit that no visible ref names.
  const options = [
    '--quiet',
    '--no-tags',
    '--no-write-fetch-head',
    '--update-shallow',
    '--no-auto-maintenance',
  ];
  const refspec = `${commit}:refs/deployments/${id}`;
  await repositories.git(tool, ['fetch', ...options, repositories.folder(source), refspec], {
    settings: [
      ['protocol.version', '2'],
      ['protocol.file.allow', 'always'],
      ['fetch.unpackLimit', '1'],
    ],
  });
}

/**
 * Copies the artifact of a promoted release for the tool of the plan, and records it as a build of this tool. So the
 * retention of one tool never deletes what another tool runs.
 */
export async function adoptArtifact(
  { store, builder, runtime }: DeployContext,
  { deployment, commit }: DeployPlan,
  from: Release,
  signal: AbortSignal,
): Promise<Artifact> {
  const { tool, id } = deployment;
  await runtime.assertReady(tool, signal);
  store.updateDeployment(id, { state: 'building' });
  const startedAt = Date.now();
  store.addBuild({
    ...{
      id,
      tool,
      commit,
      deploymentId: id,
      state: 'BUILD_RUNNING',
      artifact: null,
      startedAt,
      endedAt: null,
    },
  });
  try {
    const toolNumber = store.tool(tool).number;
    const artifact = await builder.adopt({ id, tool, toolNumber, from: from.tool }, from.artifact, signal);
    store.endBuild(id, 'BUILD_SUCCESS', artifact, Date.now());
    return artifact;
  } catch (error) {
    store.endBuild(id, buildState(error, signal), null, Date.now());
    throw error;
  }
}
