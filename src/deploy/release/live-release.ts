import { DeployError } from '../../core/errors.ts';
import { lostHint, lostWords } from '../../core/lost-namespace.ts';
import type { ToolName } from '../../core/names.ts';
import { previewName } from '../../core/preview-names.ts';
import { sentence } from '../../core/text/sentence.ts';
import { NOTHING_OUTSIDE, type OutsideVars } from '../../core/variables/outside-vars.ts';
import type { Runtime } from '../../run/runtime.ts';
import type { ReleaseRecord, Store, ToolRecord } from '../../store/store.ts';

/**
 * Says what is live, such as `v41 is still live`, for the end of each message that a push or deployment has failed.
 * Never throws, even if the store fails.
 */
export function whatIsLive(store: Store, runtime: Pick<Runtime, 'lostNamespace'>, tool: ToolName): string {
  const record = recordOf(store, tool);
  if (record === null) return 'what was live is still live';
  const { liveVersion, isStopped, isPreview } = record;
  if (liveVersion === null) return isPreview ? `the preview ${tool} is not live yet` : 'nothing is live yet';
  const lost = runtime.lostNamespace(tool);
  if (lost !== null)
    return lost.state === 'leaving'
      ? `v${liveVersion} ends: ${lostWords(lost)}`
      : `no process of ${tool} runs, although v${liveVersion} is its release: ${lostWords(lost)}`;
  return isStopped
    ? `v${liveVersion} stays the release of ${tool}, which is stopped`
    : `v${liveVersion}${isPreview ? ` of the preview ${tool}` : ''} is still live`;
}

function recordOf(store: Store, tool: ToolName): (ToolRecord & { readonly isPreview: boolean }) | null {
  try {
    return { ...store.tool(tool), isPreview: store.previewOf(tool) !== null };
  } catch {
    return null;
  }
}

/** Returns the tool's live release. @throws DeployError `NOTHING_LIVE` if it has none. */
export function liveRelease(store: Store, tool: ToolName): ReleaseRecord {
  const { liveVersion } = store.tool(tool);
  const release = liveVersion === null ? null : store.release(tool, liveVersion);
  if (release !== null) return release;
  throw new DeployError(
    'NOTHING_LIVE',
    `the tool ${tool} has nothing live yet`,
    'Deploy the tool first: git push toolforge main',
  );
}

/** Reads the tool's config vars from outside. A preview has none. @throws as `Runtime.outsideVars` does. */
export async function outsideVarsOf(
  {
    store,
    runtime,
  }: { readonly store: Pick<Store, 'previewOf'>; readonly runtime: Pick<Runtime, 'outsideVars'> },
  tool: ToolName,
): Promise<OutsideVars> {
  return store.previewOf(tool) === null ? await runtime.outsideVars(tool) : NOTHING_OUTSIDE;
}

/**
 * Returns the notice after a push that moves no ref, because git found nothing new or refused a push that is not a
 * fast-forward.
 *
 * @param typed - Returns what the person types to run a command of this server, such as `redeploy wikibot`.
 */
export function upToDate(
  { store, runtime }: { readonly store: Store; readonly runtime: Pick<Runtime, 'lostNamespace'> },
  tool: ToolName,
  branch: string,
  typed: (command: string) => string,
): string {
  const { liveVersion, isStopped } = store.tool(tool);
  const previews = withoutBranch(store, tool, typed);
  if (liveVersion === null)
    return `Nothing of ${tool} is live yet. To deploy it, push a new commit: git push toolforge HEAD:${branch}\n${previews}`;
  const lost = runtime.lostNamespace(tool);
  if (lost !== null)
    return `${sentence(whatIsLive(store, runtime, tool))}\n${lostHint(lost, liveVersion)}\n${previews}`;
  const liveNow = isStopped
    ? `v${liveVersion} of ${tool} is stopped. To start it: ${typed(`restart ${tool}`)}`
    : `v${liveVersion} of ${tool} is live. To deploy it again: ${typed(`redeploy ${tool}`)}`;
  const toKeepOthers = `If git rejects your push, you lack commits that are live: git pull --rebase toolforge ${branch}, and push again`;
  const toDeployOther = `To deploy an older or other commit without them: git push -f toolforge HEAD:${branch}, or ${typed(`rollback ${tool}`)}`;
  return `${liveNow}\n${toKeepOthers}\n${toDeployOther}\n${previews}`;
}

/**
 * For each preview of the tool that was never live: a line with the command that ends the preview. `git push toolforge
 * :preview/NAME` cannot end such a preview, because git deletes no branch that does not exist.
 */
function withoutBranch(store: Store, tool: ToolName, typed: (command: string) => string): string {
  const previews = store
    .previews()
    .filter((one) => one.tool === tool && one.liveVersion === null && !one.isEnding);
  return previews
    .map(
      ({ name }) =>
        `The preview ${previewName(name)} is not live, so it has no branch to delete. To end it: ${typed(`previews end ${tool} ${previewName(name)}`)}\n`,
    )
    .join('');
}

/**
 * Returns the commands for git that deploy the commit of a release. They also work if the server does not have the
 * deploy branch.
 */
export function commandsToDeploy(version: number, deployBranch: string): string {
  return `git fetch --update-shallow toolforge 'refs/releases/*:refs/releases/*' && git push -f toolforge 'releases/v${version}^{}:refs/heads/${deployBranch}'`;
}
