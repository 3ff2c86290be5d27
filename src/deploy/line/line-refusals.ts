import { DeployError } from '../../core/errors.ts';
import { type CommitId, short, type ToolName } from '../../core/names.ts';

/** The refusal of a cancel if there is nothing to cancel. */
export function noDeployment(tool: ToolName, id: string | null): DeployError {
  const which = id === null ? 'no deployment under way' : `no deployment ${id} under way`;
  const hint = `List the deployments with: \`deployments ${tool}\``;
  return new DeployError('NO_DEPLOYMENT', `${tool} has ${which}.`, hint);
}

/** The refusal of a cancel without an id, if the deployment that the person saw has just ended. */
export function endedJustNow(tool: ToolName, ended: string, next: string | null): DeployError {
  const hint =
    next === null
      ? `See how it ended with: \`deployments ${tool}\``
      : `To cancel the next one: \`cancel ${tool} ${next}\``;
  return new DeployError('NO_DEPLOYMENT', `The deployment ${ended} of ${tool} has just ended.`, hint);
}

/** The refusal of a stop during a deployment. */
export function deploymentRunning(tool: ToolName): DeployError {
  const hint = `Wait for its end, or end it first: \`cancel ${tool}\``;
  return new DeployError('DEPLOYMENT_RUNNING', `A deployment of ${tool} is under way.`, hint);
}

/** The refusal if the repository has lost the commit, for example because it was made again. */
export function commitLost(tool: ToolName, commit: CommitId, cause?: unknown): DeployError {
  return new DeployError(
    'COMMIT_LOST',
    `the repository of ${tool} has lost the commit ${short(commit)}`,
    'Push the history again, and try again then. The operators of this server may have a backup of the repository.',
    { cause },
  );
}
