import type { Inspection } from '../builder/builder.ts';
import type { Progress } from '../core/progress.ts';
import { releaseProcess, scheduledIn, testProcess } from '../core/replicas.ts';
import { sentence } from '../core/text/sentence.ts';
import type { Artifact, Release } from '../core/types.ts';
import { changedNames, changesInWords } from '../core/variables/config-changes.ts';
import { withOutside } from '../core/variables/outside-vars.ts';
import { assertConfigured } from '../core/variables/required-config.ts';
import { assertLicence, checkOut, inspectCommit, type TreeLimits } from '../git/commits.ts';
import { assertBuildsLeft, buildsInADay } from './build-step.ts';
import { sayOutside } from './deploy.ts';
import type { DeployContext, DeployPlan } from './deploy-context.ts';
import type { ParkedPush } from './deployments.ts';
import { introducePush, newDeployment } from './line/line-entry.ts';
import { planDeployment } from './plan-deployment.ts';
import { assertReleaseRoom } from './release/config-vars.ts';
import { plannedReplicas, replicaChanges } from './release/planned-replicas.ts';

export interface DryRunContext extends DeployContext {
  readonly treeLimits: TreeLimits;
  readonly licencePolicy: 'ignore' | 'warn' | 'refuse';
}

/**
 * Tells `progress` what a push would do: which buildpacks are detected, how many builds the tool has had in the last 24
 * hours and how many it may have, and what the rollout would change. Makes the checks that come before the build of the
 * real push, and changes nothing.
 *
 * @param context - Its `repositories` must have the objects of the push.
 * @throws DeployError if the real push would be refused or would fail before the first buildpack runs, or if the
 * cluster would refuse the rollout; AbortError when the signal fires.
 */
export async function dryRun(
  context: DryRunContext,
  push: ParkedPush,
  { progress, signal }: { readonly progress: Progress; readonly signal: AbortSignal },
): Promise<void> {
  const { store, runtime, repositories, licencePolicy } = context;
  const { tool, principal, message } = push;
  const facts = await inspectCommit(repositories, tool, push.commit, context.treeLimits);
  if (licencePolicy === 'refuse') assertLicence(facts);
  introducePush(push, facts, licencePolicy === 'warn', progress);
  const wanted = {
    deployment: newDeployment({ ...push, kind: 'push', message: message ?? facts.subject }),
    request: { kind: 'push', push },
    ...{ principal, progress, log: { progress }, isResumed: false },
  } as const;
  const planned = await planDeployment(context, wanted, signal);
  if (planned.kind === 'live-already') {
    progress.line(`v${planned.version} is live already with this commit, so the push would change nothing`);
    return;
  }
  if (planned.kind !== 'go') throw new Error(`a push cannot be planned as ${planned.kind}`);
  const { plan } = planned;
  assertReleaseRoom(store, tool);
  signal.throwIfAborted();
  if (plan.artifact === null) await runtime.assertReady(store.previewOf(tool) ?? tool, signal);
  else assertConfigured(tool, plan.artifact.required ?? [], { ...plan.configVars, ...plan.outside.vars });
  const next = plan.artifact ?? (await inspect(context, plan, progress, signal));
  sayChanges(context, plan, next, progress);
  await tryRollout(context, plan, next, { progress, signal });
}

/**
 * In a cluster, tells `progress` what the rollout would change there.
 *
 * @throws DeployError if the cluster would refuse the rollout.
 */
async function tryRollout(
  context: DeployContext,
  plan: DeployPlan,
  next: Inspection | Artifact,
  { progress, signal }: { readonly progress: Progress; readonly signal: AbortSignal },
): Promise<void> {
  const { store, runtime } = context;
  const { tool } = plan.deployment;
  const { number: toolNumber, liveVersion } = store.tool(tool);
  const { memory } = store.ownLimits(tool);
  const sizes = liveVersion === null ? undefined : store.release(tool, liveVersion)?.sizes;
  const release = {
    ...withOutside(releaseOf(plan, next), plan.outside),
    ...(memory === undefined ? {} : { mostMemoryBytes: memory }),
    ...(sizes === undefined ? {} : { sizes }),
  };
  const replicas = plannedReplicas(context, release);
  const previewOf = store.previewOf(tool);
  const tried = await runtime.tryOut({ release, toolNumber, replicas, previewOf, signal });
  if (tried === null) return;
  const isWhole = plan.artifact !== null;
  progress.step(`Objects in the cluster${isWhole ? '' : ', if the build defines no other processes'}`);
  for (const change of ['created', 'changed', 'removed'] as const) {
    const objects = tried.objects.filter((object) => object.change === change);
    const names = objects.map(({ kind, name }) => `${kind} ${name}`).join(', ');
    progress.line(`${change}: ${names || 'none'}`);
  }
  if (tried.quota === 'has-room') progress.line('the quota has room for the old and the new processes');
  else if (tried.quota !== null) progress.warn(`${sentence(tried.quota.message)} ${tried.quota.hint}`);
}

