import { DeployError } from '../../core/errors.ts';
import type { ToolName } from '../../core/names.ts';
import type { Progress } from '../../core/progress.ts';
import { countOf, namedCommands, replicasKept, replicasOf, scalable } from '../../core/replicas.ts';
import type { Release, Replicas } from '../../core/types.ts';
import type { DeployContext } from '../deploy-context.ts';

type Limited = Pick<DeployContext, 'store' | 'maxReplicas' | 'processTypes'>;

/** Names of process types that usually run all the time. Only examples in messages depend on it. */
const STAYS_UP = /bot|celery|clock|consum|daemon|listen|queue|sidekiq|stream|work/i;

/**
 * Returns how many processes of each type a release must run: the numbers that `scale` stored, or the release's own,
 * and at most `maxReplicas`. If more types would run than the limit `processTypes` allows, the last named commands get
 * 0. Earlier versions of this server started every process type. A named command that runs for this reason continues to
 * run: see `replicasKept`.
 */
export function plannedReplicas(context: Limited, release: Release): Replicas {
  const replicas = askedReplicas(context, release);
  const beyond = beyondLimit(context, release, replicas);
  return { ...replicas, ...Object.fromEntries(beyond.map((type) => [type, 0])) };
}

/** The most processes of one type of this tool: its own limit, or else the setting of the server. */
export function mostReplicas({ store, maxReplicas }: Limited, tool: ToolName): number {
  return store.ownLimits(tool).replicas ?? maxReplicas;
}

function askedReplicas(context: Limited, release: Release): Replicas {
  const { store } = context;
  const asked = { ...replicasKept(liveOf(store, release), release), ...store.replicas(release.tool) };
  return replicasOf(release, asked, mostReplicas(context, release.tool));
}

/**
 * The named commands that should run but do not, because other process types already reach the limit `processTypes`.
 * `scale` refuses to exceed this limit. But it stores its numbers for ever, also for a type that a release lacks, so a
 * later release that has the type can exceed the limit.
 */
export function beyondLimit(
  context: Limited,
  release: Release,
  replicas: Replicas = askedReplicas(context, release),
): string[] {
  const isRunning = (type: string) => (countOf(replicas, type) ?? 0) > 0;
  const named = namedCommands(release).map(({ type }) => type);
  const others = Object.keys(replicas).filter((type) => !named.includes(type) && isRunning(type));
  return named.filter(isRunning).slice(Math.max(0, context.processTypes - others.length));
}

/**
 * The numbers of processes to store for a tool after `changes`. A named command that does not run because too many
 * types would run (`processTypes`) gets 0, unless `changes` has its number.
 */
export function askedAfter(context: Limited, release: Release, changes: Replicas): Replicas {
  const ended = Object.fromEntries(beyondLimit(context, release).map((type) => [type, 0]));
  return { ...context.store.replicas(release.tool), ...ended, ...changes };
}

/**
 * Warns about the named commands that do not run because other process types already reach the limit `processTypes`,
 * and about each type that is scaled to more processes than the limit `maxReplicas`.
 */
export function warnOfTooMany(context: Limited, release: Release, progress: Progress): void {
  const { store, processTypes } = context;
  const maxReplicas = mostReplicas(context, release.tool);
  const left = beyondLimit(context, release);
  if (left.length > 0)
    progress.warn(
      `${left.length} commands do not run, because at most ${processTypes} process types of one tool may run (process_types): ${left.join(', ')}.`,
    );
  for (const [type, count] of Object.entries(replicasOf(release, store.replicas(release.tool)))) {
    if (count > maxReplicas)
      progress.warn(
        `The tool is scaled to ${count} ${type} processes, but at most ${maxReplicas} processes of each type may run (max_replicas).`,
      );
  }
}

/**
 * Prints which process types do not start by themselves, and how to start them. Earlier versions of this server started
 * every process type. Also prints which types continue to run for this reason: see `replicasKept`.
 */
