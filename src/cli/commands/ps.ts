import { short } from '../../core/names.ts';
import { replicasOf } from '../../core/replicas.ts';
import type { ProcessStatus } from '../../run/runtime.ts';
import type { ToolCommand, ToolContext } from '../command.ts';
import { ago, columns, iso, json, oneLine } from '../printing.ts';

export const psCommand: ToolCommand = {
  name: 'ps',
  usage: 'TOOL [--json]',
  summary: 'the processes of a tool, and the deployments under way',
  details: [
    '--json: process, version, state (starting, up, crashed or stopping), startedAt, restarts, command, detail.',
  ],
  action: 'read',
  options: { json: { type: 'boolean' } },
  words: { min: 0, max: 0 },
  async run(context) {
    const { services, tool, flags, out } = context;
    const statuses = await services.runtime.status(tool);
    if (flags['json'] === true) {
      await out(json(statuses.map(asFields)));
      return 0;
    }
    await out(statuses.length === 0 ? nothingRuns(context) : processes(statuses));
    await out(underWay(context));
    return 0;
  },
};

function asFields(status: ProcessStatus): object {
  const { name, version, state, startedAt, restarts, command, detail } = status;
  return { process: name, version, state, startedAt: iso(startedAt), restarts, command, detail };
}

function processes(statuses: readonly ProcessStatus[]): string {
  const rows = statuses.map(({ name, version, state, startedAt, restarts, command, detail }) => [
    name,
    `v${version}`,
    detail === null ? state : `${state}: ${detail}`,
    ago(startedAt, Date.now()),
    String(restarts),
    command,
  ]);
  return columns([['PROCESS', 'VERSION', 'STATE', 'STARTED', 'RESTARTS', 'COMMAND'], ...rows]);
}

function nothingRuns({ services, tool, typed }: ToolContext): string {
  const record = services.store.tool(tool);
  if (record.liveVersion === null) return `Nothing of ${tool} is live yet: git push toolforge main\n`;
  if (record.isStopped)
    return `${tool} is stopped at v${record.liveVersion}. Start it with: ${typed(`restart ${tool}`)}\n`;
  const live = services.store.release(tool, record.liveVersion);
  const asked = live === null ? [] : Object.entries(replicasOf(live, services.store.replicas(tool)));
  const [first] = asked;
  if (first !== undefined && asked.every(([, count]) => count === 0))
    return `${tool} is scaled to none at v${record.liveVersion}. Start some with: ${typed(`scale ${tool} ${first[0]}=1`)}\n`;
  return `No process of ${tool} runs, though v${record.liveVersion} is live. See why: ${typed(`logs ${tool}`)}\n`;
}

/** A line for each deployment that has not ended, the one that is next first. */
function underWay({ services, tool }: ToolContext): string {
  const unfinished = services.store.unfinishedDeployments().filter((deployment) => deployment.tool === tool);
  return unfinished
    .map(
      ({ id, kind, commit, state, by }) =>
        `Deployment ${id} (${kind} of ${short(commit)} by ${oneLine(by)}) is ${state}.\n`,
    )
    .join('');
}
