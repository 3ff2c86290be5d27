import { outputTime } from '../../core/fair-share/time-shares.ts';
import type { ToolName } from '../../core/names.ts';
import { namedCommands, replicasOf } from '../../core/replicas.ts';
import type { ProcessStatus } from '../../run/runtime.ts';
import type { ToolRecord } from '../../store/store.ts';
import type { CommandContext, LoginCommand } from '../command.ts';
import { lists } from '../command-line/list-command.ts';
import { columns, json } from '../command-line/printing.ts';

/**
 * The state of a tool. `new` and `failed` mean that nothing is live yet. `down` means that no process of the live
 * release runs. `commands` also means that no process runs, but only because the live release consists of named
 * commands that nobody keeps running.
 */
export type ToolState = 'new' | 'failed' | 'stopped' | 'up' | 'starting' | 'crashed' | 'down' | 'commands';

export const toolsCommand: LoginCommand = {
  name: 'tools',
  usage: '[--json]',
  summary: 'list the tools that you maintain, and their states',
  examples: ['tools', 'tools --json'],
  details: [
    '--json prints an array of objects with: name, version (null if no release is live), state, address (null if the name cannot be part of a host name, or if the host name would be this server’s own), frozen (the reason, or null), maintenance (true or false).',
    'state: new (never deployed), failed (deployed, but never live), stopped, up, starting, crashed, down, or commands (live, but keeps no process running).',
  ],
  action: null,
  options: { json: { type: 'boolean' } },
  words: { min: 0, max: 0 },
  async run(context) {
    const { principal, signal } = context;
    await lists.run(principal, () => print(context), signal);
    return 0;
  },
};

async function print(context: CommandContext): Promise<void> {
  const { flags, out, principal } = context;
  const rows = await overview(context);
  if (flags['json'] === true) {
    await out(await outputTime.run(shareOf(context), () => json(rows)));
  } else if (rows.length === 0) {
    await out(
      principal.isOperator
        ? 'Nobody has pushed to a tool yet.\n'
        : `There is no tool that ${principal.uid} maintains.\n`,
    );
  } else {
    const lines = rows.map((row) => [
      row.name,
      row.version === null ? '-' : `v${row.version}`,
      stateWords(row),
      row.address ?? '-',
    ]);
    const table = () => columns([['TOOL', 'LIVE', 'STATE', 'ADDRESS'], ...lines]);
    await out(await outputTime.run(shareOf(context), table));
  }
}

/** The share of `outputTime` that the command uses. No tool has this name, because it contains a colon. */
function shareOf({ principal }: CommandContext): string {
  return `person:${principal.uid}`;
}

interface Overview {
  readonly name: ToolName;
  readonly version: number | null;
  readonly state: ToolState;
  readonly address: string | null;
  /** Why an operator has frozen the tool. Null if it is not frozen. */
  readonly frozen: string | null;
  /** True if visitors get a page about maintenance. */
  readonly maintenance: boolean;
}

/** The state of a tool in words, such as `up (in maintenance, frozen)`. */
function stateWords({ state, frozen, maintenance }: Overview): string {
  const remarks = [...(maintenance ? ['in maintenance'] : []), ...(frozen === null ? [] : ['frozen'])];
  return remarks.length === 0 ? state : `${state} (${remarks.join(', ')})`;
}

/**
 * Reads the state of one tool after the other, within the share of `outputTime` of the person, because one person may
 * have thousands of tools.
 */
async function overview(context: CommandContext): Promise<Overview[]> {
  const { services, signal } = context;
  const rows: Overview[] = [];
  for (const name of await namesFor(context)) {
    signal.throwIfAborted();
    // A tool without a record has never been used, so it has no processes.
    const isUsed = services.store.recordOf(name) !== null;
    const statuses = isUsed ? await services.runtime.status(name) : [];
    rows.push(await outputTime.run(shareOf(context), () => rowOf(context, name, statuses)));
  }
  return rows;
}

function rowOf(context: CommandContext, name: ToolName, statuses: readonly ProcessStatus[]): Overview {
  const { store, runtime } = context.services;
  const record = store.recordOf(name);
  const version = record?.liveVersion ?? null;
  const [last] = record === null ? [] : store.deployments(name, 1);
  const state = stateOf(record, statuses, (last?.endedAt ?? null) !== null);
  const isMeant = state === 'down' && keepsNothing(context, name, version);
  return {
    name,
    version,
    state: isMeant ? 'commands' : state,
    address: runtime.address(name),
    frozen: store.freezeOf(name)?.reason ?? null,
    maintenance: record?.isInMaintenance ?? false,
  };
}

/** True if all processes of the live release are named commands, and nobody has asked to keep any of them running. */
function keepsNothing(
  { services: { store } }: CommandContext,
  tool: ToolName,
  version: number | null,
): boolean {
  const live = version === null ? null : store.release(tool, version);
  if (live === null) return false;
  const counts = Object.values(replicasOf(live, store.replicas(tool)));
  return counts.length === namedCommands(live).length && counts.every((count) => count === 0);
}

/** Returns the tools that the person maintains. The operator maintains none, so gets every tool that has been used. */
async function namesFor({ services, principal, signal }: CommandContext): Promise<ToolName[]> {
  if (principal.isOperator) return services.store.tools().map(({ name }) => name);
  const names = await services.directory.toolsOf(principal.uid, signal);
  return names.filter((name) => principal.onlyTool === null || principal.onlyTool === name);
}

/**
 * The state of a tool. If a release is live and not stopped: `crashed` if one of its processes is crashed; otherwise
 * `starting` if one is starting; otherwise `up` if one is up or scheduled; otherwise `down`.
 *
 * @param hasFailed - True if the last deployment of the tool has ended. Used only if nothing is live, because that
 * deployment has then failed.
 */
export function stateOf(
  record: ToolRecord | null,
  statuses: readonly ProcessStatus[],
  hasFailed: boolean,
): ToolState {
  if (record === null || record.liveVersion === null) return hasFailed ? 'failed' : 'new';
  if (record.isStopped) return 'stopped';
  const states = new Set(statuses.map(({ state }) => state));
  if (states.has('crashed')) return 'crashed';
  if (states.has('starting')) return 'starting';
  return states.has('up') || states.has('scheduled') ? 'up' : 'down';
}