export function sayNamedCommands(context: Limited, release: Release, progress: Progress): void {
  const { store } = context;
  const { tool, artifact } = release;
  const set = store.replicas(tool);
  for (const type of Object.keys(replicasKept(liveOf(store, release), release))) {
    if (countOf(set, type) === undefined)
      progress.line(`the process ${type} goes on running, as before; to end it: \`scale ${tool} ${type}=0\``);
  }
  const replicas = plannedReplicas(context, release);
  const scheduled = new Set(
    artifact.processes.flatMap(({ schedule, launchedAs }) => (schedule ? launchedAs : [])),
  );
  const types = namedCommands(release)
    .filter(({ isTest }) => isTest !== true)
    .map(({ type }) => type)
    .filter((type) => countOf(replicas, type) === 0 && !scheduled.has(type));
  const [first] = types;
  if (first === undefined) return;
  const kept = types.find((type) => STAYS_UP.test(type)) ?? first;
  const once = types.find((type) => !STAYS_UP.test(type)) ?? first;
  progress.line(`commands, which do not start by themselves: ${types.join(', ')}`);
  progress.line(
    `to run one: \`run ${tool} ${once}\`; to keep one running: \`scale ${tool} ${kept}=1\`; to run one on a schedule: a component in toolforge.yaml`,
  );
}

/**
 * Checks a request to scale a release.
 *
 * @throws DeployError `NO_PROCESS_TYPE` if the release lacks a type; `TOO_MANY_PROCESSES` if a limit would be exceeded.
 */
export function assertScalable(context: Limited, release: Release, changes: Replicas): void {
  const { processTypes } = context;
  const { tool } = release;
  const maxReplicas = mostReplicas(context, tool);
  const types = scalable(release).map(({ type }) => type);
  for (const [type, count] of Object.entries(changes)) {
    if (!types.includes(type)) throw noType(release, type, types);
    if (count > maxReplicas)
      throw tooMany(
        `${count} ${type} processes are too many: at most ${maxReplicas} processes of each type may run (max_replicas)`,
        `To run as many as are allowed: \`scale ${tool} ${type}=${maxReplicas}\`. Or ask the operator for a higher max_replicas.`,
      );
  }
  const now = plannedReplicas(context, release);
  const begun = Object.keys(changes).filter((type) => !countOf(now, type) && countOf(changes, type));
  const running = Object.values({ ...now, ...changes }).filter((count) => count > 0).length;
  if (begun.length > 0 && running > processTypes)
    throw tooMany(
      `${running} process types would run, but at most ${processTypes} of one tool may run (process_types)`,
      `To end one: \`scale ${tool} TYPE=0\`. Or ask the operator for a higher process_types.`,
    );
}

/**
 * Checks a request to restart the processes of one type.
 *
 * @throws DeployError `NO_PROCESS_TYPE` if the release lacks the type; `NOT_RUNNING` if no process of the type should
 * run.
 */
export function assertRuns(context: Limited, release: Release, type: string): void {
  const { tool, version } = release;
  const types = scalable(release).map((process) => process.type);
  if (!types.includes(type)) throw noType(release, type, types);
  if (context.store.tool(tool).isStopped)
    throw new DeployError(
      'NOT_RUNNING',
      `v${version} of ${tool} is stopped`,
      `To start all its processes: \`restart ${tool}\``,
    );
  if (countOf(plannedReplicas(context, release), type) === 0)
    throw new DeployError(
      'NOT_RUNNING',
      `v${version} of ${tool} runs no ${type} process`,
      `To start one: \`scale ${tool} ${type}=1\``,
    );
}

function tooMany(message: string, hint: string): DeployError {
  return new DeployError('TOO_MANY_PROCESSES', message, hint);
}

/** Describes how the numbers of processes change: `web 1 → 2, worker 1 → 0`, or `no change`. */
export function replicaChanges(before: Replicas, after: Replicas): string {
  const changes = Object.entries(after).flatMap(([type, count]) => {
    const was = countOf(before, type) ?? 0;
    return was === count ? [] : [`${type} ${was} → ${count}`];
  });
  return changes.length === 0 ? 'no change' : changes.join(', ');
}

function noType({ tool, version }: Release, type: string, types: readonly string[]): DeployError {
  const known = types.length === 0 ? 'no process that is kept running' : types.join(', ');
  return new DeployError(
    'NO_PROCESS_TYPE',
    `v${version} of ${tool} has no process type “${type}”. It has ${known}`,
    `To see how many processes of each type run: \`scale ${tool}\``,
  );
}

function liveOf(store: DeployContext['store'], { tool }: Release): Release | null {
  const { liveVersion } = store.tool(tool);
  return liveVersion === null ? null : store.release(tool, liveVersion);
}
