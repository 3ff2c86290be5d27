import { DeployError } from '../core/errors.ts';
import type { ToolName } from '../core/names.ts';

/** What is told where there is nothing to cancel. */
export function noDeployment(tool: ToolName, id: string | null): DeployError {
  const which = id === null ? 'no deployment under way' : `no deployment ${id} under way`;
  const hint = `See what there was with: \`deployments ${tool}\``;
  return new DeployError('NO_DEPLOYMENT', `${tool} has ${which}.`, hint);
}

/** What is told where a tool is to be stopped while it is deployed. */
export function deploymentRunning(tool: ToolName): DeployError {
  const hint = `Wait for its end, or end it first: \`cancel ${tool}\``;
  return new DeployError('DEPLOYMENT_RUNNING', `A deployment of ${tool} is under way.`, hint);
}
