import { setTimeout as wait } from 'node:timers/promises';
import { alarmAbout } from '../core/alarms.ts';
import type { ToolName } from '../core/names.ts';
import type { DeployContext } from './deploy-context.ts';
import { plannedReplicas } from './replicas.ts';

const FIRST_PAUSE_MS = 5000;
const MAX_PAUSE_MS = 60_000;

/**
 * At the start of a server: brings up what was live before, and removes what an earlier server had begun. The doors
 * are open meanwhile. It tries again until it succeeds or the signal fires, because nothing else would do it.
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
      // A deployment that is under way may make another release live.
      if (failures === 0 || !isDeploying(context, name)) {
        await resumeOnce(context, name);
        if (failures > 0) log.info({ tool: name, failures }, 'tool taken over');
        return;
      }
    } catch (err) {
      if (signal.aborted) return;
      failures += 1;
      const isAlarm = alarmAbout(log, err, { tool: name });
      if (!isAlarm && failures === 1) log.error({ tool: name, err }, 'tool not taken over yet');
      else log.warn({ tool: name, err, failures }, 'tool not taken over yet');
    }
    await wait(pauseMs, null, { signal }).catch(() => {});
  }
}

async function resumeOnce(context: DeployContext, name: ToolName): Promise<void> {
  const { store, runtime } = context;
  const tool = store.tool(name);
  const release = tool.liveVersion === null ? null : store.release(name, tool.liveVersion);
  if (release !== null && tool.isStopped) await runtime.stop(name);
  else if (release !== null) await runtime.resume(release, tool.number, plannedReplicas(context, release));
  await runtime.cleanUp(name);
}

function isDeploying({ store }: DeployContext, name: ToolName): boolean {
  return store.unfinishedDeployments().some(({ tool }) => tool === name);
}
