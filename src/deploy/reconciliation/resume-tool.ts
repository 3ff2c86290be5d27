import { setTimeout as wait } from 'node:timers/promises';
import { alarmAbout } from '../../core/log/alarms.ts';
import type { ToolName } from '../../core/names.ts';
import { withOutside } from '../../core/variables/outside-vars.ts';
import type { DeployContext } from '../deploy-context.ts';
import { outsideVarsOf } from '../release/live-release.ts';
import { plannedReplicas } from '../release/planned-replicas.ts';

const FIRST_PAUSE_MS = 5000;
const MAX_PAUSE_MS = 60_000;

/**
 * Starts the live release of a tool after a start of the server, or after a rename of the tool. The server already
 * listens. If the tool is stopped, ends its processes instead. Removes the processes that an unfinished rollout of an
 * earlier server left. Retries until it succeeds or the signal fires, because no other code resumes a tool.
 */
export async function resumeTool(
  context: DeployContext,
  name: ToolName,
  signal: AbortSignal,
  firstPauseMs: number = FIRST_PAUSE_MS,
): Promise<void> {
  const { log } = context;
  let failures = 0;
  for (let pauseMs = firstPauseMs; !signal.aborted; pauseMs = Math.min(pauseMs * 2, MAX_PAUSE_MS)) {
    try {
      // After a failure, wait if a deployment of the tool runs or waits: it may make another release live.
      if (failures === 0 || !isDeploying(context, name)) {
        await resumeOnce(context, name);
        if (failures > 0) log.info({ tool: name, failures }, 'tool resumed');
        return;
      }
    } catch (err) {
      if (signal.aborted) return;
      failures += 1;
      const isAlarm = alarmAbout(log, err, { tool: name });
      if (!isAlarm && failures === 1) log.error({ tool: name, err }, 'tool not resumed yet');
      else log.warn({ tool: name, err, failures }, 'tool not resumed yet');
    }
    await wait(pauseMs, null, { signal }).catch(() => {});
  }
}

async function resumeOnce(context: DeployContext, name: ToolName): Promise<void> {
  const { store, runtime } = context;
  const tool = store.tool(name);
  const release = tool.liveVersion === null ? null : store.release(name, tool.liveVersion);
  if (release !== null && tool.isStopped) {
    await runtime.stop(name);
    if (tool.isInMaintenance) await runtime.beginMaintenance(release, tool.number);
  } else if (release !== null) {
    const running = withOutside(release, await outsideVarsOf(context, name));
    const now = store.tool(name);
    // Resume nothing if another release has gone live meanwhile, or if somebody has stopped the tool.
    const isStillMeant = now.liveVersion === tool.liveVersion && !now.isStopped;
    if (isStillMeant) await runtime.resume(running, tool.number, plannedReplicas(context, release));
  }
  await runtime.cleanUp(name);
}

function isDeploying({ store }: DeployContext, name: ToolName): boolean {
  return store.unfinishedDeployments().some(({ tool }) => tool === name);
}
