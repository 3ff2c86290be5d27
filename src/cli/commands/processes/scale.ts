import { oneLine } from '../../../core/progress.ts';
import { countOf, replicasOf, scalable } from '../../../core/replicas.ts';
import type { Release, Replicas } from '../../../core/types.ts';
import type { ProcessStatus } from '../../../run/runtime.ts';
import type { ToolCommand, ToolContext } from '../../command.ts';
import { columns, json } from '../../command-line/printing.ts';
import { UsageError } from '../../command-line/usage-error.ts';
import { followTicket } from '../../follow-ticket.ts';

const MAX_TYPES = 100;
/** The highest value that the setting max_replicas can have. */
const MAX_PROCESSES = 1000;

export const scaleCommand: ToolCommand = {
  name: 'scale',
  usage: 'TOOL [TYPE=COUNT …] [--json]',
  summary: 'show or change how many processes of each type run',
  details: [
    'scale TOOL web=2 worker=1 starts missing processes and ends surplus processes. It makes no new release, and interrupts no other process.',
    'Only web starts by itself. Any other process type, such as worker, runs all the time only if you scale it, or if toolforge.yaml or app.json asks for it.',
    'If new processes do not become healthy, the number stays as before. Later deployments keep the numbers.',
    'Without TYPE=COUNT, scale lists the process types. --json: type, running, asked.',
  ],
  action: 'read',
  actionOf: (args) => (args.length === 0 ? 'read' : 'deploy'),
  options: { json: { type: 'boolean' } },
  words: { min: 0, max: MAX_TYPES },
  async run(context) {
    const { services, tool, principal, args, flags, out } = context;
    if (args.length > 0) {
      if (flags['json'] === true)
        throw new UsageError(
          '--json prints the list of process types, so it cannot be used with TYPE=COUNT.',
        );
      return await followTicket(context, services.deployments.scale(tool, countsOf(args), principal));
    }
    const rows = await rowsOf(context);
    if (flags['json'] === true) await out(json(rows));
    else if (rows.length === 0) await out(nothingToScale(context));
    else
      await out(
        columns([
          ['TYPE', 'RUNNING', 'ASKED'],
          ...rows.map(({ type, running, asked }) => [type, String(running), String(asked)]),
        ]),
      );
    return 0;
  },
};

/** `web=2 worker=0`, each type once. @throws UsageError */
function countsOf(args: readonly string[]): Replicas {
  const counts = new Map<string, number>();
  for (const arg of args) {
    const [, type, digits] = /^([^=]+)=(\d{1,9})$/.exec(arg) ?? [];
    const typed = oneLine(arg).slice(0, 80);
    if (type === undefined || Number(digits) > MAX_PROCESSES)
      throw new UsageError(
        `“${typed}” is not of the form TYPE=COUNT, for example web=2. COUNT is from 0 to ${MAX_PROCESSES}.`,
      );
    if (counts.has(type)) throw new UsageError(`${oneLine(type).slice(0, 80)} is given twice.`);
    counts.set(type, Number(digits));
  }
  return Object.fromEntries(counts);
}

interface Row {
  readonly type: string;
  /** How many processes of this type in the live release are up. */
  readonly running: number;
  readonly asked: number;
}

async function rowsOf({ services, tool }: ToolContext): Promise<Row[]> {
  const { store, runtime } = services;
  const { liveVersion } = store.tool(tool);
  const live = liveVersion === null ? null : store.release(tool, liveVersion);
  if (live === null) return [];
  const asked = replicasOf(live, store.replicas(tool));
  const statuses = await runtime.status(tool);
  return scalable(live).map(({ type }) => ({
    type,
    running: statuses.filter((status) => isUp(status, live, type)).length,
    asked: countOf(asked, type) ?? 0,
  }));
}

function isUp({ name, version, state }: ProcessStatus, live: Release, type: string): boolean {
  return state === 'up' && version === live.version && name.slice(0, name.lastIndexOf('.')) === type;
}

function nothingToScale({ services, tool }: ToolContext): string {
  return services.store.tool(tool).liveVersion === null
    ? `Nothing of ${tool} is live yet: git push toolforge main\n`
    : `The live release of ${tool} has no process type that runs all the time.\n`;
}
