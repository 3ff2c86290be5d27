import { DeployError } from '../../../core/errors.ts';
import { oneLine } from '../../../core/progress.ts';
import { countOf, replicasOf, scalable } from '../../../core/replicas.ts';
import { mebibytes } from '../../../core/text/mebibytes.ts';
import { parseQuantity } from '../../../core/text/quantity.ts';
import { limitsOf } from '../../../core/tool-limits.ts';
import type { ProcessSize, Release, Replicas, Sizes } from '../../../core/types.ts';
import type { ProcessStatus } from '../../../run/runtime.ts';
import { memoryLimit, settingsOf } from '../../../run/service-limits.ts';
import type { ToolCommand, ToolContext } from '../../command.ts';
import { columns, json } from '../../command-line/printing.ts';
import { UsageError } from '../../command-line/usage-error.ts';
import { followTicket } from '../../follow-ticket.ts';

const MAX_TYPES = 100;
/** The highest value that the setting max_replicas can have. */
const MAX_PROCESSES = 1000;
/**
 * The least memory that `scale` accepts for a process, in bytes. No interpreter starts with less, so a person who asks
 * for less has forgotten the unit.
 */
const LEAST_MEMORY = 16 * 2 ** 20;

export const scaleCommand: ToolCommand = {
  name: 'scale',
  usage: 'TOOL [TYPE=COUNT[:SIZE] …] [--json]',
  summary: 'show or change how many processes of each type run, and their size',
  examples: ['scale wikibot', 'scale wikibot web=2 worker=1', 'scale wikibot web=2:1Gi:500m'],
  details: [
    '`scale TOOL web=2 worker=1` starts missing processes and ends surplus processes. It makes no new release, and interrupts no other process.',
    'Only web starts by itself. Any other process type, such as worker, runs all the time only if you scale it, or if toolforge.yaml or app.json asks for it.',
    'If new processes do not become healthy, the number stays as before. Later deployments keep the numbers.',
    '`scale TOOL web=2:1Gi:500m` also gives each web process 1 GiB of memory and, in a cluster, half a processor core. web=2:default resets the size to what the files of the tool say. A new size replaces the processes without an interruption.',
    'Without TYPE=COUNT, `scale` lists the process types. --json prints an array of objects with: type, running, asked, memoryBytes, cpuCores (null if nothing is asked).',
  ],
  action: 'read',
  isAfterTool: (word) => word.includes('='),
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
      const { counts, sizes } = readScale(args);
      assertFits(context, sizes);
      return await followTicket(context, services.deployments.scale(tool, counts, principal, sizes));
    }
    const rows = await rowsOf(context);
    if (flags['json'] === true) await out(json(rows));
    else if (rows.length === 0) await out(nothingToScale(context));
    else
      await out(
        columns([
          ['TYPE', 'RUNNING', 'ASKED', 'MEMORY', 'CPU'],
          ...rows.map(({ type, running, asked, memoryBytes, cpuCores }) => [
            type,
            String(running),
            String(asked),
            mebibytes(memoryBytes),
            cpuCores === null ? '-' : String(cpuCores),
          ]),
        ]),
      );
    return 0;
  },
};

/** Reads `web=2 worker=0:256Mi`. @throws UsageError if a word has another form, or if a type is given twice. */
function readScale(args: readonly string[]): { counts: Replicas; sizes: Sizes } {
  const counts = new Map<string, number>();
  const sizes = new Map<string, ProcessSize>();
  for (const arg of args) {
    const [, type, digits, size] = /^([^=]+)=(\d{1,9})(?::(.*))?$/.exec(arg) ?? [];
    const typed = oneLine(arg).slice(0, 80);
    if (type === undefined || Number(digits) > MAX_PROCESSES)
      throw new UsageError(
        `“${typed}” is not of the form TYPE=COUNT, for example web=2, or TYPE=COUNT:MEMORY:CPU, for example web=2:512Mi:500m. COUNT is from 0 to ${MAX_PROCESSES}.`,
      );
    if (counts.has(type)) throw new UsageError(`${oneLine(type).slice(0, 80)} is given twice.`);
    counts.set(type, Number(digits));
    if (size !== undefined) sizes.set(type, readSize(size, typed));
  }
  return { counts: Object.fromEntries(counts), sizes: Object.fromEntries(sizes) };
}

/** Reads a size: `512Mi`, `512Mi:500m`, `:500m` or `default`. @throws UsageError if the text has another form. */
function readSize(size: string, typed: string): ProcessSize {
  if (size === 'default') return {};
  const [memory = '', cpu = '', ...more] = size.split(':');
  const [memoryBytes, cpuCores] = [parseQuantity(memory), parseQuantity(cpu)];
  const isWrong =
    (memory !== '' && memoryBytes === null) || (cpu !== '' && cpuCores === null) || more.length > 0;
  if (isWrong || (memoryBytes === null && cpuCores === null))
    throw new UsageError(
      `The size in “${typed}” is not valid. Write the memory with a unit, the processor cores, or both: web=2:512Mi, web=2:1Gi:500m, or web=2::500m.`,
    );
  if (memoryBytes !== null && memoryBytes < LEAST_MEMORY)
    throw new UsageError(
      `“${typed}” asks for less than ${mebibytes(LEAST_MEMORY)} of memory. Write a unit, for example web=2:512Mi.`,
    );
  return {
    ...(memoryBytes === null ? {} : { memoryBytes: Math.round(memoryBytes) }),
    ...(cpuCores === null ? {} : { cpuCores }),
  };
}

/** Checks the memory in `sizes`. @throws DeployError `TOO_MUCH_MEMORY` if it is more than the operator allows. */
function assertFits({ services, tool }: ToolContext, sizes: Sizes): void {
  const most = limitsOf(services.limits, services.store.ownLimits(tool)).memory;
  for (const [type, { memoryBytes = 0 }] of Object.entries(sizes)) {
    if (memoryBytes > most)
      throw new DeployError(
        'TOO_MUCH_MEMORY',
        `${oneLine(type).slice(0, 80)} would get ${mebibytes(memoryBytes)} of memory, but a process of this tool gets at most ${mebibytes(most)}`,
        'Ask for less, or ask the operator of this server to raise the limit of this tool.',
      );
  }
}

interface Row {
  readonly type: string;
  /** How many processes of this type in the live release are up. */
  readonly running: number;
  readonly asked: number;
  /** How much memory one process may use, in bytes. */
  readonly memoryBytes: number;
  /** The processor cores that one process asks for. Null if it asks for none. */
  readonly cpuCores: number | null;
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
    memoryBytes: memoryLimit(live, type, services.limits.memory),
    cpuCores: settingsOf(live, type).cpuCores ?? null,
  }));
}

function isUp({ name, version, state }: ProcessStatus, live: Release, type: string): boolean {
  return state === 'up' && version === live.version && name.slice(0, name.lastIndexOf('.')) === type;
}

function nothingToScale({ services, tool }: ToolContext): string {
  return services.store.tool(tool).liveVersion === null
    ? `Nothing of ${tool} is live yet: git push toolforge ${services.deployBranch}\n`
    : `The live release of ${tool} has no process type that runs all the time.\n`;
}
