import assert from 'node:assert/strict';
import { setTimeout as wait } from 'node:timers/promises';
import type { TestServer } from '../server.ts';
import type { WorkTree } from '../work-tree.ts';

export const FIGURES = ['page', 'ls-remote', 'push'] as const;
export type Figure = (typeof FIGURES)[number];

/** How long each action took, in milliseconds. */
export type Times = Readonly<Record<Figure, readonly number[]>>;

/** The pause after each action, in milliseconds. */
const PAUSES_MS: Readonly<Record<Figure, number>> = { page: 20, 'ls-remote': 50, push: 50 };

/** People who do nothing wrong: at the same time, one reads a page, one lists refs over SSH and HTTP, one pushes. */
export class OrdinaryTraffic {
  readonly #server: TestServer;
  /** A live tool whose page says `one`. */
  readonly #page: string;
  /** Another live tool. */
  readonly #pushed: { readonly name: string; readonly tree: WorkTree };
  #count = 0;

  constructor(server: TestServer, tools: { page: string; pushed: { name: string; tree: WorkTree } }) {
    this.#server = server;
    this.#page = tools.page;
    this.#pushed = tools.pushed;
  }

  /** Repeats all actions for this time, and measures each action. @throws AssertionError if an action fails. */
  async during(milliseconds: number): Promise<Times> {
    const endAt = performance.now() + milliseconds;
    const actions: Readonly<Record<Figure, () => Promise<number>>> = {
      page: () => this.#readPage(),
      'ls-remote': () => this.#list(),
      push: () => this.#push(),
    };
    const all = FIGURES.map(async (figure) => {
      const times: number[] = [];
      while (performance.now() < endAt) {
        times.push(await actions[figure]());
        await wait(PAUSES_MS[figure]);
      }
      return [figure, times] as const;
    });
    return Object.fromEntries(await Promise.all(all)) as Record<Figure, number[]>;
  }

  async #readPage(): Promise<number> {
    const startedAt = performance.now();
    assert.deepEqual(await this.#server.get(this.#page), { status: 200, body: 'one' });
    return performance.now() - startedAt;
  }

  async #list(): Promise<number> {
    this.#count += 1;
    const { name, tree } = this.#pushed;
    const remote = this.#server.remote(this.#count % 2 === 0 ? 'ssh' : 'http', name);
    const startedAt = performance.now();
    const listed = await tree.git('ls-remote', remote);
    assert.equal(listed.exitCode, 0, listed.stderr);
    assert.match(listed.stdout, /refs\/heads\/main/);
    return performance.now() - startedAt;
  }

  async #push(): Promise<number> {
    this.#count += 1;
    const { tree } = this.#pushed;
    await tree.commit(`number ${this.#count}`, { 'number.txt': `${this.#count}\n` });
    const startedAt = performance.now();
    const pushed = await tree.push();
    assert.equal(pushed.exitCode, 0, pushed.stderr);
    return performance.now() - startedAt;
  }
}
