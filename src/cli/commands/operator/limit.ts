import { DeployError } from '../../../core/errors.ts';
import { ONE_OFF_TYPE } from '../../../core/replicas.ts';
import { mebibytes } from '../../../core/text/mebibytes.ts';
import { parseQuantity } from '../../../core/text/quantity.ts';
import { limitsOf, type ToolLimits } from '../../../core/tool-limits.ts';
import { memoryLimit } from '../../../run/service-limits.ts';
import type { ToolCommand, ToolContext } from '../../command.ts';
import { columns, json } from '../../command-line/printing.ts';
import { UsageError } from '../../command-line/usage-error.ts';

interface Limit {
  readonly what: string;
  readonly setting: string;
  readonly isBytes: boolean;
  readonly min: number;
  readonly max: number;
}

const MIB = 2 ** 20;

/**
 * For each limit of `ToolLimits`: its name for people, the setting with its default, and its range, which is the range
 * of the setting.
 */
const LIMITS: Readonly<Record<keyof ToolLimits, Limit>> = {
  memory: {
    what: 'memory of a process',
    setting: 'run_memory',
    isBytes: true,
    min: 16 * MIB,
    max: 1_048_576 * MIB,
  },
  builds: { what: 'builds in 24 hours', setting: 'builds_a_day', isBytes: false, min: 1, max: 100_000 },
  replicas: { what: 'processes of a type', setting: 'max_replicas', isBytes: false, min: 1, max: 1000 },
  repository: {
    what: 'size of the repository',
    setting: 'repository_size',
    isBytes: true,
    min: MIB,
    max: 1_048_576 * MIB,
  },
};
const NAMES = Object.keys(LIMITS) as (keyof ToolLimits)[];

export const limitCommand: ToolCommand = {
  name: 'limit',
  usage: 'TOOL [NAME=VALUE]… [--json]',
  summary: 'show the limits of a tool, or set limits for this tool alone',
  examples: ['limit wikibot', 'limit wikibot memory=2Gi builds=20', 'limit wikibot memory=default'],
  details: [
    ...NAMES.map(
      (name) => `${name}: ${LIMITS[name].what}. By default, the setting ${LIMITS[name].setting} applies.`,
    ),
    'Sizes have a unit: memory=2Gi, repository=500Mi. NAME=default resets a limit to the setting of this server.',
    'A new limit of memory counts for processes that start with the next deployment or restart.',
    '--json prints an array of objects with: name, value (bytes for sizes), isOwn (false if the setting applies), setting.',
  ],
  isForOperator: true,
  action: 'manage',
  isAfterTool: (word) => word.includes('='),
  options: { json: { type: 'boolean' } },
  words: { min: 0, max: NAMES.length },
  async run(context) {
    const { services, tool, args, flags, out } = context;
    if (args.length > 0) services.store.setOwnLimits(tool, changed(services.store.storedLimits(tool), args));
    const own = services.store.ownLimits(tool);
    const limits = limitsOf(services.limits, own);
    if (flags['json'] === true) {
      const fields = NAMES.map((name) => ({
        ...{ name, value: limits[name], isOwn: own[name] !== undefined, setting: LIMITS[name].setting },
      }));
      await out(json(fields));
      return 0;
    }
    const rows = NAMES.map((name) => [
      name,
      shown(name, limits[name]),
      own[name] === undefined
        ? `${LIMITS[name].setting}`
        : `set for this tool (the setting ${LIMITS[name].setting} is ${shown(name, services.limits[name])})`,
    ]);
    await out(columns([['LIMIT', 'VALUE', 'FROM'], ...rows]));
    const isMemoryChanged = args.some((word) => word.startsWith('memory='));
    if (isMemoryChanged && services.store.tool(tool).liveVersion !== null)
      await out(`The new memory counts after the next restart: ${context.typed(`restart ${tool}`)}\n`);
    return 0;
  },
};

export const quotaCommand: ToolCommand = {
  name: 'quota',
  usage: 'TOOL [--json]',
  summary: 'show what a tool uses of its limits',
  examples: ['quota wikibot'],
  details: [
    'During a rollout, the old and the new release run beside each other, so a tool needs twice its processes and memory.',
    'Processes that are ending, such as those of the release before, do not count as used: they have a column of their own.',
    '--json prints an array of objects with: name, used, ending (null if nothing of this kind can end), duringRollout (null if a rollout needs no more), limit (null if there is none), unit.',
  ],
  action: 'read',
  options: { json: { type: 'boolean' } },
  words: { min: 0, max: 0 },
  async run(context) {
    const { flags, out } = context;
    const rows = await usage(context);
    if (flags['json'] === true) {
      await out(json(rows));
      return 0;
    }
    const text = (value: number | null, unit: Row['unit']) =>
      value === null ? '-' : unit === 'bytes' ? mebibytes(value) : String(value);
    const isEnding = rows.some(({ ending }) => (ending ?? 0) > 0);
    const lines = rows.map(({ name, used, ending, duringRollout, limit, unit }) => [
      name,
      text(used, unit),
      ...(isEnding ? [text(ending, unit)] : []),
      text(duringRollout, unit),
      text(limit, unit),
    ]);
    const headings = ['QUOTA', 'USED', ...(isEnding ? ['ENDING'] : []), 'DURING A ROLLOUT', 'LIMIT'];
    await out(columns([headings, ...lines]));
    return 0;
  },
};

