import { BuildResumesLater, ResumeLater } from '../builder/builder.ts';
import { DeployError } from '../core/errors.ts';
import { BUILD_FAULTS, calm, ROLLOUT_FAULTS } from '../core/log/alarms.ts';
import type { ToolName } from '../core/names.ts';
import type { Progress } from '../core/progress.ts';
import { namedCommands, replicasOf, scheduledIn } from '../core/replicas.ts';
import { crashWords, MANY_CRASHES } from '../core/text/crash-words.ts';
import type { Artifact, DeploymentKind, Release } from '../core/types.ts';
import { withOutside } from '../core/variables/outside-vars.ts';
import { assertConfigured, missingVars } from '../core/variables/required-config.ts';
import { type DeployBranch, pointHead, readDeployBranch } from '../git/refs/deploy-branch.ts';
import { readRefs } from '../git/refs/ref-files.ts';
import { type RefLines, RefTransaction } from '../git/refs/ref-transaction.ts';
import type { Repositories } from '../git/repositories.ts';
import { buildStep } from './build-step.ts';
import type { DeployContext, DeployPlan } from './deploy-context.ts';
import { commitLost } from './line/line-refusals.ts';
import { adoptArtifact } from './promotion.ts';
import { HANDED_OVER } from './reconciliation/resumed-builds.ts';
import { assertReleaseRoom, withSecrets } from './release/config-vars.ts';
import {
  mostReplicas,
  plannedReplicas,
  sayNamedCommands,
  warnOfTooMany,
} from './release/planned-replicas.ts';

/** The result of a deployment. */
export interface Deployed {
  readonly version: number;
  /** False if git could not move the deploy branch to the commit of the release. */
  readonly isBranchMoved: boolean;
}

/**
 * Runs one deployment: builds the commit, makes a release, runs its test command and its `release` process, starts its
 * other processes, and moves the branch. If the plan has an artifact, builds nothing. If the plan restarts a release,
 * only starts its processes. The old release stays live until `goLive` has recorded the new one.
 *
 * @throws DeployError if a step fails; the signal's reason if the signal fires before the release is live. If the
 * reason is `ResumeLater` and the build continues or has just ended, throws BuildResumesLater, and the next server
 * process continues the deployment.
 */
