import { lostHint, lostWords } from '../../../core/lost-namespace.ts';
import { short } from '../../../core/names.ts';
import { oneLine } from '../../../core/progress.ts';
import { namedCommands, replicasOf } from '../../../core/replicas.ts';
import { crashWords, MANY_CRASHES } from '../../../core/text/crash-words.ts';
import { mebibytes } from '../../../core/text/mebibytes.ts';
import type { ProcessStatus, ScheduledRun } from '../../../run/runtime.ts';
import type { ToolCommand, ToolContext } from '../../command.ts';
import { ago, columns, iso, json, warning, width } from '../../command-line/printing.ts';

export const psCommand: ToolCommand = {
  name: 'ps',
  usage: 'TOOL [--json]',
  summary: 'list the processes of a tool, and its running and waiting deployments',
  examples: ['ps wikibot', 'ps wikibot --json'],
  details: [
    '--json prints an array of objects with: process, version, state (starting, up, crashed, stopping, scheduled, or off if somebody has scaled it to 0), startedAt, restarts, command, detail, memory (bytes), lastExit (null, or at, reason), schedule.',
    'In --json, schedule is null, or has text, cron (five fields, UTC), nextAt and lastRun (null, or startedAt, endedAt, exitCode, detail).',
  ],
  action: 'read',
  options: { json: { type: 'boolean' } },
  words: { min: 0, max: 0 },
  async run(context) {
    const { services, tool, flags, out } = context;
    const statuses = (await services.runtime.status(tool)).toSorted(newestFirst);
    if (flags['json'] === true) {
      await out(json(statuses.map(asFields)));
      return 0;
    }
    if (statuses.length === 0) await out(nothingRuns(context));
    const lost = lostNamespace(context);
    await out(lost);
    await out(manyCrashes(context));
    if (services.store.tool(tool).isInMaintenance)
      await out(`${tool} is in maintenance. End this with: ${context.typed(`maintenance off ${tool}`)}\n`);
    // If the namespace is lost, all processes have the same detail. The warning `lost`, which is printed above the
    // table, says the same, so leave out the details.
    const shown = lost === '' ? statuses : statuses.map((status) => ({ ...status, detail: null }));
    const scheduled = shown.filter(({ schedule }) => schedule !== undefined);
    const others = shown.filter(({ schedule }) => schedule === undefined);
    if (others.length > 0) await out(processes(others));
    if (scheduled.length > 0)
      await out(`${others.length > 0 ? '\n' : ''}${schedules(scheduled, (type) => isPaused(context, type))}`);
    await out(underWay(context));
    await out(frozen(context));
    return 0;
  },
};

/** Sorts the processes of the newest release first, and those of one release by their names. */
function newestFirst(one: ProcessStatus, other: ProcessStatus): number {
  return (
    other.version - one.version ||
    one.name.localeCompare(other.name, 'en', { numeric: true }) ||
    one.startedAt - other.startedAt
  );
}

function asFields(status: ProcessStatus): object {
  const { name, version, state, startedAt, restarts, command, detail, memoryBytes, lastExit } = status;
  const process = {
    process: name,
    version,
    state,
    startedAt: iso(startedAt || null),
    restarts,
    command,
    detail,
    memory: memoryBytes ?? null,
    lastExit: lastExit ? { at: iso(lastExit.at), reason: lastExit.words } : null,
  };
  if (status.schedule === undefined) return { ...process, schedule: null };
  const { text, cron, nextAt, lastRun } = status.schedule;
  const last =
    lastRun === null
      ? null
      : { ...lastRun, startedAt: iso(lastRun.startedAt), endedAt: iso(lastRun.endedAt) };
  return {
    ...process,
    startedAt: last?.startedAt ?? null,
    schedule: { text, cron, nextAt: iso(nextAt), lastRun: last },
  };
}

const MAX_COLUMNS = 100;

/**
 * Formats a table of processes. If a row would be too wide, the details of all processes follow in lines below the
 * table. Equal lines appear once, because while a pod replaces another pod of the same process, both may have the same
 * detail.
 *
 * @param row - Returns the row of a process. The row has the detail of the process unless the detail is null. For
 * details that follow below the table, `table` calls this function with a null detail.
 */
function table(
  headings: readonly string[],
  statuses: readonly ProcessStatus[],
  row: (status: ProcessStatus) => readonly string[],
): string {
  const whole = columns([headings, ...statuses.map(row)]);
  if (whole.split('\n').every((line) => width(line) <= MAX_COLUMNS)) return whole;
  const rows = statuses.map((status) => row({ ...status, detail: null }));
  const details = statuses.flatMap(({ name, detail }) =>
    detail === null ? [] : [`${name}: ${oneLine(detail)}\n`],
  );
  return columns([headings, ...rows]) + [...new Set(details)].join('');
}

function processes(statuses: readonly ProcessStatus[]): string {
  const headings = ['PROCESS', 'VERSION', 'STATE', 'STARTED', 'RESTARTS', 'MEMORY', 'COMMAND'];
  const rows = table(
    headings,
    statuses.map((status) => (isSaidByEnd(status) ? { ...status, detail: null } : status)),
    ({ name, version, state, startedAt, restarts, command, detail, memoryBytes }) => [
      name,
      `v${version}`,
      detail === null ? state : `${state}: ${detail}`,
      startedAt === 0 ? '-' : ago(startedAt, Date.now()),
      String(restarts),
      memoryBytes === null || memoryBytes === undefined ? '-' : mebibytes(memoryBytes),
      command ?? '',
    ],
  );
  return rows + statuses.map(lastEnd).join('');
}