interface Row {
  readonly name: string;
  readonly used: number;
  /** How much the processes that are ending still use, in `unit`. Null in a row that is not about processes. */
  readonly ending: number | null;
  readonly duringRollout: number | null;
  readonly limit: number | null;
  readonly unit: 'bytes' | 'count';
}

const DAY_MS = 24 * 3600_000;

async function usage({ services, tool }: ToolContext): Promise<Row[]> {
  const { store, runtime } = services;
  const limits = limitsOf(services.limits, store.ownLimits(tool));
  const statuses = await runtime.status(tool);
  const running = statuses.filter(({ state, schedule }) => schedule === undefined && state !== 'off');
  const byType = Map.groupBy(running, ({ name }) => name.replace(/\.\d+$/, ''));
  const { liveVersion } = store.tool(tool);
  const live = liveVersion === null ? null : store.release(tool, liveVersion);
  const memoryOf = (type: string) =>
    live === null ? limits.memory : memoryLimit(live, type, services.limits.memory);
  const uses = [...byType].map(([type, processes]) => {
    const kept = processes.filter(({ state }) => state !== 'stopping');
    // `kept` may also have the processes of a rollout that runs now. Leave these out here, because a rollout starts a
    // second process only for each process of the live release.
    const needed = liveVersion === null ? kept : kept.filter(({ version }) => version === liveVersion);
    // Do not count one-off commands a second time, because a rollout does not start them again.
    const more = type === ONE_OFF_TYPE ? 0 : needed.length;
    const duringRollout = Math.max(kept.length, needed.length + more);
    return { type, used: kept.length, ending: processes.length - kept.length, duringRollout };
  });
  const memory = (counted: 'used' | 'ending' | 'duringRollout') =>
    uses.reduce((sum, use) => sum + use[counted] * memoryOf(use.type), 0);
  const now = Date.now();
  const builds = store.buildStarts(tool, now - DAY_MS).filter((at) => at <= now).length;
  return [
    {
      name: 'builds in 24 hours',
      used: builds,
      ending: null,
      duringRollout: null,
      limit: limits.builds,
      unit: 'count',
    },
    {
      name: 'repository',
      used: await services.repositoryBytes(tool),
      ending: null,
      duringRollout: null,
      limit: limits.repository,
      unit: 'bytes',
    },
    ...uses.map(
      ({ type, used, ending, duringRollout }): Row => ({
        name: `${type} processes`,
        ...{ used, ending, duringRollout: type === ONE_OFF_TYPE ? null : duringRollout },
        limit: type === ONE_OFF_TYPE ? null : limits.replicas,
        unit: 'count',
      }),
    ),
    {
      name: 'memory that processes may use',
      used: memory('used'),
      ending: memory('ending'),
      duringRollout: memory('duringRollout'),
      limit: null,
      unit: 'bytes',
    },
  ];
}

/**
 * The limits of a tool after the changes that `words` asks for. @throws UsageError if a word is not `NAME=VALUE` with
 * the name of a limit; DeployError `BAD_LIMIT` for a bad value.
 */
function changed(own: Partial<ToolLimits>, words: readonly string[]): Partial<ToolLimits> {
  const limits: Partial<Record<keyof ToolLimits, number>> = { ...own };
  for (const word of words) {
    const [given = '', value] = word.split('=', 2);
    const name = NAMES.find((one) => one === given);
    if (name === undefined || value === undefined || value === '')
      throw new UsageError(`A limit is NAME=VALUE, and NAME is one of ${NAMES.join(', ')}.`);
    if (value === 'default') delete limits[name];
    else limits[name] = parsed(name, value);
  }
  return limits;
}

function parsed(name: keyof ToolLimits, text: string): number {
  const { isBytes, min, max } = LIMITS[name];
  // Refuse a size without a unit, which would be bytes for some people and MiB for others.
  const value = isBytes && /^[\d.]+$/.test(text) ? null : parseQuantity(text);
  if (value !== null && value >= min && value <= max && (isBytes || /^\d+$/.test(text)))
    return Math.floor(value);
  throw new DeployError(
    'BAD_LIMIT',
    isBytes
      ? `the limit ${name} must be a size with a unit, from ${min / MIB}Mi to ${max / MIB}Mi`
      : `the limit ${name} must be a whole number from ${min} to ${max}`,
    `For example: \`limit TOOL ${name}=${isBytes ? '2Gi' : '20'}\`. Nothing has changed.`,
  );
}

/**
 * The limits that the operator has set for one tool, in words such as `memory 2048 MiB`, and the arguments of the
 * command `limit` that reset them, such as `memory=default`. Both are empty if no limit is set.
 */
export function ownLimitsInWords(own: Partial<ToolLimits>): { limits: string[]; resets: string[] } {
  const names = NAMES.filter((name) => own[name] !== undefined);
  return {
    limits: names.map((name) => `${name} ${shown(name, own[name] ?? 0)}`),
    resets: names.map((name) => `${name}=default`),
  };
}

/**
 * The arguments of the command `limit` that set these limits, such as `memory=2048Mi`. A value above the range of its
 * limit becomes the maximum of this range.
 */
export function wordsOfLimits(limits: Partial<ToolLimits>): string[] {
  return NAMES.filter((name) => limits[name] !== undefined).map((name) => {
    const { isBytes, max } = LIMITS[name];
    const value = Math.min(limits[name] ?? 0, max);
    return `${name}=${isBytes ? `${Math.ceil(value / MIB)}Mi` : value}`;
  });
}

function shown(name: keyof ToolLimits, value: number): string {
  return LIMITS[name].isBytes ? mebibytes(value) : String(value);
}