export async function deploy(
  context: DeployContext,
  plan: DeployPlan,
  progress: Progress,
  signal: AbortSignal,
): Promise<Deployed> {
  const startedAt = performance.now();
  const { tool } = plan.deployment;
  if (plan.restartOf === null && !plan.isResumed) assertReleaseRoom(context.store, tool);
  if (plan.deployment.kind === 'push' && !plan.isResumed) warnOfCrashes(context, tool, progress);
  const build = plan.isResumed ? context.store.build(plan.deployment.id) : null;
  const beforeThisServer = build === null ? 0 : Date.now() - build.startedAt;
  const isBuilt = plan.artifact === null && plan.promotedFrom === null;
  const artifact = plan.artifact ?? build?.artifact ?? (await makeArtifact(context, plan, progress, signal));
  if (signal.reason instanceof ResumeLater && isBuilt) {
    // The server is being stopped. Store a reason that tells the next server process to continue this deployment. The
    // stored artifact alone does not tell that: a deployment that failed after its build has an artifact too, and looks
    // unfinished if the store could not record the failure.
    context.store.updateDeployment(plan.deployment.id, { reason: HANDED_OVER });
    throw new BuildResumesLater(plan.deployment.id);
  }
  signal.throwIfAborted();
  // A push may use the artifact of an earlier build. So check that the config vars which this artifact requires have
  // not been unset since that build.
  if (plan.deployment.kind === 'push') assertConfigured(tool, artifact.required ?? [], varsOf(plan));
  if (plan.deployment.kind === 'config') warnOfMissing(plan, artifact, progress);
  if (isBuilt) calm(context.log, BUILD_FAULTS, { tool });
  const builtAt = performance.now();

  context.store.updateDeployment(plan.deployment.id, { state: 'releasing', reason: null });
  const release = withOutside(
    plan.restartOf ?? createRelease(context, plan, artifact, progress),
    plan.outside,
  );
  sayOutside(plan, progress);
  const { store, runtime } = context;
  if (plan.restartOf === null) {
    const phase = { release, toolNumber: store.tool(tool).number, progress, signal };
    // Only a push and a redeploy run the test command. Other deployments must be quick, and their commit was tested
    // before it first went live.
    const isTested = plan.deployment.kind === 'push' || plan.deployment.kind === 'redeploy';
    if (isTested) await runtime.runReleasePhase({ ...phase, step: 'test' });
    await runtime.runReleasePhase({ ...phase, step: 'release' });
  }
  const isBranchMoved = await rollOut(context, plan, release, progress, signal);
  calm(context.log, ROLLOUT_FAULTS, { tool });

  await tagArtifact(context, release);
  if (plan.promotedFrom !== null) {
    const { tool: source, version } = plan.promotedFrom;
    try {
      store.notePromotion(source, version, `${tool} v${release.version}`);
    } catch (err) {
      context.log.warn({ err, tool, source }, 'cannot note a promotion at the release that was promoted');
    }
  }

  if (store.tool(tool).isInMaintenance)
    progress.warn(
      `${tool} is in maintenance, so visitors do not see v${release.version} yet; to end it: \`maintenance off ${tool}\``,
    );
  const buildMs = builtAt - startedAt + beforeThisServer;
  const times = `build ${inSeconds(buildMs)}, rollout ${inSeconds(performance.now() - builtAt)}`;
  progress.result(`v${release.version} is live${liveAs(context, release)}     (${times})`);
  return { version: release.version, isBranchMoved };
}

/** Warns of config vars that the app.json of the artifact requires but that are not set after this change. */
function warnOfMissing(plan: DeployPlan, { required = [] }: Artifact, progress: Progress): void {
  const names = missingVars(required, varsOf(plan)).map(({ name }) => name);
  if (names.length === 0) return;
  const { tool } = plan.deployment;
  progress.warn(
    `app.json requires config vars that are not set: ${names.join(', ')}. The next push is refused; to set them: \`config set ${tool} ${names.map((name) => `${name}=…`).join(' ')}\``,
  );
}

/** The config vars that the build and the processes of a deployment get. */
function varsOf({ configVars, outside }: DeployPlan): Record<string, string> {
  return { ...configVars, ...outside.vars };
}

/** Prints the names of the config vars that come from outside, for the person who waits for the deployment. */
export function sayOutside({ outside: { source, vars } }: DeployPlan, progress: Progress): void {
  const names = Object.keys(vars);
  if (names.length > 0) progress.line(`config vars from ${source}: ${names.join(', ')}`);
}

async function makeArtifact(
  context: DeployContext,
  plan: DeployPlan,
  progress: Progress,
  signal: AbortSignal,
): Promise<Artifact> {
  if (plan.promotedFrom === null) return await buildStep(context, plan, progress, signal);
  return await adoptArtifact(context, plan, plan.promotedFrom, signal);
}

/** The kinds of deployments whose release may have other process types than the live release. */
const MAY_CHANGE_TYPES: ReadonlySet<DeploymentKind> = new Set(['push', 'redeploy', 'rollback', 'promote']);

/** Tells the person who pushes which processes of the live release crash again and again. */
function warnOfCrashes({ store }: DeployContext, tool: ToolName, progress: Progress): void {
  const { liveVersion } = store.tool(tool);
  for (const crashes of store.crashes(tool)) {
    const isMany = crashes.version === liveVersion && crashes.count >= MANY_CRASHES;
    if (isMany)
      progress.warn(`${crashWords(crashes)}; to see its output: \`logs ${tool} -p ${crashes.process}\``);
  }
}

/**
 * Returns the end of the message `v42 is live`: the address of a release with a process `web`, or that the release is
 * only a set of commands or schedules. Returns an empty text in all other cases.
 */
