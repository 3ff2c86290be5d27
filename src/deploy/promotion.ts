import { DeployError } from '../core/errors.ts';
import { short, type ToolName } from '../core/names.ts';
import { mebibytes } from '../core/text/mebibytes.ts';
import type { Artifact, Release } from '../core/types.ts';
import { UPLOAD_PACK } from '../git/git-environment.ts';
import { isAncestor } from '../git/refs/deploy-branch.ts';
import { updateRefs } from '../git/refs/ref-transaction.ts';
import type { Repositories } from '../git/repositories.ts';
import { measureRepository } from '../git/repository-size.ts';
import { buildState, recordStart } from './build-step.ts';
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

/** By default, the most time that the copy of a commit and its history may take. */
const COPY_MS = 10 * 60_000;

/**
 * Returns the release to promote, after its commit and history were copied into the repository of `tool`. The temporary
 * ref of the deployment `id` holds the commit there.
 *
 * @throws DeployError `ARTIFACT_GONE` if the build of the release was deleted; `IS_PREVIEW` if `tool` is a preview;
 * `COPY_TIME` if the copy takes too long; `REPOSITORY_FULL` if the copy exceeds the limit of the repository;
 * `OTHER_HISTORY` if the promoted commit does not contain the live commit of `tool`; the signal's reason.
 */
export async function takePromoted(
  { store, repositories, repositorySize }: Pick<DeployContext, 'store' | 'repositories' | 'repositorySize'>,
  { tool, id, live }: { readonly tool: ToolName; readonly id: string; readonly live: Release | null },
  { source, version, isForced }: Promotion,
  signal: AbortSignal,
): Promise<Release> {
  const from = store.release(source, version);
  if (from === null || !store.build(from.artifact.id)?.artifact) {
    throw new DeployError(
      'ARTIFACT_GONE',
      `the build of v${version} of ${source} has been deleted`,
      `Promote what is live on ${source} now: \`promote ${source} ${tool}\``,
    );
  }
  // Refuse a preview as the target: its branch is in the repository of another tool, which lacks the promoted commit.
  if (store.previewOf(tool) !== null)
    throw new DeployError(
      'IS_PREVIEW',
      `the tool ${tool} is a preview, and nothing can be promoted to a preview`,
      'Push the commit to the preview: git push toolforge COMMIT:preview/NAME',
    );
  await copyCommit(repositories, from, { tool, id, signal });
  await assertRoom(repositories, { tool, id }, store.ownLimits(tool).repository ?? repositorySize);
  if (live === null || isForced || (await isAncestor(repositories, tool, live.commit, from.commit)))
    return from;
  // If the repository has lost the live commit, no commit can build upon it, so the promotion is accepted.
  if (await isLost(repositories, live)) return from;
  throw new DeployError(
    'OTHER_HISTORY',
    `v${version} of ${source} (${short(from.commit)}) does not contain the commit ${short(live.commit)}, which is live on ${tool} as v${live.version}`,
    `To replace it anyway: \`promote ${source} ${tool} --force\``,
  );
}

/**
 * Checks the size of the repository of `tool` after the promoted commit was copied into it. If the size exceeds the
 * limit, deletes the temporary ref of the commit, and throws DeployError `REPOSITORY_FULL`.
 */
async function assertRoom(
  repositories: Repositories,
  { tool, id }: { readonly tool: ToolName; readonly id: string },
  limit: number,
): Promise<void> {
  const { bytes } = await measureRepository(repositories, tool);
  if (bytes <= limit) return;
  await updateRefs(repositories, tool, [`delete refs/deployments/${id}`]);
  throw new DeployError(
    'REPOSITORY_FULL',
    `with the promoted commit and its history, the repository of ${tool} has ${mebibytes(bytes)}, more than its limit of ${mebibytes(limit)} (repository_size)`,
    'Ask the operators of this server to raise the limit.',
  );
}

/**
 * Copies a commit and its history into the repository of another tool, where the temporary ref of the deployment `id`
 * holds it.
 *
 * @throws DeployError `COPY_TIME` if the copy takes too long; the signal's reason.
 */
export async function copyCommit(
  repositories: Repositories,
  { tool: source, commit }: Pick<Release, 'tool' | 'commit'>,
  {
    tool,
    id,
    signal,
    inTurn = (copy) => copy(),
    longestMs = COPY_MS,
  }: {
    readonly tool: ToolName;
    readonly id: string;
    readonly signal: AbortSignal;
    /** Runs the copy when it may begin. `longestMs` counts from then on. By default, the copy begins immediately. */
    readonly inTurn?: (copy: () => Promise<void>) => Promise<void>;
    readonly longestMs?: number;
  },
): Promise<void> {
  await repositories.ensure(tool);
  // Keep a shallow history shallow (`--update-shallow`). Use version 2 of the protocol, because it lets git fetch a
  // commit that no visible ref names.
  const options = [
    '--quiet',
    '--no-tags',
    '--no-write-fetch-head',
    '--update-shallow',
    '--no-auto-maintenance',
    `--upload-pack=${UPLOAD_PACK}`,
  ];
  const refspec = `${commit}:refs/deployments/${id}`;
  const copy = async () => {
    const inTime = AbortSignal.timeout(longestMs);
    const fetching = repositories.git(tool, ['fetch', ...options, repositories.folder(source), refspec], {
      settings: [
        ['protocol.version', '2'],
        ['protocol.file.allow', 'always'],
        ['fetch.unpackLimit', '1'],
      ],
      signal: AbortSignal.any([signal, inTime]),
    });
    await fetching.catch((error: unknown) => {
      signal.throwIfAborted();
      if (!inTime.aborted) throw error;
      throw new DeployError(
        'COPY_TIME',
        `the copy of the commit ${short(commit)} and its history took longer than ${longestMs / 60_000} minutes`,
        `Push the commit to ${tool} instead.`,
      );
    });
  };
  await repositories.turns.whileCopying(tool, () => inTurn(copy), signal);
}

/**
 * Copies the artifact of a promoted release for the tool of the plan, and records it as a build of this tool. So
 * the clean-up of one tool never deletes what another tool runs.
 */
export async function adoptArtifact(
  context: DeployContext,
  plan: DeployPlan,
  from: Release,
  signal: AbortSignal,
): Promise<Artifact> {
  const { store, builder, runtime } = context;
  const { tool, id } = plan.deployment;
  await runtime.assertReady(tool, signal);
  // A promotion counts as a build of the tool, because the tool gets an artifact.
  recordStart(context, plan);
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
