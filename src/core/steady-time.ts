const HOUR_MS = 60 * 60 * 1000;
const DAY_MS = 24 * HOUR_MS;
/**
 * A look at the clock counts as an hour old even if up to this many milliseconds are missing, because a caller that
 * looks every hour may look a little early.
 */
const SLACK_MS = 60 * 1000;

/** What a clock showed: `offsetMs` is the time of day minus the time since the start of this process, `atMs`. */
interface Look {
  readonly atMs: number;
  readonly offsetMs: number;
}

/**
 * The time of day for work that deletes what is old. Somebody may set the clock of the machine wrong, and it may be
 * wrong when the machine starts. If the clock is wrong for less than an hour and then right again, nothing counts as
 * old because of that.
 */
export class SteadyTime {
  readonly #clock: () => number;
  readonly #sinceStart: () => number;
  /** The looks at the clock in the last hour, and the newest look before that hour. */
  #looks: readonly Look[] = [];

  /**
   * @param clock - Returns the time of day in milliseconds since 1970.
   * @param sinceStart - Returns a time in milliseconds that nobody can set.
   */
  constructor(clock: () => number = () => Date.now(), sinceStart: () => number = () => performance.now()) {
    this.#clock = clock;
    this.#sinceStart = sinceStart;
  }

  /**
   * Looks at the clock, and remembers the look.
   *
   * @returns the present time of day in milliseconds since 1970, computed from each remembered look of about the last
   * hour. If the looks give different times, because somebody set the clock, returns the earliest one. If no look was
   * an hour ago or earlier, returns 0, unless the clock shows `knownMs` or at most a day more.
   * @param knownMs - A time of day that was right, such as that of the newest deployment. 0 if none is known.
   */
  now(knownMs = 0): number {
    const atMs = this.#sinceStart();
    const isOld = (look: Look) => atMs - look.atMs >= HOUR_MS - SLACK_MS;
    const old = this.#looks.findLast(isOld);
    const recent = this.#looks.filter((look) => !isOld(look));
    this.#looks = [...(old === undefined ? [] : [old]), ...recent, { atMs, offsetMs: this.#clock() - atMs }];
    const latestMs = Math.max(...this.#looks.map(({ offsetMs }) => offsetMs)) + atMs;
    if (old === undefined && (latestMs < knownMs || latestMs > knownMs + DAY_MS)) return 0;
    return atMs + Math.min(...this.#looks.map(({ offsetMs }) => offsetMs));
  }
}
