import { DeployError } from '../core/errors.ts';
import type { ToolName } from '../core/names.ts';

/** The refusal of a cancel if there is nothing to cancel. */
export function noDeployment(tool: ToolName, id: string | null): DeployError {
  const which = id === null ? 'no deployment under way' : `no deployment ${id} under way`;
  const hint = `List the deployments with: \`deployments ${tool}\``;
  return new DeployError('NO_DEPLOYMENT', `${tool} has ${which}.`, hint);
}

/** The refusal of a stop during a deployment. */
export function deploymentRunning(tool: ToolName): DeployError {
  const hint = `Wait for its end, or end it first: \`cancel ${tool}\``;
  return new DeployError('DEPLOYMENT_RUNNING', `A deployment of ${tool} is under way.`, hint);
}
