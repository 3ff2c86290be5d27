import { DeployError } from '../../core/errors.ts';
import { type CommitId, short, type ToolName } from '../../core/names.ts';
import type { DeploymentKind } from '../../core/types.ts';
import type { Freeze, Store } from '../../store/store.ts';

/** Returns the refusal of a `cancel` command if no such deployment of the tool runs or waits. */
export function noDeployment(tool: ToolName, id: string | null): DeployError {
  const noSuchDeployment = id === null ? 'no deployment under way' : `no deployment ${id} under way`;
  const hint = `List the deployments with: \`deployments ${tool}\``;
  return new DeployError('NO_DEPLOYMENT', `the tool ${tool} has ${noSuchDeployment}`, hint);
}

/** Returns the refusal of a `cancel` command without an id if the deployment that the person saw has just ended. */
export function endedJustNow(tool: ToolName, ended: string, next: string | null): DeployError {
  const hint =
    next === null
      ? `To see how the deployment ended: \`deployments ${tool}\``
      : `To cancel the next deployment: \`cancel ${tool} ${next}\``;
  return new DeployError('NO_DEPLOYMENT', `the deployment ${ended} of ${tool} has just ended`, hint);
}

/** Returns the refusal of a command that cannot run beside a deployment, such as `stop`. */
export function deploymentRunning(tool: ToolName): DeployError {
  const hint = `Wait until the deployment has ended, or cancel it: \`cancel ${tool}\``;
  return new DeployError('DEPLOYMENT_RUNNING', `a deployment of ${tool} is under way`, hint);
}

/** The kinds of deployments that are allowed while a tool is frozen, because they keep the live release. */
const GO_ON: ReadonlySet<DeploymentKind> = new Set(['restart', 'scale']);

/**
 * Refuses a deployment of a preview that is being deleted. If an operator has frozen the tool, also refuses a
 * deployment that could change what is live.
 *
 * @throws DeployError `FROZEN` if an operator has frozen the tool; `PREVIEW_ENDING` if the preview is being deleted.
 */
export function assertNotFrozen(
  store: Pick<Store, 'freezeOf' | 'preview'>,
  tool: ToolName,
  kind: DeploymentKind,
): void {
  if (store.preview(tool)?.isEnding === true) throw previewEnding();
  const freeze = GO_ON.has(kind) ? null : store.freezeOf(tool);
  if (freeze === null) return;
  const hint =
    'What is live keeps running. The operators of this server have to end the freeze. Then try again.';
  throw new DeployError('FROZEN', frozenWords(tool, freeze), hint);
}

/** Returns the refusal of a deployment of a preview that is being deleted. */
export function previewEnding(): DeployError {
  return new DeployError('PREVIEW_ENDING', 'this preview is ending', 'Push the preview again in a minute.');
}

/** Says that a tool is frozen, and why, for example `the tool hello is frozen: the cluster is being upgraded`. */
export function frozenWords(tool: ToolName, { reason, isOfAll }: Freeze): string {
  return `${isOfAll ? 'all tools are' : `the tool ${tool} is`} frozen: ${reason}`;
}

export function shuttingDown(): DeployError {
  return new DeployError('SHUTTING_DOWN', 'the server is being stopped', 'Try again in a minute.');
}

/**
 * Returns the error for a commit that the repository has lost, for example because the repository was created again.
 */
export function commitLost(tool: ToolName, commit: CommitId, cause?: unknown): DeployError {
  return new DeployError(
    'COMMIT_LOST',
    `the repository of ${tool} has lost the commit ${short(commit)}`,
    'Push the whole history of the tool again, then try again. The operators of this server may have a backup of the repository.',
    { cause },
  );
}

/** Returns the refusal of a dry run if three of the same person run or wait already. */
export function tooManyDryRuns(): DeployError {
  return new DeployError(
    'TOO_MANY_DRY_RUNS',
    'you have three dry runs under way already',
    'Wait until one of them has ended, and try again.',
  );
}

/** Returns the error of a dry run that takes longer than `limitMs`. */
export function dryRunTooLong(limitMs: number): DeployError {
  return new DeployError(
    'DRY_RUN_TIME',
    `the dry run took longer than ${limitMs / 60_000} minutes`,
    'Push without -o dry-run. If the tool has a buildpack of its own, its bin/detect may be too slow.',
  );
}
