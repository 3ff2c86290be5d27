import { randomUUID } from 'node:crypto';
import { BuildGoesOn } from '../build/builder.ts';
import { alarmAbout } from '../core/alarms.ts';
import { DeployError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import { sentence } from '../core/sentence.ts';
import type { Deployment } from '../core/types.ts';
import type { Runtime } from '../run/runtime.ts';
import type { Store } from '../store/store.ts';
import type { DeploymentLogs } from './deployment-log.ts';
import type { Verdict } from './deployments.ts';
import type { Entry } from './entry.ts';
import { explainFailure } from './verdict-reason.ts';
import { whatIsLive } from './what-is-live.ts';

export interface EndingsOptions {
  readonly store: Store;
  readonly runtime: Runtime;
  readonly logs: DeploymentLogs;
  readonly log: Log;
  /** Called when a deployment of the tool has ended, live or not. */
  readonly afterEach: (deployment: Deployment) => Promise<void>;
  /** When an end that could not be stored is stored again; 10,000 where not set. */
  readonly recordAgainMs?: number;
}

type DeploymentEnd = Parameters<Store['updateDeployment']>[1];

const STOPPED = 'the server was stopped; push again';

/** How deployments end: said in their log, stored, and told to everyone who waits. */
export class Endings {
  readonly #options: EndingsOptions;

  constructor(options: EndingsOptions) {
    this.#options = options;
  }

  /** Whatever a step threw, as the end of the deployment. */
  fail(entry: Entry, error: unknown): void {
    if (error instanceof BuildGoesOn) {
      this.handOver(entry);
      return;
    }
    const { store, runtime, log } = this.#options;
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
    const { reason, text } = explainFailure(error, whatIsLive(store, runtime, tool), bugId);
    entry.log.progress.warn(text);
    this.record(entry, { state: 'failed', reason, endedAt: Date.now() });
    this.finish(entry, { isLive: false, reason });
  }

  /** An end that no failure of a step brought. */
  end(entry: Entry, state: 'cancelled' | 'superseded' | 'interrupted', why: string): void {
    const live = whatIsLive(this.#options.store, this.#options.runtime, entry.deployment.tool);
    const reason = `${why}; ${live}`;
    entry.log.progress.warn(`${sentence(why)}\n${sentence(live)}`);
    this.record(entry, { state, reason, endedAt: Date.now() });
    this.finish(entry, { isLive: false, reason });
  }

  /** The server is being stopped. */
  interrupt(entry: Entry): void {
    this.end(entry, 'interrupted', STOPPED);
  }

  /** No end: the next server takes the build up, and whoever waits here is told so. */
  handOver(entry: Entry): void {
    const { tool } = entry.deployment;
    const live = whatIsLive(this.#options.store, this.#options.runtime, tool);
    const why = 'the server is being stopped; the build goes on, and the server takes it up when it is back';
    entry.log.progress.warn(`${sentence(why)}\nPush again then to follow it.\n${sentence(live)}`);
    this.#options.log.info({ tool, deployment: entry.id }, 'build handed over to the next start');
    this.#options.logs.end(entry.id);
    entry.end({ isLive: false, reason: `${why}: push again then to follow it; ${live}` });
  }

  /** Tells the end to everybody who waits, even if the store cannot take it yet. If the server restarts first, the end is stored as interrupted. */
  record(entry: Entry, end: DeploymentEnd): void {
    try {
      this.#options.store.updateDeployment(entry.id, end);
    } catch (err) {
      this.#options.log.error({ err, deployment: entry.id }, 'end of a deployment not stored');
      this.#recordLater(entry.id, end);
    }
  }

  /** Until its end is stored, the lists show a deployment as one that is under way. */
  #recordLater(id: string, end: DeploymentEnd): void {
    const again = (): void => {
      try {
        this.#options.store.updateDeployment(id, end);
      } catch {
        this.#recordLater(id, end);
      }
    };
    setTimeout(again, this.#options.recordAgainMs ?? 10_000).unref();
  }

  /** The log is complete, and everyone who waits gets the verdict. */
  finish(entry: Entry, verdict: Verdict): void {
    const { logs, afterEach, log } = this.#options;
    logs.end(entry.id);
    entry.end(verdict);
    afterEach(entry.deployment).catch((err: unknown) =>
      log.error({ err, tool: entry.deployment.tool }, 'tidying up failed'),
    );
  }
}
