import { usedMs } from './reading-time.ts';

/**
 * `PART` of the server's time may go to the requests of one network. `PART_OF_ALL` may go to all networks together
 * whose requests have to wait.
 */
const [PART, PART_OF_ALL] = [0.3, 0.5];
/**
 * How many requests of a network may begin at the same moment. After that, one more may begin in each step, whose
 * length is `#stepMs` milliseconds.
 */
const BURST = 500;
/** A request counts as at least `LEAST_MS` and at most `MOST_MS` milliseconds of the server's time. */
const [LEAST_MS, MOST_MS] = [0.05, 1];
/**
 * A request waits at most this many milliseconds. So if one program sends a flood of requests, other clients of its
 * network still get answers.
 */
const MAX_WAIT_MS = 2000;
/** The interval, in milliseconds, at which the server measures how much of its processor time a request costs. */
const SAMPLE_MS = 250;

/**
 * Limits the part of the server's time that goes to requests of one network, whether or not they need a login. A
 * network is an address or a /64 of IPv6. Requests beyond the part wait before the server reads them. What a request
 * costs is measured: it is the processor time of this program, divided by the number of requests. So a network gets
 * fewer requests if they are expensive. After a burst of 500 requests, it gets at least 300 a second, unless requests
 * of other networks have to wait too.
 */
export class RequestTime {
  /** For each network: the time from which the latest request from it may begin, by `performance.now()`. */
  readonly #dueAt = new Map<string, number>();
  readonly #processorMs: () => number;
  #costMs = MOST_MS;
  #stepMs = MOST_MS / PART;
  #begun = 0;
  #sample: { readonly at: number; readonly usedMs: number };

  /** @param processorMs - Returns the processor time that this program has used. */
  constructor(processorMs: () => number = usedMs) {
    this.#processorMs = processorMs;
    this.#sample = { at: performance.now(), usedMs: processorMs() };
  }

  /** Counts requests of a network. Returns after how many milliseconds the last of them may begin. */
  waitMs(network: string, requests = 1): number {
    const now = performance.now();
    if (now - this.#sample.at >= SAMPLE_MS) this.#measure(now);
    this.#begun += requests;
    const before = Math.max(this.#dueAt.get(network) ?? Number.NEGATIVE_INFINITY, now - BURST * this.#stepMs);
    const dueAt = Math.min(before + requests * this.#stepMs, now + MAX_WAIT_MS);
    this.#dueAt.set(network, dueAt);
    return Math.max(0, dueAt - now);
  }

  #measure(now: number): void {
    const processorMs = this.#processorMs();
    const costMs = (processorMs - this.#sample.usedMs) / Math.max(1, this.#begun);
    this.#costMs = (this.#costMs + Math.min(Math.max(costMs, LEAST_MS), MOST_MS)) / 2;
    let waiting = 0;
    for (const [network, dueAt] of this.#dueAt) {
      if (dueAt > now) waiting += 1;
      else if (dueAt < now - BURST * this.#stepMs) this.#dueAt.delete(network);
    }
    this.#stepMs = this.#costMs / Math.min(PART, PART_OF_ALL / Math.max(1, waiting));
    this.#begun = 0;
    this.#sample = { at: now, usedMs: processorMs };
  }
}

/** The time for requests over HTTP. */
export const requestTime = new RequestTime();
