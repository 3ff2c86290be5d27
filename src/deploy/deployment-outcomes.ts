import { randomUUID } from 'node:crypto';
import { BuildResumesLater } from '../builder/builder.ts';
import { DeployError } from '../core/errors.ts';
import { alarmAbout } from '../core/log/alarms.ts';
import type { Log } from '../core/log/log.ts';
import { sentence } from '../core/text/sentence.ts';
import type { Deployment, Principal } from '../core/types.ts';
import type { Runtime } from '../run/runtime.ts';
import type { Store } from '../store/store.ts';
import type { DeploymentLogs } from './deployment-log.ts';
import type { Verdict } from './deployments.ts';
import type { Entry } from './line/line-entry.ts';
import { failReleases } from './release/fail-releases.ts';
import { whatIsLive } from './release/live-release.ts';
import { explainFailure } from './verdict-reason.ts';

export interface DeploymentOutcomesOptions {
  readonly store: Store;
  readonly runtime: Runtime;
  readonly logs: DeploymentLogs;
  readonly log: Log;
  /** Called after each deployment that has ended, live or not. Not called if the next server resumes the deployment. */
  readonly afterEach: (deployment: Deployment) => Promise<void>;
  /** Replaces the commands in a hint by the lines that `principal` can type. By default, the hint stays as it is. */
  readonly typed?: (hint: string, principal: Principal) => string;
  /** The pause before each retry to store the end of a deployment, in milliseconds. By default 10,000. */
  readonly recordAgainMs?: number;
}

type DeploymentEnd = Parameters<Store['updateDeployment']>[1];

const STOPPED = 'the server was stopped; push again';

/** Ends deployments: writes how a deployment ended to its log, stores the end, and tells everyone who waits. */
export class DeploymentOutcomes {
  readonly #options: DeploymentOutcomesOptions;

  constructor(options: DeploymentOutcomesOptions) {
    this.#options = options;
  }

  /**
   * Ends a deployment after a step threw an error. If its build continues without this server, and nobody has cancelled
   * the deployment, leaves it to the next server process. Otherwise records it: as cancelled or interrupted if
   * `entry.cancelling` was aborted before, and else as failed.
   */
  fail(entry: Entry, error: unknown): void {
    const { store, runtime, log } = this.#options;
    const mayResume = entry.cancelledBy === null && store.requestOf(entry.id) !== null;
    if (error instanceof BuildResumesLater && mayResume) {
      this.resumeLater(entry);
      return;
    }
    const { tool } = entry.deployment;
    if (entry.cancelling.signal.aborted) {
      if (entry.cancelledBy === null) this.interrupt(entry);
      else this.end(entry, 'cancelled', `cancelled by ${entry.cancelledBy}`);
      return;
    }
    const bugId = randomUUID();
    const facts = { tool, deployment: entry.id, by: entry.principal.uid };
    const isAlarm = alarmAbout(log, error, facts);
    if (error instanceof DeployError) log.info({ ...facts, code: error.code }, 'deployment failed');
    else if (isAlarm) log.warn({ ...facts, id: bugId, err: error }, 'deployment failed');
    else log.error({ ...facts, id: bugId, err: error }, 'deployment failed by a fault of the server');
    const { typed = (hint) => hint } = this.#options;
    const { reason, text } = explainFailure(error, whatIsLive(store, runtime, tool), bugId, (hint) =>
      typed(hint, entry.principal),
    );
    entry.log.progress.warn(text);
    this.record(entry, { state: 'failed', reason, endedAt: Date.now() });
    this.finish(entry, { isLive: false, reason });
  }

  /** Ends a deployment that did not fail: it was cancelled, superseded or interrupted. */
  end(entry: Entry, state: 'cancelled' | 'superseded' | 'interrupted', why: string): void {
    const live = whatIsLive(this.#options.store, this.#options.runtime, entry.deployment.tool);
    const reason = `${why}; ${live}`;
    entry.log.progress.warn(`${sentence(why)}\n${sentence(live)}`);
    this.record(entry, { state, reason, endedAt: Date.now() });
    this.finish(entry, { isLive: false, reason });
  }

  /** Ends the deployment because the server is being stopped. */
  interrupt(entry: Entry): void {
    this.end(entry, 'interrupted', STOPPED);
  }

  /**
   * Leaves the deployment to the next server process, which resumes its build. Tells this to everyone who waits for the
   * result of the deployment.
   */
  resumeLater(entry: Entry): void {
    const { tool } = entry.deployment;
    const live = whatIsLive(this.#options.store, this.#options.runtime, tool);
    const why =
      'the server is being stopped; the build continues, and the server resumes it after its restart';
    entry.log.progress.warn(
      `${sentence(why)}\nPush again after the restart to follow the build.\n${sentence(live)}`,
    );
    this.#options.log.info({ tool, deployment: entry.id }, 'build handed over to the next start');
    this.#options.logs.end(entry.id);
    entry.end({ isLive: false, reason: `${why}: push again after the restart to follow the build; ${live}` });
  }

  /**
   * Stores how the deployment ended. If the store fails, retries later. If the server restarts before a retry succeeds,
   * the next server records the deployment as interrupted.
   */
  record(entry: Entry, end: DeploymentEnd): void {
    try {
      this.#store(entry, end);
    } catch (err) {
      this.#options.log.error({ err, deployment: entry.id }, 'cannot store the end of a deployment');
      this.#recordLater(entry, end);
    }
  }

  /** Stores how the deployment ended. Marks the release of the deployment as failed unless it went live. */
  #store({ id, deployment: { tool } }: Entry, end: DeploymentEnd): void {
    const { store } = this.#options;
    store.updateDeployment(id, end);
    failReleases(store, tool, (deploymentId) => deploymentId === id);
  }

  /** Retries later to store the end of a deployment. Until that succeeds, lists show the deployment as running. */
  #recordLater(entry: Entry, end: DeploymentEnd): void {
    const again = (): void => {
      try {
        this.#store(entry, end);
      } catch {
        this.#recordLater(entry, end);
      }
    };
    setTimeout(again, this.#options.recordAgainMs ?? 10_000).unref();
  }

  /**
   * Closes the deployment's log, gives `verdict` to everyone who waits for the result, and starts the clean-up after
   * the deployment.
   */
  finish(entry: Entry, verdict: Verdict): void {
    const { logs, afterEach, log } = this.#options;
    logs.end(entry.id);
    entry.end(verdict);
    afterEach(entry.deployment).catch((err: unknown) =>
      log.error({ err, tool: entry.deployment.tool }, 'cannot clean up after a deployment'),
    );
  }
}