/** A line that says when and how the process last ended. Empty if it has never ended. */
function lastEnd(status: ProcessStatus): string {
  const { name, detail, lastExit } = status;
  if (!lastExit) return '';
  const words = isSaidByEnd(status) ? (detail ?? '') : lastExit.words;
  return `${name} ended ${ago(lastExit.at, Date.now())}: ${oneLine(words)}\n`;
}

/** True if the detail begins with the words of `lastExit`, as the detail of a crashed process does. */
function isSaidByEnd({ detail, lastExit }: ProcessStatus): boolean {
  return lastExit ? detail?.startsWith(lastExit.words) === true : false;
}

/** True if the schedule of this process type starts no runs by itself. */
function isPaused({ services, tool }: ToolContext, type: string): boolean {
  return services.store.previewOf(tool) !== null || services.store.pausedSchedules(tool).includes(type);
}

function schedules(statuses: readonly ProcessStatus[], isPaused: (type: string) => boolean): string {
  const headings = ['SCHEDULED', 'VERSION', 'SCHEDULE', 'LAST RUN', 'NEXT RUN (UTC)', 'COMMAND'];
  return table(headings, statuses, ({ name, version, state, command, detail, schedule }) => [
    name,
    `v${version}`,
    schedule?.text ?? '',
    state === 'crashed'
      ? [state, ...(detail === null ? [] : [detail])].join(': ')
      : lastRunWords(schedule?.lastRun ?? null, detail !== null),
    isPaused(name.replace(/\.\d+$/, '')) ? 'paused' : minuteOf(schedule?.nextAt ?? null),
    command ?? '',
  ]);
}

/** A warning, with a hint, that the live release does not run because its namespace was deleted. Otherwise empty. */
function lostNamespace({ services, tool }: ToolContext): string {
  const lost = services.runtime.lostNamespace(tool);
  const { liveVersion } = services.store.tool(tool);
  if (lost === null || liveVersion === null) return '';
  return warning(`v${liveVersion} does not run: ${lostWords(lost)}.`, lostHint(lost, liveVersion));
}

/** A warning for each process of the live release that has crashed at least `MANY_CRASHES` times, or an empty text. */
function manyCrashes({ services, tool }: ToolContext): string {
  const { liveVersion } = services.store.tool(tool);
  return services.store
    .crashes(tool)
    .filter(({ version, count }) => version === liveVersion && count >= MANY_CRASHES)
    .map((crashes) => warning(`${crashWords(crashes)}.`))
    .join('');
}

function lastRunWords(run: ScheduledRun | null, isNoted: boolean): string {
  if (run === null) return '-';
  const since = ago(run.startedAt, Date.now());
  if (run.endedAt === null) return `runs since ${since.replace(/ ago$/, '')}`;
  return run.detail === null || !isNoted ? since : `${since}: ${run.detail}`;
}

/** Formats a time in UTC, to the minute: `2026-11-26 03:17`. `-` for null. */
function minuteOf(at: number | null): string {
  return at === null ? '-' : (iso(at) ?? '').slice(0, 16).replace('T', ' ');
}

function nothingRuns({ services, tool, typed }: ToolContext): string {
  const record = services.store.tool(tool);
  if (record.liveVersion === null)
    return `Nothing of ${tool} is live yet: git push toolforge ${services.deployBranch}\n`;
  if (record.isStopped)
    return `${tool} is stopped at v${record.liveVersion}. Start it with: ${typed(`restart ${tool}`)}\n`;
  const live = services.store.release(tool, record.liveVersion);
  const asked = live === null ? [] : Object.entries(replicasOf(live, services.store.replicas(tool)));
  const [first] = asked;
  const isNothingAsked = asked.every(([, count]) => count === 0);
  if (first !== undefined && isNothingAsked)
    return live !== null && namedCommands(live).length === asked.length
      ? `v${record.liveVersion} of ${tool} keeps no process running. Run a command with: ${typed(`run ${tool} ${first[0]}`)}\n`
      : `${tool} is scaled to 0 processes at v${record.liveVersion}. Start a process with: ${typed(`scale ${tool} ${first[0]}=1`)}\n`;
  return `No process of ${tool} runs, though v${record.liveVersion} is live. See why: ${typed(`logs ${tool}`)}\n`;
}

/** A line that says why an operator has frozen the tool. Empty if the tool is not frozen. */
function frozen({ services, tool }: ToolContext): string {
  const freeze = services.store.freezeOf(tool);
  if (freeze === null) return '';
  const since = ago(freeze.at, Date.now()).replace(/ ago$/, '');
  return `${freeze.isOfAll ? 'All tools are' : `${tool} is`} frozen (${since}), so nothing can be deployed: ${freeze.reason}\n`;
}

/** A line for each deployment of the tool that has not ended, or an empty text. */
function underWay({ services, tool }: ToolContext): string {
  const unfinished = services.store.unfinishedDeployments().filter((deployment) => deployment.tool === tool);
  return unfinished
    .map(
      ({ id, kind, commit, state, by }) =>
        `Deployment ${id} (${kind} of ${short(commit)} by ${oneLine(by)}) is ${state}.\n`,
    )
    .join('');
}
