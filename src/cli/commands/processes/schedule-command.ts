import { DeployError } from '../../../core/errors.ts';
import { outputTime } from '../../../core/fair-share/time-shares.ts';
import { oneLine } from '../../../core/progress.ts';
import { type ScheduledProcess, scheduledIn } from '../../../core/replicas.ts';
import { noSchedule } from '../../../core/schedule.ts';
import { took } from '../../../core/text/duration.ts';
import type { PastRun } from '../../../core/types.ts';
import { liveRelease } from '../../../deploy/release/live-release.ts';
import type { Output, ToolCommand, ToolContext } from '../../command.ts';
import { countOf } from '../../command-line/parse-words.ts';
import { ago, columns, iso, json, oneLineOfLog } from '../../command-line/printing.ts';
import { UsageError } from '../../command-line/usage-error.ts';
import { assertMayReadOutput } from './logs.ts';

/** The maximum number of lines that `schedule output` prints. */
const MAX_LINES = 10_000;
/** How long after the end of a process its last lines may still reach the log. */
const LATE_MS = 1500;

const list: ToolCommand = {
  name: 'schedule list',
  usage: 'TOOL [--json]',
  summary: 'list the scheduled processes of a tool',
  examples: ['schedule list wikibot'],
  details: [
    '--json prints an array of objects with: name, schedule, cron (five fields, UTC), isPaused, nextAt, lastRun (as in `ps --json`).',
  ],
  action: 'read',
  options: { json: { type: 'boolean' } },
  words: { min: 0, max: 0 },
  async run({ services, tool, flags, out }) {
    const paused = services.store.pausedSchedules(tool);
    const isPreview = services.store.previewOf(tool) !== null;
    const statuses = await services.runtime.status(tool);
    const { liveVersion } = services.store.tool(tool);
    const live = liveVersion === null ? null : services.store.release(tool, liveVersion);
    const rows = (live === null ? [] : scheduledIn(live)).map(({ type, schedule }) => ({
      name: type,
      schedule,
      isPaused: isPreview || paused.includes(type),
      status:
        statuses.find((one) => one.schedule !== undefined && one.name === `${type}.1`)?.schedule ?? null,
    }));
    if (flags['json'] === true) {
      await out(
        json(
          rows.map(({ name, schedule: { text, cron }, isPaused, status }) => ({
            name,
            schedule: text,
            cron,
            isPaused,
            nextAt: iso(status?.nextAt ?? null),
            lastRun: status?.lastRun
              ? {
                  ...status.lastRun,
                  startedAt: iso(status.lastRun.startedAt),
                  endedAt: iso(status.lastRun.endedAt),
                }
              : null,
          })),
        ),
      );
    } else if (rows.length === 0) {
      await out(
        live === null
          ? `Nothing of ${tool} is live yet: git push toolforge ${services.deployBranch}\n`
          : `The live release of ${tool} has no scheduled process.\n`,
      );
    } else {
      await out(
        columns([
          ['NAME', 'SCHEDULE', 'LAST RUN', 'NEXT RUN (UTC)'],
          ...rows.map(({ name, schedule, isPaused, status }) => [
            name,
            schedule.text,
            lastRunOf(status?.lastRun ?? null),
            isPaused
              ? 'paused'
              : (iso(status?.nextAt ?? null)
                  ?.slice(0, 16)
                  .replace('T', ' ') ?? '-'),
          ]),
        ]),
      );
    }
    return 0;
  },
};

const run: ToolCommand = {
  name: 'schedule run',
  usage: 'TOOL NAME',
  summary: 'start a run of a scheduled process now',
  examples: ['schedule run wikibot nightly'],
  details: ['The command does not wait for the end of the run. A paused schedule stays paused.'],
  action: 'deploy',
  options: {},
  words: { min: 1, max: 1 },
  async run(context) {
    const { services, tool, typed, out } = context;
    const { type } = processOf(context);
    if (services.store.tool(tool).isStopped)
      throw new DeployError(
        'NOT_RUNNING',
        `the tool ${tool} is stopped`,
        `Start it with: \`restart ${tool}\``,
      );
    await services.runtime.startScheduledRun(tool, type);
    await out(`A run of ${type} has started. Follow its output: ${typed(`logs ${tool} -f -p ${type}`)}\n`);
    return 0;
  },
};

const pause: ToolCommand = {
  name: 'schedule pause',
  usage: 'TOOL NAME',
  summary: 'stop starting runs of a scheduled process, until schedule resume',
  examples: ['schedule pause wikibot nightly'],
  details: ['A run under way continues. The schedule stays paused after deployments and restarts.'],
  action: 'deploy',
  options: {},
  words: { min: 1, max: 1 },
  run: (context) => setPaused(context, true),
};

const resume: ToolCommand = {
  name: 'schedule resume',
  usage: 'TOOL NAME',
  summary: 'start runs of a paused scheduled process again when they are due',
  examples: ['schedule resume wikibot nightly'],
  details: ['Runs that were due while the schedule was paused are skipped.'],
  action: 'deploy',
  options: {},
  words: { min: 1, max: 1 },
  run: (context) => setPaused(context, false),
};

