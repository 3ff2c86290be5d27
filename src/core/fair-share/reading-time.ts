/**
 * The part of the server's time that may be charged to one key (a client's network or a tool's process) for reading.
 */
const PART = 0.1;
/**
 * The part of the server's time that may be charged, for reading, to all those keys (clients' networks, tools'
 * processes) together that owe time and so have to wait.
 */
const PART_OF_ALL = 0.25;
/**
 * To read a KiB of a large body usually takes at most this many milliseconds. Of this usual time, only the part
 * `USUAL_COUNTS` is charged. So reading for one key takes at most half of the server's time, even if it costs no more
 * than usual. A large transfer at full speed takes a quarter.
 */
const USUAL_MS_A_KIB = 0.005;
const USUAL_COUNTS = 0.2;
/**
 * When the server reads a piece of bytes in which a request begins, it charges the client's network or the tool's
 * process only the time beyond this many milliseconds. `RequestTime` limits how many requests of a network begin.
 */
const REQUEST_MS = 1;
/**
 * In each round of the event loop, the server reads bytes of one key until that has taken this many milliseconds.
 * Further bytes of this key wait for the next round.
 */
const ROUND_MS = 2;
/**
 * A client's network or a tool's process that owes at most this many milliseconds of reading time does not wait,
 * because a garbage collection alone may have caused the debt.
 */
const FREE_MS = 10;
/**
 * If a piece of reading took fewer milliseconds than this by the clock, the server charges the time of the clock, and
 * does not measure the processor time. No other program can have run meanwhile, because it would have kept the
 * processor for longer.
 */
const SLICE_MS = 1;
/**
 * At most this many milliseconds are charged for one piece of reading. If a piece takes longer, the time includes a
 * garbage collection.
 */
const MAX_MS = 25;
/**
 * At the start of a round of the event loop, the server's processor time is measured again only if the last measurement
 * is older than this. One measurement takes longer than reading a usual piece of bytes.
 */
const SAMPLE_MS = 5;

/** The reading for one key (a client's network or a tool's process) in the current round of the event loop. */
interface Round {
  /**
   * How much free time of this key is left in this round: `REQUEST_MS` for each piece of bytes in which a request
   * began.
   */
  freeMs: number;
  spentMs: number;
  /** How many requests of the key began in this round. */
  begun: number;
}

/**
 * Limits the time that the server spends on reading from connections. Bytes cost little. Chunks of one byte, or many
 * requests in one packet, cost a hundred times as much. Each client's network and each process of a tool is a key. The
 * time that reading for a key takes is its debt, which falls as time passes. While the debt is more than 10 ms
 * (`FREE_MS`), the bytes of this key wait.
 */
export class ReadingTime {
  /**
   * For each key (a client's network or a tool's process) that owes time: the value of `#clockMs` at which the debt is
   * paid.
   */
  readonly #debts = new Map<string, number>();
  readonly #round = new Map<string, Round>();
  readonly #processorMs: () => number;
  /** When the current round of the event loop began; null between rounds. */
  #roundFromMs: number | null = null;
  /** The processor time that this program had used at the moment `atMs`, the start of this round or an earlier one. */
  #sample = { atMs: 0, usedMs: 0 };
  /**
   * A clock for debts. For each millisecond that passes, it advances by `#pace()`, the milliseconds of debt that a key
   * pays in this time.
   */
  #clockMs = 0;
  #wentAt = performance.now();
  /**
   * How many keys owe more than `FREE_MS` of reading time and so have to wait. All of them together may use the part
   * `PART_OF_ALL` of the server's time.
   */
  #waiting = 0;

  /** @param processorMs - Returns the processor time that this program has used. */
  constructor(processorMs: () => number = usedMs) {
    this.#processorMs = processorMs;
  }