function liveAs(context: DeployContext, release: Release): string {
  const { tool, artifact } = release;
  if (artifact.processes.some(({ type }) => type === 'web')) {
    const address = context.runtime.address(tool);
    return address === null ? '' : ` at ${address}`;
  }
  if (Object.values(plannedReplicas(context, release)).some((count) => count > 0)) return '';
  const parts = [
    ...(namedCommands(release).length > 0 ? ['commands'] : []),
    ...(scheduledIn(release).length > 0 ? ['schedules'] : []),
  ];
  return parts.length === 0 ? '' : ` as a set of ${parts.join(' and ')}; it keeps nothing running`;
}

const TAG_MS = 5000;

/**
 * Gives the artifact a tag with the release's version. If this fails, only logs the error, because the release is live
 * with or without this tag.
 */
async function tagArtifact({ builder, log }: DeployContext, release: Release): Promise<void> {
  const { tool, version, artifact } = release;
  await builder
    .tag(tool, artifact, version, AbortSignal.timeout(TAG_MS))
    .catch((err: unknown) => log.warn({ err, tool, version }, 'cannot tag the artifact with its release'));
}

function createRelease(
  context: DeployContext,
  plan: DeployPlan,
  artifact: Artifact,
  progress: Progress,
): Release {
  const { tool, id, by, credential } = plan.deployment;
  const secrets = (artifact.secrets ?? []).filter((name) => !Object.hasOwn(plan.outside.vars, name));
  const { vars, made } = withSecrets(context.store, tool, plan.configVars, secrets);
  if (made.length > 0) progress.line(`${made.join(', ')} set to a random secret, as app.json asks`);
  const release = context.store.addRelease({
    tool,
    commit: plan.commit,
    artifact,
    configVars: vars,
    description: plan.description,
    by,
    credential,
    deploymentId: id,
    createdAt: Date.now(),
  });
  context.store.updateDeployment(id, { version: release.version });
  progress.step(`Releasing v${release.version}`);
  return release;
}

/**
 * Starts the processes, records the release as live, sends requests to these processes and moves the branch, in this
 * order. The ref transaction is prepared before the release is recorded as live. Once `goLive` has recorded the
 * release, nothing here throws.
 *
 * @returns true if the branch has moved too. False if git could not move it.
 */
async function rollOut(
  context: DeployContext,
  plan: DeployPlan,
  release: Release,
  progress: Progress,
  signal: AbortSignal,
): Promise<boolean> {
  const { store, repositories, runtime } = context;
  const { tool, id } = plan.deployment;
  store.updateDeployment(id, { state: 'rolling-out', version: release.version });
  progress.step(`Rolling out v${release.version}`);
  warnOfTooMany(context, release, progress);
  if (MAY_CHANGE_TYPES.has(plan.deployment.kind)) sayNamedCommands(context, release, progress);
  let ref = plan.branchRef;
  // Makes the commands for git, which contain the branch's old commit. `RefTransaction` calls this function while it
  // keeps all other updates of the refs waiting (`takeRefs`). An earlier call could return an outdated commit: if the
  // branch is behind the live release, `BranchFollowers` may move it while the processes start.
  const lines = async (): Promise<string[]> => {
    const branch = await readDeployBranch(repositories, tool);
    ref ??= branch.ref;
    return await refLines(repositories, plan, release, branch);
  };
  const prepared: RefTransaction[] = [];
  const beforeSwitch = async (): Promise<void> => {
    signal.throwIfAborted();
    const at = Date.now();
    // Wait for the refs and for the file that gets a copy of the release, even if one of the two fails. After a
    // failure, the server deletes this file. If the copy were still being written then, the file would stay.
    const [refs, copied] = await Promise.allSettled([
      prepareRefs(context, plan, lines),
      store.copyRelease(tool, release.version, at),
    ]);
    if (refs.status === 'rejected') throw refs.reason;
    prepared.push(refs.value);
    if (copied.status === 'rejected') throw copied.reason;
    signal.throwIfAborted();
    if (plan.scaled !== null) store.setReplicas(tool, plan.scaled.asked, id, Date.now(), plan.scaled.sizes);
    store.goLive(tool, release.version, id, at);
  };
  try {
    const { number: toolNumber } = store.tool(tool);
    const replicas =
      plan.scaled === null
        ? plannedReplicas(context, release)
        : replicasOf(release, plan.scaled.asked, mostReplicas(context, tool));
    await runtime.rollOut({ release, toolNumber, progress, signal, beforeSwitch, replicas });
  } catch (error) {
    for (const transaction of prepared) await transaction[Symbol.asyncDispose]();
    throw error;
  }
  let isBranchMoved = true;
  for (const transaction of prepared) isBranchMoved = await moveRefs(context, tool, transaction);
  if (ref !== null) {
    await pointHead(repositories, tool, ref).catch((err: unknown) =>
      context.log.error(
        { err, tool },
        'cannot set HEAD to the deploy branch; the next deployment tries again',
      ),
    );
  }
  return isBranchMoved;
}

