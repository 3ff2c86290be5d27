import { DeployError } from '../core/errors.ts';
import { oneLine } from '../core/progress.ts';
import type { Deployment } from '../core/types.ts';
import type { ToolContext } from './command.ts';

/**
 * Finds a deployment of this tool by its id or by the id of its build.
 *
 * @throws DeployError `NO_DEPLOYMENT` if the tool has no such deployment. The error is the same for an unknown id and
 * for an id of another tool.
 */
export function findDeployment({ services, tool }: ToolContext, id: string): Deployment {
  const { store } = services;
  const direct = store.deployment(id);
  const build = direct === null ? store.build(id) : null;
  const deployment = direct ?? (build === null ? null : store.deployment(build.deploymentId));
  if (deployment?.tool === tool) return deployment;
  throw new DeployError(
    'NO_DEPLOYMENT',
    `the tool ${tool} has no build or deployment “${oneLine(id).slice(0, 80)}”`,
    `To list them: \`deployments ${tool}\``,
  );
}
