import { randomBytes } from 'node:crypto';
import { ResumeLater } from '../../builder/builder.ts';
import { assertArtifactUsable } from '../../core/assert-artifact-usable.ts';
import { ConcurrencyLimit } from '../../core/concurrency/concurrency-limit.ts';
import { PerToolQueue } from '../../core/concurrency/per-tool-queue.ts';
import { PersonLimit } from '../../core/fair-share/person-limit.ts';
import { newId, short, type ToolName } from '../../core/names.ts';
import type { Progress } from '../../core/progress.ts';
import { replicasLine } from '../../core/replicas.ts';
import { sentence } from '../../core/text/sentence.ts';
import type { Deployment, Principal, Release, Replicas, Sizes } from '../../core/types.ts';
import { changeConfigVars, changeInShort } from '../../core/variables/config-changes.ts';
import { assertLicence, type CommitFacts, inspectCommit, type TreeLimits } from '../../git/commits.ts';
import { branchName, isAncestor, readDeployBranch } from '../../git/refs/deploy-branch.ts';
import { deploy } from '../deploy.ts';
import type { DeployContext } from '../deploy-context.ts';
import { DeploymentOutcomes, type DeploymentOutcomesOptions } from '../deployment-outcomes.ts';
import type { Deployments, ParkedPush, Ticket } from '../deployments.ts';
import { dryRun } from '../dry-run.ts';
import { planDeployment } from '../plan-deployment.ts';
import { BranchFollowers } from '../reconciliation/branch-followers.ts';
import { keptRequest, type ResumedBuild, resumedEntry } from '../reconciliation/resumed-builds.ts';
import { liveRelease } from '../release/live-release.ts';
import { assertRuns, assertScalable } from '../release/planned-replicas.ts';
import { buildAgain, rollbackTarget } from '../release/rollback-target.ts';
import { scale } from '../release/scale-release.ts';
import { alreadyLive, joinable, joinedVerdict } from './join-deployment.ts';
import { Entry, introducePush, newDeployment, personOf, type Request, type Wanted } from './line-entry.ts';
import {
  assertNotFrozen,
  deploymentRunning,
  dryRunTooLong,
  endedJustNow,
  noDeployment,
  shuttingDown,
  tooManyDryRuns,
} from './line-refusals.ts';
import { Turns } from './turns.ts';

export interface DeploymentLineOptions extends DeployContext, DeploymentOutcomesOptions {
  readonly concurrentDeployments: number;
  readonly treeLimits: TreeLimits;
  readonly licencePolicy: 'ignore' | 'warn' | 'refuse';
  /**
   * Checks that the person may still deploy the tool.
   *
   * @throws DeployError if they may not, or if the directory does not answer.
   */
  readonly assertStillMay: (
    principal: Principal,
    tool: ToolName,
    signal: AbortSignal,
    action?: 'deploy' | 'read',
  ) => Promise<void>;
}

/**
 * What a dry run uses instead of the server's own data: the repositories and perhaps the store. Also the output for its
 * client.
 */