  /**
   * How many milliseconds the next bytes of this key (the network of a client, or a process of a tool) must wait before
   * they are read. 0 if they may be read now.
   */
  waitMs(key: string): number {
    if (this.#debts.size === 0) return 0;
    this.#go();
    const owedMs = (this.#debts.get(key) ?? 0) - this.#clockMs;
    return owedMs <= FREE_MS ? 0 : Math.ceil((owedMs - FREE_MS) / this.#pace());
  }

  /**
   * Whether reading for this key has taken at least 2 ms (`ROUND_MS`) in this round of the event loop. The next bytes
   * of the key must then wait for the next round, so that the server does its other work in between.
   */
  isRoundOver(key: string): boolean {
    return (this.#round.get(key)?.spentMs ?? 0) >= ROUND_MS;
  }

  /**
   * Call this before bytes are read, and call `spend` after that. The first call in a round of the event loop begins to
   * measure this round.
   */
  begin(): void {
    if (this.#roundFromMs !== null) return;
    const atMs = performance.now();
    this.#roundFromMs = atMs;
    if (atMs - this.#sample.atMs > SAMPLE_MS) this.#sample = { atMs, usedMs: this.#processorMs() };
    setImmediate(() => {
      this.#shareTheRest();
      this.#roundFromMs = null;
      this.#round.clear();
    });
  }

  /**
   * Charges the time for answering the requests that were read in this round of the event loop, if there were at least
   * two. The keys whose requests began in the round share this time.
   */
  #shareTheRest(): void {
    const rounds = [...this.#round].filter(([, { begun }]) => begun > 0);
    const begun = rounds.reduce((sum, [, round]) => sum + round.begun, 0);
    if (begun <= 1) return;
    const countedMs = [...this.#round.values()].reduce((sum, { spentMs }) => sum + spentMs, 0);
    const restMs = this.#usedMs() - countedMs;
    // Charge at most `REQUEST_MS` for each request, because the server may have done other work in the same round,
    // which does not belong to the requests.
    const partMs = Math.min(Math.max(0, restMs) / begun, REQUEST_MS);
    for (const [key, round] of rounds) this.#charge(key, partMs * round.begun - round.freeMs);
  }

  /** Call this after bytes were read for `key`. Charges the key the time that the reading took. */
  spend(key: string, { spentMs, bytes, begun }: Work): void {
    const round = this.#round.get(key) ?? { freeMs: 0, spentMs: 0, begun: 0 };
    this.#round.set(key, round);
    round.spentMs += spentMs;
    round.begun += begun;
    const freeMs = begun > 0 ? REQUEST_MS : 0;
    round.freeMs += Math.max(0, freeMs - spentMs);
    // On a busy machine, the clock also counts the time of other programs, in slices of milliseconds. The processor
    // time does not, but to measure it takes 0.1 ms. So measure the processor time only from `SLICE_MS` on.
    const usedMs = spentMs < SLICE_MS ? spentMs : Math.min(spentMs, this.#usedMs(), MAX_MS);
    const countedMs = Math.max(0, usedMs - freeMs);
    const usualMs = Math.min(countedMs, (bytes / 1024) * USUAL_MS_A_KIB);
    this.#charge(key, countedMs - usualMs + usualMs * USUAL_COUNTS);
  }

  #charge(key: string, ms: number): void {
    if (ms <= 0) return;
    this.#go();
    this.#debts.set(key, Math.max(this.#debts.get(key) ?? 0, this.#clockMs) + Math.min(ms, MAX_MS));
  }

  /**
   * Estimates the processor time since the current round of the event loop began. On a busy machine, the true time can
   * be up to `SAMPLE_MS` more.
   */
  #usedMs(): number {
    const { atMs, usedMs } = this.#sample;
    const beforeRoundMs = (this.#roundFromMs ?? atMs) - atMs;
    return Math.max(0, this.#processorMs() - usedMs - beforeRoundMs);
  }

  /**
   * Lowers the debt of each key by `#pace()` for each millisecond that has passed. Forgets the keys without a debt, and
   * counts the keys that have to wait.
   */
  #go(): void {
    const now = performance.now();
    // Run the loop below at most once a millisecond, because this method runs for each piece that is read.
    if (now >= this.#wentAt && now - this.#wentAt < 1) return;
    this.#clockMs += Math.max(0, now - this.#wentAt) * this.#pace();
    this.#wentAt = now;
    this.#waiting = 0;
    for (const [key, paidAt] of this.#debts) {
      if (paidAt <= this.#clockMs) this.#debts.delete(key);
      else if (paidAt - this.#clockMs > FREE_MS) this.#waiting += 1;
    }
  }

  /**
   * How many milliseconds of its debt each key pays in each millisecond that passes: `PART`, or its share of
   * `PART_OF_ALL` if so many keys wait that this share is less.
   */
  #pace(): number {
    return Math.min(PART, PART_OF_ALL / Math.max(1, this.#waiting));
  }
}

/** The reading of some bytes that arrived on a connection. */
export interface Work {
  /** How long the reading took by the clock, in milliseconds. */
  readonly spentMs: number;
  readonly bytes: number;
  /** How many HTTP requests began in the bytes that were read. */
  readonly begun: number;
}

/** The processor time of the whole process, because the kernel's figure for one thread may be 4 ms old. */
export function usedMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** The reading time of all connections: of clients over HTTP and SSH, and of tools that send answers. */
export const readingTime = new ReadingTime();
