import { setTimeout as wait } from 'node:timers/promises';
import type { CleanUpHold } from '../core/concurrency/clean-up-hold.ts';
import { SteadyTime } from '../core/steady-time.ts';
import type { DeployContext } from './deploy-context.ts';
import type { DeploymentLogs } from './deployment-log.ts';
import { mayLogGo } from './retention.ts';

export interface OldLogsOptions extends Pick<DeployContext, 'store' | 'runtime' | 'log'> {
  readonly logs: DeploymentLogs;
  /** The most days that logs are kept. 0: no limit. */
  readonly days: number;
  /** Keeps old logs from being deleted while a backup or an export is made. */
  readonly cleanUp: Pick<CleanUpHold, 'unlessHeld'>;
}

const HOUR_MS = 60 * 60 * 1000;
const DAY_MS = 24 * HOUR_MS;

/**
 * Deletes the old logs of all tools, even of tools that are not deployed any more: every hour, the first time when the
 * server starts. In the first hour, it deletes only surplus logs of deployments, because `SteadyTime` does not trust
 * the clock yet. If `days` is 0, it deletes nothing.
 */
export class OldLogs implements AsyncDisposable {
  readonly #closing = new AbortController();
  readonly #work: Promise<void>;

  constructor(options: OldLogsOptions) {
    this.#work = options.days === 0 ? Promise.resolve() : this.#repeat(options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.#work;
  }

  async #repeat(options: OldLogsOptions): Promise<void> {
    const { signal } = this.#closing;
    const time = new SteadyTime();
    while (!signal.aborted) {
      await dropOldLogs(options, time.now(), signal).catch((err: unknown) =>
        options.log.error(
          { err },
          'cannot list the tools whose logs are old; the server tries again in an hour',
        ),
      );
      await wait(HOUR_MS, null, { signal, ref: false }).catch(() => {});
    }
  }
}

/**
 * Deletes those logs of deployments and tools that are older than `days`, and surplus logs of deployments. Keeps the
 * logs of deployments for which `mayLogGo` is false. If `now` is 0, deletes only surplus logs. Deletes nothing while a
 * backup or an export is made. A failure for one tool is only logged.
 */
export async function dropOldLogs(
  { store, runtime, logs, days, cleanUp, log }: OldLogsOptions,
  now: number,
  signal: AbortSignal,
): Promise<void> {
  for (const { name } of store.tools()) {
    if (signal.aborted) return;
    await cleanUp
      .unlessHeld(async () => {
        await logs.dropOld(name, (id) => mayLogGo(store, name, id), now);
        await runtime.dropOldLogs(name, now - days * DAY_MS);
      })
      .catch((err: unknown) => log.warn({ err, tool: name }, 'cannot delete old logs of a tool'));
  }
}