const history: ToolCommand = {
  name: 'schedule history',
  usage: 'TOOL [NAME] [-n COUNT] [--json]',
  summary: 'list the scheduled runs that have ended, the newest first',
  examples: ['schedule history wikibot', 'schedule history wikibot nightly -n 5'],
  details: [
    '-n: how many runs, 20 by default, at most 1000.',
    '--json prints an array of objects with: number, type, startedAt, endedAt, exitCode, detail.',
  ],
  action: 'read',
  options: { count: { type: 'string', short: 'n' }, json: { type: 'boolean' } },
  words: { min: 0, max: 1 },
  async run({ services, tool, args, flags, out }) {
    const limit = countOf(flags, 'count', { min: 1, max: 1000, byDefault: 20, typed: '-n' });
    const runs = services.store.scheduledRuns(tool, typeIn(args), limit);
    if (flags['json'] === true) {
      await out(
        json(runs.map((one) => ({ ...one, startedAt: iso(one.startedAt), endedAt: iso(one.endedAt) }))),
      );
    } else if (runs.length === 0) {
      await out('no scheduled run has ended yet\n');
    } else {
      const row = ({ number, type, startedAt, endedAt, detail }: PastRun) => [
        String(number),
        type,
        `${(iso(startedAt) ?? '').slice(0, 19).replace('T', ' ')}`,
        took(endedAt - startedAt),
        detail ?? '',
      ];
      await out(columns([['RUN', 'NAME', 'STARTED (UTC)', 'TOOK', 'RESULT'], ...runs.map(row)]));
    }
    return 0;
  },
};

const output: ToolCommand = {
  name: 'schedule output',
  usage: 'TOOL NAME [RUN]',
  summary: 'print the output of a scheduled run that has ended',
  examples: ['schedule output wikibot nightly', 'schedule output wikibot nightly 12'],
  details: [
    'RUN is a number from `schedule history`. Without RUN, prints the output of the newest run.',
    'The output comes from the log of the tool, so the output of old runs may be gone.',
  ],
  action: 'read',
  options: {},
  words: { min: 1, max: 2 },
  async run(context) {
    const { services, tool, args, signal } = context;
    assertMayReadOutput(context);
    using place = services.followers.enter(context.principal, tool);
    const out = (text: Output) => place.write(context.out(text));
    const [, wanted] = args;
    if (wanted !== undefined && !/^\d{1,15}$/.test(wanted))
      throw new UsageError('RUN is a number from `schedule history`.');
    const type = typeIn(args);
    const runs = services.store.scheduledRuns(tool, type, 1000);
    const found = wanted === undefined ? runs[0] : runs.find(({ number }) => number === Number(wanted));
    if (found === undefined && wanted === undefined) {
      await out(`no scheduled run of ${oneLine(type ?? '').slice(0, 80)} has ended yet\n`);
      return 0;
    }
    if (type === null || found === undefined) {
      throw new DeployError(
        'NO_RUN',
        `no such run of ${oneLine(type ?? '').slice(0, 80)} is recorded`,
        `List the runs with: \`schedule history ${tool}\``,
      );
    }
    const since = new Date(found.startedAt).toISOString();
    const until = new Date(found.endedAt + LATE_MS).toISOString();
    const match = { since, until, text: null };
    const query = { process: `${type}.1`, lines: MAX_LINES, follow: false, match, signal };
    for await (const lines of services.runtime.logs(tool, query))
      await out(
        await outputTime.run(tool, () => lines.map(({ text }) => `${oneLineOfLog(text)}\n`).join('')),
      );
    return 0;
  },
};

/** The commands whose names begin with `schedule`. `schedule TOOL` means `schedule list TOOL`. */
export const scheduleCommands: readonly ToolCommand[] = [
  list,
  run,
  pause,
  resume,
  history,
  output,
  { ...list, name: 'schedule', usage: '[list|run|pause|resume|history|output] TOOL …', isAlias: true },
];

async function setPaused(context: ToolContext, isPaused: boolean): Promise<number> {
  const { services, tool, typed, out } = context;
  const { type, schedule } = processOf(context);
  if (!isPaused && services.store.previewOf(tool) !== null)
    throw new DeployError(
      'PREVIEW_SCHEDULE',
      `schedules do not run in a preview such as ${tool}`,
      `Start one run: \`schedule run ${tool} ${type}\``,
    );
  const wasPaused = services.store.pausedSchedules(tool).includes(type);
  services.store.setPaused(tool, type, isPaused);
  // Tell the runtime which schedules are paused even if the store has not changed, because the last such call may have
  // failed.
  await services.runtime.applyPauses(tool);
  await out(
    isPaused
      ? `${type} is ${wasPaused ? 'already ' : ''}paused. Resume it with: ${typed(`schedule resume ${tool} ${type}`)}\n`
      : `${type} ${wasPaused ? 'is resumed' : 'was not paused'}, and runs at its times: ${schedule.text}\n`,
  );
  return 0;
}

/**
 * The scheduled process of the live release that the first word names.
 *
 * @throws DeployError `NOTHING_LIVE` if no release is live; `NO_SCHEDULE` if the live release has no such scheduled
 * process.
 */
function processOf({ services, tool, args }: ToolContext): ScheduledProcess {
  const type = typeIn(args) ?? '';
  const process = scheduledIn(liveRelease(services.store, tool)).find((one) => one.type === type);
  if (process === undefined) throw noSchedule(tool, oneLine(type).slice(0, 80));
  return process;
}

/** The process type that the first word names: `update`, also for `update.1`. Null if there is no word. */
function typeIn([name]: readonly string[]): string | null {
  return name === undefined ? null : name.replace(/\.1$/, '');
}

function lastRunOf(
  run: { readonly startedAt: number; readonly endedAt: number | null; readonly detail: string | null } | null,
): string {
  if (run === null) return '-';
  const since = ago(run.startedAt, Date.now());
  if (run.endedAt === null) return `runs since ${since.replace(/ ago$/, '')}`;
  return run.detail === null ? since : `${since}: ${run.detail}`;
}
