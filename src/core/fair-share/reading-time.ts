/** One client or tool may cost so much of the server's time by what it sends, beyond what is usual. */
const PART = 0.1;
/** All of them together. */
const PART_OF_ALL = 0.25;
/** Usual reading takes a tenth of this: 16 KiB in 0.08 ms. */
const USUAL_MS_A_KIB = 0.05;
/** A request that begins has this for itself, and so has each round of the event loop. */
const USUAL_MS = 1;
/** So much may be owed without a wait, because a pause of the garbage collector costs as much. */
const FREE_MS = 10;
/** A longer piece of work is the garbage collector's. */
const MAX_MS = 25;

/** The work for one key in the current round of the event loop. */
interface Round {
  usualMs: number;
  spentMs: number;
  /** Requests that began. */
  begun: number;
}

/**
 * The time that it costs to read what comes in over connections. Bytes cost little, but chunks of one byte, or many
 * requests in one packet, cost a hundred times as much. Each key (a client's network, or a process of a tool) owes
 * the time beyond what is usual, and pays with the time that passes; while it owes more than a little, it waits.
 */
export class ReadingTime {
  /** For each key that owes time: the value of `#clockMs` at which it owes nothing any more. */
  readonly #debts = new Map<string, number>();
  readonly #round = new Map<string, Round>();
  readonly #processorMs: () => number;
  /** When the round began; null = between rounds. */
  #roundFromMs: number | null = null;
  /** In milliseconds of work that each key has paid off. */
  #clockMs = 0;
  #wentAt = performance.now();
  /** How many keys wait. Those that owe less than what is free take no time from the others. */
  #waiting = 0;

  /** @param processorMs - What this program has used of the processor. */
  constructor(processorMs: () => number = usedMs) {
    this.#processorMs = processorMs;
  }

  /** How long nothing may be read for this key; 0 if it may be now. */
  waitMs(key: string): number {
    if (this.#debts.size === 0) return 0;
    this.#go();
    const owedMs = (this.#debts.get(key) ?? 0) - this.#clockMs;
    return owedMs <= FREE_MS ? 0 : Math.ceil((owedMs - FREE_MS) / this.#pace());
  }

  /** To be called before work that will be counted. */
  begin(): void {
    if (this.#roundFromMs !== null) return;
    this.#roundFromMs = this.#processorMs();
    setImmediate(() => {
      this.#shareTheRest();
      this.#roundFromMs = null;
      this.#round.clear();
    });
  }

  /** Charges the time of answering requests, which comes after reading them, to the keys that began them in this round. */
  #shareTheRest(): void {
    const rounds = [...this.#round].filter(([, { begun }]) => begun > 0);
    const begun = rounds.reduce((sum, [, round]) => sum + round.begun, 0);
    if (begun <= 1) return;
    const countedMs = [...this.#round.values()].reduce((sum, { spentMs }) => sum + spentMs, 0);
    const restMs = this.#processorMs() - (this.#roundFromMs ?? 0) - countedMs;
    // At most what each had for itself: requests that come one by one owe nothing, whatever else the server did.
    const partMs = Math.min(Math.max(0, restMs) / begun, USUAL_MS);
    for (const [key, round] of rounds) this.#charge(key, round, partMs * round.begun);
  }

  /** Counts work that was done for `key`. */
  spend(key: string, { spentMs, bytes, begun }: Work): void {
    const round = this.#round.get(key) ?? { usualMs: USUAL_MS, spentMs: 0, begun: 0 };
    this.#round.set(key, round);
    round.usualMs += (bytes / 1024) * USUAL_MS_A_KIB + (begun > 0 ? USUAL_MS : 0);
    round.begun += begun;
    this.#charge(key, round, spentMs);
  }

  /** Makes a key owe the time beyond what is usual in this round. */
  #charge(key: string, round: Round, spentMs: number): void {
    round.spentMs += spentMs;
    if (round.spentMs <= round.usualMs) return;
    // Not what other programs took on a busy machine. Asking costs more than reading.
    const usedMs = this.#processorMs() - (this.#roundFromMs ?? 0);
    const tooMuchMs = Math.min(round.spentMs - round.usualMs, usedMs, MAX_MS);
    round.usualMs = round.spentMs;
    this.#go();
    this.#debts.set(key, Math.max(this.#debts.get(key) ?? 0, this.#clockMs) + tooMuchMs);
  }

  /** Each key that owes pays a part of the time that has passed. */
  #go(): void {
    const now = performance.now();
    // Asked for each piece that is read; all keys are walked at most once a millisecond.
    if (now >= this.#wentAt && now - this.#wentAt < 1) return;
    this.#clockMs += Math.max(0, now - this.#wentAt) * this.#pace();
    this.#wentAt = now;
    this.#waiting = 0;
    for (const [key, paidAt] of this.#debts) {
      if (paidAt <= this.#clockMs) this.#debts.delete(key);
      else if (paidAt - this.#clockMs > FREE_MS) this.#waiting += 1;
    }
  }

  #pace(): number {
    return Math.min(PART, PART_OF_ALL / Math.max(1, this.#waiting));
  }
}

/** Something that was read. */
export interface Work {
  /** Measured by the clock, in milliseconds. */
  readonly spentMs: number;
  readonly bytes: number;
  /** How many requests began in it. */
  readonly begun: number;
}

/** The processor time of the whole process, because the kernel's figure for one thread may be 4 ms old. */
function usedMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Charges everything that comes in over HTTP and SSH. */
export const readingTime = new ReadingTime();