export interface PushTrial
  extends Pick<DeployContext, 'repositories'>,
    Partial<Pick<DeployContext, 'store'>> {
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

/**
 * For this time after a deployment has ended, a `cancel` without an id is refused, because the person may have meant
 * the ended deployment.
 */
const JUST_NOW_MS = 5000;
/**
 * How many dry runs of all people together may run at the same time, in addition to the deployments. Each dry run may
 * take `DRY_RUN_MS`.
 */
const MAX_DRY_RUNS = 2;
const DRY_RUN_MS = 5 * 60_000;

/** Implements the queue of deployments. The interface `Deployments` documents its methods. */
export class DeploymentLine implements Deployments {
  readonly #options: DeploymentLineOptions;
  readonly #turns: Turns;
  readonly #outcomes: DeploymentOutcomes;
  readonly #followers: BranchFollowers;
  /**
   * Adds the pushes of one tool to the queue one at a time, because the server first asks git whether a push joins or
   * supersedes others in the queue. Two such decisions at the same time could contradict each other.
   */
  readonly #submitting = new PerToolQueue();
  /** Makes the changes of a tool's maintenance mode wait for each other. */
  readonly #maintaining = new PerToolQueue();
  /**
   * For an entry that was next in its tool's queue when a deployment ended: the id of that deployment, and when it
   * ended (`performance.now()`). A cancelled deployment is not recorded here.
   */
  readonly #endedBefore = new WeakMap<Entry, { readonly id: string; readonly at: number }>();
  /**
   * Dry runs do not wait in the queue of deployments, so this limits them: one dry run of each person runs at a time,
   * and two more of the same person may wait. The same numbers apply to each deploy token.
   */
  readonly #tryingOfPerson = new PersonLimit(
    { ofPerson: 1, ofToken: 1 },
    { most: 2, refusal: tooManyDryRuns },
    (uid) => personOf({ uid }),
  );
  readonly #trying: ConcurrencyLimit;
  /**
   * Each person has one commit inspected at a time, because an inspection is expensive: git lists up to 50,000 paths of
   * a kilobyte each for one commit, and the same commit can be pushed again and again.
   */
  readonly #inspecting = new PersonLimit({ ofPerson: 1, ofToken: 1 });
  #isClosing = false;

  constructor(options: DeploymentLineOptions) {
    this.#options = options;
    this.#outcomes = new DeploymentOutcomes(options);
    this.#followers = new BranchFollowers(options);
    this.#trying = new ConcurrencyLimit(MAX_DRY_RUNS);
    this.#turns = new Turns({ limit: options.concurrentDeployments, run: (entry) => this.#run(entry) });
  }

  /** Checks the commit of a push. @throws DeployError `NO_LICENCE` or an error of `inspectCommit` if it is refused. */
  async inspect(push: ParkedPush): Promise<CommitFacts> {
    const { repositories, treeLimits, licencePolicy } = this.#options;
    const inspect = () => inspectCommit(repositories, push.tool, push.commit, treeLimits);
    const facts = await this.#inspecting.run(push.principal, inspect, new AbortController().signal);
    if (licencePolicy === 'refuse') assertLicence(facts);
    return facts;
  }

  /** @param inspected - The result of `inspect`. By default, the commit is inspected now. */
  async submit(push: ParkedPush, inspected?: CommitFacts): Promise<Ticket> {
    const facts = inspected ?? (await this.inspect(push));
    return await this.#submitting.run(push.tool, () => this.#take(push, facts));
  }

  /**
   * Tells `progress` what a push would do, and changes nothing. The push does not enter the queue.
   *
   * @param trial - `repositories` has the objects of the push. `store` is given if it differs from that of the server.
   * @throws DeployError if the real push would be refused or would fail before its build; the signal's reason.
   */
  async tryOut(push: ParkedPush, trial: PushTrial): Promise<void> {
    const { repositories, progress, signal, store = this.#options.store } = trial;
    const { tool, principal } = push;
    if (this.#isClosing) throw shuttingDown();
    assertNotFrozen(store, tool, 'push');
    this.#turns.assertRoom(tool, principal);
    const before = this.#turns.waiting(tool).length + (this.#turns.running(tool) === null ? 0 : 1);
    if (before > 0) progress.line(`deployments of ${tool} that run or wait now: ${before}`);
    const context = { ...this.#options, repositories, store };
    const run = async () => {
      const inTime = AbortSignal.timeout(DRY_RUN_MS);
      await dryRun(context, push, { progress, signal: AbortSignal.any([signal, inTime]) }).catch((error) => {
        signal.throwIfAborted();
        throw inTime.aborted ? dryRunTooLong(DRY_RUN_MS) : error;
      });
    };
    await this.#tryingOfPerson.run(principal, () => this.#trying.run(run, signal), signal);
  }

  async rollback(
    tool: ToolName,
    version: number | null,
    principal: Principal,
    signal?: AbortSignal,
  ): Promise<Ticket> {
    const { store, repositories } = this.#options;
    const release = await rollbackTarget(this.#options, liveRelease(store, tool), version, signal);
    this.#assertUsable(release, buildAgain(release.version, repositories.deployBranch));
    const request: Request = { kind: 'rollback', version: release.version };
    return this.#enter({
      tool,
      commit: release.commit,
      request,
      principal,
      message: `Rollback to v${release.version}`,
    });
  }

  promote(source: ToolName, target: ToolName, isForced: boolean, principal: Principal): Ticket {
    const live = liveRelease(this.#options.store, source);
    this.#assertUsable(live);
    const { commit, version } = live;
    const request: Request = { kind: 'promote', source, version, isForced };
    const message = `Promote v${version} of ${source}`;
    return this.#enter({ tool: target, commit, request, principal, message });
  }

  redeploy(
    tool: ToolName,
    options: { readonly useCache: boolean; readonly isRebase?: boolean },
    principal: Principal,
  ): Ticket {
    const { commit } = liveRelease(this.#options.store, tool);
    const request: Request = { kind: 'redeploy', ...options };
    return this.#enter({ tool, commit, request, principal, message: null });
  }

  configure(
    tool: ToolName,
    changes: Readonly<Record<string, string | null>>,
    principal: Principal,
    { isStoredOnly }: { readonly isStoredOnly: boolean } = { isStoredOnly: false },
  ): Ticket | null {
    const { store } = this.#options;
    const vars = changeConfigVars(store.configVars(tool), changes);
    const isIdle = this.#turns.running(tool) === null && this.#turns.waiting(tool).length === 0;
    // Refuse to store config vars while a deployment of the tool runs or waits. When the deployment goes live, its own
    // config vars would replace the stored ones.
    if (isStoredOnly && !isIdle) throw deploymentRunning(tool);
    if (isIdle && (isStoredOnly || store.tool(tool).liveVersion === null)) {
      assertNotFrozen(store, tool, 'config');
      store.setConfigVars(tool, vars, principal.uid);
      return null;
    }
    const [next] = this.#turns.waiting(tool);
    const commit = (this.#turns.running(tool) ?? next ?? liveRelease(store, tool)).commit;
    const message = changeInShort(changes);
    return this.#enter({ tool, commit, request: { kind: 'config', changes }, principal, message });
  }

  restart(tool: ToolName, principal: Principal, type: string | null = null): Ticket {
    const live = liveRelease(this.#options.store, tool);
    if (type !== null) assertRuns(this.#options, live, type);
    this.#assertUsable(live);
    const { commit } = live;
    return this.#enter({ tool, commit, request: { kind: 'restart', type }, principal, message: type });
  }

  scale(tool: ToolName, changes: Replicas, principal: Principal, sizes: Sizes = {}): Ticket {
    const live = liveRelease(this.#options.store, tool);
    assertScalable(this.#options, live, changes);
    this.#assertUsable(live);
    const { commit } = live;
    const message = replicasLine(changes, sizes);
    return this.#enter({ tool, commit, request: { kind: 'scale', changes, sizes }, principal, message });
  }

  async stop(tool: ToolName, principal: Principal): Promise<void> {
    liveRelease(this.#options.store, tool);
    if (this.isBusy(tool)) throw deploymentRunning(tool);
    this.#options.store.setStopped(tool, true);
    await this.#options.runtime.stop(tool);
    this.#options.log.info({ tool, by: principal.uid }, 'tool stopped');
  }

  /** True while a deployment of the tool runs or waits. */
  isBusy(tool: ToolName): boolean {
    return this.#turns.running(tool) !== null || this.#turns.waiting(tool).length > 0;
  }

  setMaintenance(tool: ToolName, isOn: boolean, principal: Principal): Promise<boolean> {
    return this.#maintaining.run(tool, () => this.#setMaintenance(tool, isOn, principal));
  }

  async #setMaintenance(tool: ToolName, isOn: boolean, principal: Principal): Promise<boolean> {
    const { store, runtime, log } = this.#options;
    const { number, isInMaintenance: wasOn } = store.tool(tool);
    let hasOwnPage = false;
    // Show the maintenance page before the store records that the maintenance mode begins. Remove the page after the
    // store records that the mode ends. If the server is killed between these two steps, the next start removes the
    // page.
    if (isOn) hasOwnPage = await runtime.beginMaintenance(liveRelease(store, tool), number);
    try {
      store.setMaintenance(tool, isOn);
    } catch (error) {
      if (isOn && !wasOn) await runtime.endMaintenance(tool).catch(() => {});
      throw error;
    }
    if (!isOn)
      await runtime.endMaintenance(tool).catch((error: unknown) => {
        store.setMaintenance(tool, true);
        throw error;
      });
    log.info({ tool, isOn, by: principal.uid }, 'maintenance mode of a tool changed');
    return hasOwnPage;
  }

  cancel(tool: ToolName, id: string | null, principal: Principal): Deployment {
    const running = this.#turns.running(tool);
    const line = [...(running === null ? [] : [running]), ...this.#turns.waiting(tool)];
    const [first, second] = line;
    const entry = id === null ? first : line.find((one) => one.id === id);
    if (entry === undefined) throw noDeployment(tool, id);
    const before = this.#endedBefore.get(entry) ?? null;
    if (id === null && before !== null && performance.now() - before.at < JUST_NOW_MS)
      throw endedJustNow(tool, before.id, entry.id);
    // Refuse to cancel a deployment that has gone live.
    if (this.#options.store.deployment(entry.id)?.state === 'live')
      throw id === null ? endedJustNow(tool, entry.id, second?.id ?? null) : noDeployment(tool, id);
    entry.cancelledBy = principal.uid;
    entry.cancelling.abort();
    if (this.#turns.leave(entry)) this.#outcomes.end(entry, 'cancelled', `cancelled by ${principal.uid}`);
    return this.#options.store.deployment(entry.id) ?? entry.deployment;
  }

  async *follow(
    id: string,
    options: { readonly isColoured: boolean; readonly signal: AbortSignal },
  ): AsyncIterable<string> {
    const deployment = this.#options.store.deployment(id);
    if (deployment !== null) yield* this.#options.logs.follow(deployment.tool, id, options);
  }

  /**
   * Queues the deployments of an earlier server process whose builds continued after its end, or ended while it was
   * being stopped. Call this before the server listens, so that pushes of the same commits can join these deployments.
   *
   * @returns a function that lets these deployments continue. Call it once the server has begun to start the live
   * releases.
   */
  async resume(deployments: readonly ResumedBuild[]): Promise<() => void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    for (const resumed of deployments) {
      this.#turns.enter(await resumedEntry(resumed, this.#options.logs, promise));
    }
    return resolve;
  }

  /** Cancels all deployments of a tool that are not live yet. Resolves when all of them have ended. */
  async cancelAll(tool: ToolName, by: string): Promise<void> {
    const running = this.#turns.running(tool);
    const all = [...this.#turns.waiting(tool), ...(running === null ? [] : [running])];
    for (const entry of all) {
      entry.cancelledBy = by;
      entry.cancelling.abort();
      if (this.#turns.leave(entry)) this.#outcomes.end(entry, 'cancelled', `cancelled by ${by}`);
    }
    await Promise.all(all.map(({ verdict }) => verdict));
  }

  /**
   * Ends the queue when the server is being stopped. No deployment starts any more. The next server process resumes the
   * builds that can continue without this one. All other deployments that are not live yet end as interrupted.
   */
  async close(): Promise<void> {
    this.#isClosing = true;
    const all = this.#turns.all();
    for (const entry of all) {
      entry.cancelling.abort(new ResumeLater());
      if (this.#turns.leave(entry)) this.#outcomes.interrupt(entry);
    }
    await Promise.all(all.map((entry) => entry.verdict));
    await this.#followers.close();
  }

  async #take(push: ParkedPush, facts: CommitFacts): Promise<Ticket> {
    const { tool, commit } = push;
    const running = this.#turns.running(tool);
    const waiting = this.#turns.waiting(tool);
    const line = running === null ? waiting : [running, ...waiting];
    const same = await joinable(this.#options.repositories, line, push);
    // Join the deployment of the same commit only if it is still in the queue, because it may have ended while
    // `joinable` waited for git.
    if (same !== null && this.#turns.all().includes(same)) return this.#join(same, push);
    const isForced =
      waiting.length > 0 &&
      push.oldCommit !== null &&
      !(await isAncestor(this.#options.repositories, tool, push.oldCommit, commit));
    const replaces: Entry[] = [];
    for (const older of waiting) {
      if (older.request.kind !== 'push') continue;
      if (isForced || (await isAncestor(this.#options.repositories, tool, older.commit, commit)))
        replaces.push(older);
    }
    const request: Request = { kind: 'push', push };
    return this.#enter(
      {
        id: push.id,
        tool,
        commit,
        request,
        principal: push.principal,
        message: push.message ?? facts.subject,
        replaces,
      },
      ({ log }) => introducePush(push, facts, this.#options.licencePolicy === 'warn', log.progress),
    );
  }

  #assertUsable(release: Release, hint?: string): void {
    assertArtifactUsable(release, this.#options.builder.whyUnusable(release.artifact), hint);
  }

  #join(entry: Entry, push: ParkedPush): Ticket {
    entry.log.progress.step(`${push.principal.uid} joined this deployment with a push of the same commit`);
    return { id: entry.id, isJoined: true, verdict: joinedVerdict(this.#options.repositories, push, entry) };
  }

  #enter(wanted: Wanted, introduce: (entry: Entry) => void = () => undefined): Ticket {
    const { tool, commit, request, principal, message, replaces = [] } = wanted;
    const { store, logs } = this.#options;
    if (this.#isClosing) throw shuttingDown();
    assertNotFrozen(store, tool, request.kind);
    this.#turns.assertRoom(tool, principal, replaces);
    const live = store.tool(tool).liveVersion;
    const oldCommit = live === null ? null : (store.release(tool, live)?.commit ?? null);
    const deployment = newDeployment({
      id: wanted.id ?? newId(new Date(), randomBytes(10)),
      tool,
      kind: request.kind,
      commit,
      oldCommit: request.kind === 'push' ? request.push.oldCommit : oldCommit,
      principal,
      message,
    });
    const entry = new Entry({ deployment, request, principal, log: logs.open(tool, deployment.id) });
    try {
      store.addDeployment(deployment, keptRequest(request));
    } catch (error) {
      logs.end(deployment.id);
      throw error;
    }
    for (const older of replaces) {
      const why = `superseded by ${short(commit)}, a newer push of ${principal.uid}`;
      if (this.#turns.leave(older)) this.#outcomes.end(older, 'superseded', why);
    }
    introduce(entry);
    this.#turns.enter(entry);
    return { id: entry.id, isJoined: false, verdict: entry.verdict };
  }

  async #run(entry: Entry): Promise<void> {
    const { store } = this.#options;
    const { signal } = entry.cancelling;
    try {
      if (entry.resumption !== null) await entry.resumption;
      if (!entry.isResumed) {
        await this.#assertStillMay(entry);
        assertNotFrozen(store, entry.deployment.tool, entry.request.kind);
        store.updateDeployment(entry.id, { startedAt: Date.now() });
      }
      const plan = await planDeployment(this.#options, entry, entry.cancelling.signal);
      if (plan.kind === 'live-already') {
        const verdict = await alreadyLive(this.#options.repositories, plan, entry.log.progress);
        this.#outcomes.record(entry, { state: 'live', version: plan.version, endedAt: Date.now() });
        this.#outcomes.finish(entry, verdict);
        return;
      }
      const { commit } = plan.kind === 'scale' ? plan.plan.release : plan.plan;
      if (commit !== entry.commit) store.updateDeployment(entry.id, { commit });
      const { version, isBranchMoved } =
        plan.kind === 'scale'
          ? {
              version: await scale(this.#options, plan.plan, entry.log.progress, signal),
              isBranchMoved: true,
            }
          : await deploy(this.#options, plan.plan, entry.progress, signal);
      this.#options.log.info(
        { tool: entry.deployment.tool, version, deployment: entry.id, by: entry.principal.uid },
        'release live',
      );
      if (isBranchMoved) this.#outcomes.finish(entry, { isLive: true, version });
      else await this.#followLater(entry, version);
    } catch (error) {
      this.#outcomes.fail(entry, error);
    } finally {
      const [next] = this.#turns.waiting(entry.deployment.tool);
      if (next !== undefined && entry.cancelledBy === null)
        this.#endedBefore.set(next, { id: entry.id, at: performance.now() });
    }
  }

  /**
   * Tells the client that the release is live but that its branch has not moved, and keeps trying to move the branch.
   */
  async #followLater(entry: Entry, version: number): Promise<void> {
    const { tool } = entry.deployment;
    const { repositories } = this.#options;
    const branch = await readDeployBranch(repositories, tool).catch(() => null);
    const name = branch === null ? repositories.deployBranch : branchName(branch.ref);
    const reason = `v${version} is live, but the branch ${name} has not moved to it yet, because git fails on the server; the server keeps trying`;
    entry.log.progress.warn(
      `${sentence(reason)}\nFetch in a minute to see whether ${name} has moved to v${version}.`,
    );
    this.#outcomes.finish(entry, { isLive: false, reason });
    this.#followers.follow(tool);
  }

  /**
   * Checks once more, when the turn comes, that the person may deploy the tool. For a promotion, also checks that they
   * may read the tool whose release is promoted. They may have lost these rights while they waited.
   */
  async #assertStillMay(entry: Entry): Promise<void> {
    const { principal, deployment, cancelling } = entry;
    try {
      await this.#options.assertStillMay(principal, deployment.tool, cancelling.signal);
      if (entry.request.kind === 'promote')
        await this.#options.assertStillMay(principal, entry.request.source, cancelling.signal, 'read');
    } catch (error) {
      entry.isRefused = !cancelling.signal.aborted;
      throw error;
    }
    cancelling.signal.throwIfAborted();
  }
}
