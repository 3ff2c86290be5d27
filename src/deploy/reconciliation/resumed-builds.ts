import type { ToolName } from '../../core/names.ts';
import type { Deployment, DeploymentRequest, Principal } from '../../core/types.ts';
import { parkedRef } from '../../git/push/truthful-push.ts';
import { readRefs } from '../../git/refs/ref-files.ts';
import type { DeployContext } from '../deploy-context.ts';
import type { DeploymentLogs } from '../deployment-log.ts';
import { Entry, type Request } from '../line/line-entry.ts';

/**
 * The stored reason of a deployment whose build had ended when the server was stopped. By this reason, the next start
 * recognises the deployments that it must continue.
 */
export const HANDED_OVER = 'the server was stopped after the build, and continues after its restart';

/** A deployment of an earlier server whose build continued without a server, or had just ended. */
export interface ResumedBuild {
  readonly deployment: Deployment;
  readonly request: DeploymentRequest;
}

/**
 * Returns the part of a deployment's request that the server stores, so that it can continue the deployment after a
 * restart. Null for a kind of deployment that is not continued. One such kind is `config`, because its request holds
 * config vars, which must not be stored unencrypted.
 */
export function keptRequest(request: Request): DeploymentRequest | null {
  switch (request.kind) {
    case 'push': {
      const { useCache, withUpdates, branchRef } = request.push;
      return { kind: 'push', useCache, withUpdates, branchRef };
    }
    case 'redeploy':
      return request;
    default:
      return null;
  }
}

/**
 * Finds, at start, the deployments of an earlier server whose builds this server can follow again, or whose builds
 * ended with an artifact while that server was being stopped.
 */
export async function findResumedBuilds(context: DeployContext): Promise<ResumedBuild[]> {
  const { store } = context;
  const found: ResumedBuild[] = [];
  for (const deployment of store.unfinishedDeployments()) {
    const request = store.requestOf(deployment.id);
    const build = deployment.state === 'building' ? store.build(deployment.id) : null;
    if (request === null || build === null) continue;
    // A build that does not run any more may have ended while the earlier server was being stopped. Its deployment
    // continues if the build made an artifact, and if that server set the deployment's `reason` to `HANDED_OVER`. An
    // artifact alone is no proof: a deployment that failed after its build has one too.
    const isRunning = build.state === 'BUILD_RUNNING';
    if (!isRunning && (build.artifact === null || deployment.reason !== HANDED_OVER)) continue;
    if (isRunning && !(await mayBeResumable(context, deployment.tool, deployment.id))) continue;
    if (await hasCommit(context, deployment)) found.push({ deployment, request });
  }
  return found;
}

/** Makes the queue entry of a resumed deployment, which continues its old log. */
export async function resumedEntry(
  { deployment, request }: ResumedBuild,
  logs: DeploymentLogs,
  resumption: Promise<void>,
): Promise<Entry> {
  const { log, again: progress } = await logs.reopen(deployment.tool, deployment.id);
  log.progress.step('The server was restarted; the build continued, and this log follows it again');
  const principal = principalOf(deployment);
  const resumed = { progress, resumption };
  return new Entry({
    deployment,
    request: requestOf(deployment, request, principal),
    principal,
    log,
    resumed,
  });
}

/**
 * True if the builder can follow this build, which may have ended. Also true if the cluster does not answer: the server
 * asks the cluster again later, when it already listens.
 */
async function mayBeResumable({ builder, log }: DeployContext, tool: ToolName, id: string): Promise<boolean> {
  try {
    return (await builder.resumable(tool)).has(id);
  } catch (err) {
    log.warn({ err, tool, deployment: id }, 'cannot find out yet whether a build still runs');
    return true;
  }
}

/**
 * True if the deployment can still use its commit. For a push: if its temporary ref still names the commit. Any other
 * deployment builds the live commit: true if this commit is still live. In a restored store, another commit may be
 * live.
 */
async function hasCommit(
  { repositories, store }: DeployContext,
  { tool, id, kind, commit }: Deployment,
): Promise<boolean> {
  if (!repositories.exists(tool)) return false;
  if (kind !== 'push') {
    const { liveVersion } = store.tool(tool);
    return liveVersion !== null && store.release(tool, liveVersion)?.commit === commit;
  }
  const ref = parkedRef(id);
  return (await readRefs(repositories, tool, [ref])).get(ref) === commit;
}

function requestOf(deployment: Deployment, request: DeploymentRequest, principal: Principal): Request {
  if (request.kind === 'redeploy') return request;
  const { id, tool, commit, oldCommit, message } = deployment;
  const { useCache, withUpdates, branchRef } = request;
  return {
    kind: 'push',
    push: { id, tool, commit, oldCommit, principal, message, useCache, withUpdates, branchRef },
  };
}

/**
 * Returns a principal that only names the person in logs. It gives no right to deploy, because the deployment was
 * authorised before the server was restarted.
 */
function principalOf({ by, door, credential, tool }: Deployment): Principal {
  return { uid: by, door, credential, address: '', onlyTool: tool, scope: 'read', isOperator: false };
}
