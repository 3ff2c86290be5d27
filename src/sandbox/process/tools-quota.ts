import { readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';

/** The parts of the processors that all tools together may use. The first applies unless the server must wait. */
const PARTS = [0.95, 0.75, 0.5, 0.25] as const;
/** The server waits for the processors if it was ready to run, but did not run, for more than this part of the time. */
const LONG_WAIT = 0.25;
/** The tools use up their part if they had to stop in more than this part of the periods. */
const OFTEN_STOPPED = 0.5;
/** The length of a period, in microseconds. The longest time for which the tools stop is a part of it. */
const PERIOD_US = 20_000;
const LOOK_MS = 1000;
/** After this time without a reason to lower the part, the tools get the next larger part. */
const HOLD_MS = 30_000;

/**
 * Limits the processor time of all tools together, through the control group that contains the groups of all tools. The
 * shares of control groups alone do not suffice: a group whose processes sleep and wake thousands of times per second
 * can keep Linux 6.18 from running any other process for more than ten seconds. While the server waits for the
 * processors and the tools use up their part, the part becomes smaller.
 *
 * @see https://docs.kernel.org/scheduler/sched-bwc.html
 */
export class ToolsQuota {
  readonly #folder: string;
  readonly #version: 1 | 2;
  readonly #processors: number;
  #level = 0;
  #changedAt = 0;
  #last = { atMs: 0, waitedMs: Number.NaN, periods: 0, stopped: 0 };

  /** @param outer - The control group around `folder`. If it has a limit of its own, the parts are parts of that limit. */
  constructor(folder: string, version: 1 | 2, outer: string) {
    this.#folder = folder;
    this.#version = version;
    this.#processors = Math.min(availableParallelism(), limitOf(outer) ?? availableParallelism());
    setInterval(() => this.look(), LOOK_MS).unref();
  }

  /** Writes the limit into the control group. If the kernel refuses, nothing is limited. */
  apply(): void {
    const quota = Math.max(1000, Math.floor(this.#processors * (PARTS[this.#level] ?? 1) * PERIOD_US));
    if (this.#version === 2) {
      this.#write('cpu.max', `${quota} ${PERIOD_US}`);
    } else {
      this.#write('cpu.cfs_period_us', String(PERIOD_US));
      this.#write('cpu.cfs_quota_us', String(quota));
    }
  }

  /**
   * Changes the limit if there is a reason.
   *
   * @param waitedMs - How long this server has been ready to run without running since its start: see
   * "/proc/<pid>/schedstat" in the kernel's scheduler/sched-stats.
   */
  look(atMs = performance.now(), waitedMs = Number(read('/proc/self/schedstat').split(' ')[1]) / 1e6): void {
    const statistics = read(join(this.#folder, 'cpu.stat'));
    const count = (name: string) => Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(statistics)?.[1] ?? 0);
    const now = { atMs, waitedMs, periods: count('nr_periods'), stopped: count('nr_throttled') };
    const last = this.#last;
    this.#last = now;
    const isWaiting = now.waitedMs - last.waitedMs > (now.atMs - last.atMs) * LONG_WAIT;
    const areStopped = now.stopped - last.stopped > (now.periods - last.periods) * OFTEN_STOPPED;
    if (isWaiting && areStopped) this.#change(Math.min(this.#level + 1, PARTS.length - 1), atMs);
    else if (this.#level > 0 && atMs - this.#changedAt > HOLD_MS) this.#change(this.#level - 1, atMs);
  }

  #change(level: number, atMs: number): void {
    this.#level = level;
    this.#changedAt = atMs;
    this.apply();
  }

  #write(file: string, text: string): void {
    try {
      writeFileSync(join(this.#folder, file), text);
    } catch {
      // Control groups only add to the other limits.
    }
  }
}

/** How many processors a control group may use, or null if it has no limit. */
function limitOf(folder: string): number | null {
  const [quota, period] = read(join(folder, 'cpu.max')).split(' ').map(Number);
  const processors =
    Number(quota ?? read(join(folder, 'cpu.cfs_quota_us'))) /
    Number(period ?? read(join(folder, 'cpu.cfs_period_us')));
  return processors > 0 && Number.isFinite(processors) ? processors : null;
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
