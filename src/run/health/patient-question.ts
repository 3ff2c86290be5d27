/** The result of a request to a process that got no answer in time. */
export type TooLate = 'too late';

/**
 * How many milliseconds a call of `next` waits for an answer, by default. A request that is sent while an earlier
 * request is still unanswered is given up after this time too.
 */
const MAX_SECOND_MS = 10_000;

/**
 * Sends requests to a process until it answers, with at most two unanswered requests at once. The first request stays
 * open, because a process may load the tool at its first request. The second is given up, by default after 10 s, and
 * the next call of `next` sends another: the first request may have reached a worker that hangs, while another worker
 * would answer.
 */
export class PatientQuestion<Answer> {
  readonly #ask: (signal: AbortSignal) => Promise<Answer>;
  readonly #signal: AbortSignal;
  readonly #secondMs: number;
  #first: Promise<Answer> | null = null;

  /**
   * @param ask - Sends one request to the process, and resolves with the answer. Rejects when its signal fires.
   * @param signal - Ends all requests that are still unanswered.
   */
  constructor(
    ask: (signal: AbortSignal) => Promise<Answer>,
    signal: AbortSignal,
    secondMs: number = MAX_SECOND_MS,
  ) {
    this.#ask = ask;
    this.#signal = signal;
    this.#secondMs = secondMs;
  }

  /**
   * Sends a request to the process, and waits for an answer, by default up to 10 s. If an earlier request is still
   * unanswered, its answer counts too.
   *
   * @throws the error of `ask`, unless `ask` failed because a signal fired.
   */
  async next(): Promise<Answer | TooLate> {
    const limit = AbortSignal.any([this.#signal, AbortSignal.timeout(this.#secondMs)]);
    const isFirst = this.#first === null;
    this.#first ??= this.#begin();
    const answers: Promise<Answer | TooLate>[] = [this.#first, untilFired(limit)];
    if (!isFirst) answers.push(this.#ask(limit));
    for (const answer of answers) answer.catch(() => {});
    try {
      return await Promise.race(answers);
    } catch (error) {
      if (limit.aborted) return 'too late';
      throw error;
    }
  }

  #begin(): Promise<Answer> {
    const first = this.#ask(this.#signal).finally(() => {
      this.#first = null;
    });
    return first;
  }
}

function untilFired(signal: AbortSignal): Promise<TooLate> {
  const { promise, resolve } = Promise.withResolvers<TooLate>();
  if (signal.aborted) resolve('too late');
  else signal.addEventListener('abort', () => resolve('too late'), { once: true });
  return promise;
}