/**
 * Detects the buildpacks of a commit that must be built. For a push to a preview, detects them for the tool that the
 * preview belongs to, because the preview may not exist yet, or may end meanwhile.
 *
 * @throws DeployError `BUILD_LIMIT` if no build of the tool may start now; the errors of `Builder.inspect`.
 */
async function inspect(
  context: DeployContext,
  { deployment: { id, tool }, commit, configVars: stored, outside, useCache }: DeployPlan,
  progress: Progress,
  signal: AbortSignal,
): Promise<Inspection> {
  const { store, builder, repositories, buildsADay } = context;
  const configVars = { ...stored, ...outside.vars };
  const now = Date.now();
  assertBuildsLeft(context, tool, now);
  const place = store.previewOf(tool) ?? tool;
  const request = {
    ...{ id, tool: place, toolNumber: store.tool(place).number, commit, configVars, useCache },
    checkOut: (folder: string) => checkOut(repositories, tool, commit, folder, signal),
  };
  const found = await builder.inspect(request, progress, signal);
  const used = buildsInADay(context, tool, now).length;
  progress.line(`builds in the last 24 hours: ${used} of ${store.ownLimits(tool).builds ?? buildsADay}`);
  return found;
}

/** Says how the processes, the schedules and the names of the config vars would change. Shows no values. */
function sayChanges(
  context: DeployContext,
  plan: DeployPlan,
  next: Inspection | Artifact,
  progress: Progress,
): void {
  const { store } = context;
  const { tool } = plan.deployment;
  const { liveVersion } = store.tool(tool);
  const live = liveVersion === null ? null : store.release(tool, liveVersion);
  const after = releaseOf(plan, next);
  progress.step(
    live === null
      ? 'Nothing is live yet, so the rollout would replace no release'
      : `The rollout would change v${live.version}`,
  );
  progress.line(`processes: ${processChanges(context, live, after, plan.artifact !== null)}`);
  progress.line(`schedules: ${scheduleChanges(live, after)}`);
  const changed = changedNames(variablesOf(live), variablesAfter(live, after));
  progress.line(`config vars: ${changesInWords(changed) ?? 'no change'}`);
  sayOutside(plan, progress);
  if (testProcess(after) !== undefined) progress.line('the test command would run before the release');
  if (releaseProcess(after) !== undefined) progress.line('the release command would run before the rollout');
}

/** The release that the push would make, as far as it is known before the build. */
function releaseOf(plan: DeployPlan, next: Inspection | Artifact): Release {
  const { id, tool, by, credential, createdAt } = plan.deployment;
  const { processes, service, variables = {}, secrets = [] } = next;
  const artifact: Artifact = {
    ...{ id, kind: 'slug', reference: next.reference ?? '', buildpacks: [], bytes: 0 },
    ...{ processes, service, variables, secrets },
  };
  const { commit, configVars, description } = plan;
  return {
    ...{ tool, version: 0, commit, artifact, configVars, description },
    ...{ by, credential, deploymentId: id, createdAt },
  };
}

/**
 * Says how the numbers of processes would change.
 *
 * @param isWhole - True if all processes of `after` are known. False if the build may add some.
 */
function processChanges(
  context: DeployContext,
  live: Release | null,
  after: Release,
  isWhole: boolean,
): string {
  const before = live === null ? {} : plannedReplicas(context, live);
  const counts = plannedReplicas(context, after);
  const gone = Object.keys(before).filter((type) => !Object.hasOwn(counts, type));
  const them = gone.length === 1 ? 'it' : 'them';
  const rest = isWhole ? 'removed' : `only if the build defines ${them}, because no file names ${them}`;
  const changes = replicaChanges(before, counts);
  if (gone.length === 0) return Object.keys(counts).length === 0 ? 'those that the build defines' : changes;
  return `${changes}; ${gone.join(', ')} ${rest}`;
}

function scheduleChanges(live: Release | null, after: Release): string {
  const textsOf = (release: Release) =>
    new Map(scheduledIn(release).map(({ type, schedule }) => [type, schedule.text]));
  const before = live === null ? new Map<string, string>() : textsOf(live);
  const then = textsOf(after);
  const changed = [...then].flatMap(([type, text]) => {
    const was = before.get(type);
    if (was === text) return [];
    return [was === undefined ? `${type} added (${text})` : `${type} ${was} → ${text}`];
  });
  const removed = [...before.keys()].filter((type) => !then.has(type)).map((type) => `${type} removed`);
  return [...changed, ...removed].join(', ') || 'no change';
}

/** The config vars that processes of a release see, with the defaults of app.json. */
function variablesOf(release: Release | null): Record<string, string> {
  return release === null ? {} : { ...release.artifact.variables, ...release.configVars };
}

/** The config vars that processes of `after` would see. A random secret that `live` has keeps its value. */
function variablesAfter(live: Release | null, after: Release): Record<string, string> {
  const before = variablesOf(live);
  const secrets = (after.artifact.secrets ?? []).map((name) => [name, before[name] ?? ''] as const);
  return { ...Object.fromEntries(secrets), ...variablesOf(after) };
}
