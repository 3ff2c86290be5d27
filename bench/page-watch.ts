import type { TestServer } from '../test/support/server.ts';
import { timeout } from '../test/support/server.ts';

const REQUESTS_PER_SECOND = 50;
const LONGEST_MS = 120_000;

/** Requests a tool's page at a fixed rate, even while earlier requests have no answer, and records failures. */
export class PageWatch implements AsyncDisposable {
  readonly failures: string[] = [];
  asked = 0;
  readonly #server: Pick<TestServer, 'get'>;
  readonly #tool: string;
  readonly #path: string;
  readonly #timer: NodeJS.Timeout;
  readonly #answers = new Set<Promise<void>>();
  #isCounting = false;
  #wanted: { readonly text: string; readonly seen: (at: number) => void } | null = null;

  constructor(server: Pick<TestServer, 'get'>, tool: string, path: string) {
    this.#server = server;
    this.#tool = tool;
    this.#path = path;
    this.#timer = setInterval(() => this.#askOnce(), 1000 / REQUESTS_PER_SECOND);
  }

  /** Resolves with the moment (performance.now) of the first answer with this text. */
  async shows(text: string): Promise<number> {
    const { promise, resolve } = Promise.withResolvers<number>();
    this.#wanted = { text, seen: resolve };
    return await Promise.race([promise, timeout(LONGEST_MS, `no page with ${text}`)]);
  }

  /** From this call on, each answer other than 200 is a failure. */
  mayNotFail(): void {
    this.#isCounting = true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#answers);
  }

  #askOnce(): void {
    const answer = this.#ask().finally(() => this.#answers.delete(answer));
    this.#answers.add(answer);
  }

  async #ask(): Promise<void> {
    const isCounted = this.#isCounting;
    if (isCounted) this.asked += 1;
    try {
      const { status, body } = await this.#server.get(this.#tool, this.#path);
      if (isCounted && status !== 200) this.failures.push(`${status} ${body.slice(0, 200)}`);
      if (status === 200 && this.#wanted !== null && body.includes(this.#wanted.text)) {
        this.#wanted.seen(performance.now());
        this.#wanted = null;
      }
    } catch (error) {
      if (isCounted) this.failures.push(String(error));
    }
  }
}
