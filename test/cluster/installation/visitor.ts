import { setTimeout as sleep } from 'node:timers/promises';

/** Requests a page at most five times a second until it is stopped. */
export class Visitor implements AsyncDisposable {
  readonly #seen = new Map<string, number>();
  readonly #ended = new AbortController();
  readonly #visits: Promise<void>;

  constructor(ask: () => Promise<{ readonly status: number; readonly body: string }>) {
    this.#visits = this.#visit(ask);
  }

  async #visit(ask: () => Promise<{ readonly status: number; readonly body: string }>): Promise<void> {
    while (!this.#ended.signal.aborted) {
      const answer = await ask().then(
        ({ status, body }) => (status === 200 ? body : `${status}`),
        (error: unknown) => String(error),
      );
      this.#seen.set(answer, (this.#seen.get(answer) ?? 0) + 1);
      await sleep(200);
    }
  }

  /** Stops the requests. @returns all answers other than this page. @throws if the page was never seen. */
  async others(page: string): Promise<string[]> {
    this.#ended.abort();
    await this.#visits;
    if (!this.#seen.delete(page)) throw new Error(`never saw ${page}`);
    return [...this.#seen.keys()];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended.abort();
    await this.#visits;
  }
}