/**
 * Prepares the transaction that moves the branch and, for an atomic push, its tags.
 *
 * @throws DeployError `COMMIT_LOST` if the repository lacks the commit; `REFS_MOVED` if git refuses the transaction of
 * an atomic push with tags, because a tag may be the reason; otherwise git's own error.
 */
async function prepareRefs(
  { repositories }: DeployContext,
  { deployment: { tool }, commit, withUpdates }: DeployPlan,
  lines: RefLines,
): Promise<RefTransaction> {
  try {
    return await RefTransaction.prepare(repositories, tool, lines);
  } catch (cause) {
    if (cause instanceof Error && cause.message.includes('nonexistent object'))
      throw commitLost(tool, commit, cause);
    if (withUpdates.length === 0) throw cause;
    throw new DeployError(
      'REFS_MOVED',
      'the other refs of this atomic push could not be moved',
      'Another push may have moved these refs, or two ref names conflict. Fetch, then push again without --atomic to see which refs fail.',
      { cause },
    );
  }
}

/**
 * Moves the branch by a prepared transaction.
 *
 * @returns false if git keeps failing, so that the branch does not yet name the live commit.
 */
async function moveRefs(
  { log }: DeployContext,
  tool: ToolName,
  transaction: RefTransaction,
): Promise<boolean> {
  try {
    await using _done = transaction;
    await transaction.commit();
    return true;
  } catch (err) {
    log.error({ err, tool }, 'cannot move the branch to the live release; the server keeps trying');
    return false;
  }
}

/**
 * Returns the `git update-ref --stdin` commands that make the repository's refs agree with the new release. Returns
 * none for a restart.
 */
async function refLines(
  repositories: Repositories,
  plan: DeployPlan,
  release: Release,
  branch: DeployBranch,
): Promise<string[]> {
  if (plan.restartOf !== null) return [];
  const { commit, deployment } = plan;
  const ref = plan.branchRef ?? branch.ref;
  const old = branch.commit ?? '0'.repeat(commit.length);
  const move = ref === branch.ref ? [`update ${ref} ${commit} ${old}`] : [`create ${ref} ${commit}`];
  const replaced = ref !== branch.ref && branch.commit !== null ? [`delete ${branch.ref} ${old}`] : [];
  const waiting = `refs/deployments/${deployment.id}`;
  const parked = (await readRefs(repositories, deployment.tool, [waiting])).get(waiting);
  return [
    ...move,
    ...replaced,
    `create refs/releases/v${release.version} ${commit}`,
    ...(parked === undefined ? [] : [`delete ${waiting} ${parked}`]),
    ...plan.withUpdates,
  ];
}

/** Formats a duration in seconds, for example `0.4 s` or `14 s`. */
function inSeconds(milliseconds: number): string {
  const seconds = milliseconds / 1000;
  return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
}
