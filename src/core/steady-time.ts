const HOUR_MS = 60 * 60 * 1000;
/** Somebody who asks every hour may ask a little early. */
const SLACK_MS = 60 * 1000;

/** What a clock showed: `offsetMs` is the time of day minus the time since the start of this process, `atMs`. */
interface Look {
  readonly atMs: number;
  readonly offsetMs: number;
}

/**
 * The time of day for work that deletes what is old. Somebody may set the clock of the machine wrong, and it may be
 * wrong when the machine starts. If it is wrong for less than an hour, nothing counts as old because of that.
 */
export class SteadyTime {
  readonly #clock: () => number;
  readonly #sinceStart: () => number;
  /** The looks at the clock in the last hour, and the newest one before. */
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
   * Looks at the clock.
   *
   * @returns the earliest time of day that one of the looks in the last hour, or the newest one before, gives for now. 0
   * if no look was an hour ago.
   */
  now(): number {
    const atMs = this.#sinceStart();
    const isOld = (look: Look) => atMs - look.atMs >= HOUR_MS - SLACK_MS;
    const old = this.#looks.findLast(isOld);
    const recent = this.#looks.filter((look) => !isOld(look));
    this.#looks = [...(old === undefined ? [] : [old]), ...recent, { atMs, offsetMs: this.#clock() - atMs }];
    if (old === undefined) return 0;
    return atMs + Math.min(...this.#looks.map(({ offsetMs }) => offsetMs));
  }
}
