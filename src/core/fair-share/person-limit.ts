import { KeyedConcurrencyLimit, type Waiting } from '../concurrency/concurrency-limit.ts';
import type { Principal } from '../types.ts';

/** The parts of a principal by which their shares are counted. */
export type Sharer = Pick<Principal, 'uid' | 'credential' | 'onlyTool'>;

/**
 * The key of the share of a login that opens one tool only, such as a deploy token. Null for a key or a password that
 * opens all tools of a person. What a client does with a deploy token counts as done by the token's maker. Without a
 * share of its own, the token could use up the share of its maker, who could then not reach their other tools.
 */
export function tokenKey({ uid, credential, onlyTool }: Sharer): string | null {
  return onlyTool === null ? null : `${uid} ${credential}`;
}

/**
 * Limits how many pieces of work of each person run at the same time, and how many of these came with one login that
 * opens one tool only. Further work waits, in order.
 */
export class PersonLimit {
  readonly #persons: KeyedConcurrencyLimit;
  readonly #tokens: KeyedConcurrencyLimit;
  readonly #nameOf: (uid: string) => string;

  /**
   * @param waiting - How many pieces of work of one person may wait. As many may also wait for one deploy token: work
   * with a token waits for the token's limit first, then for the limit of the person. By default, any number may wait.
   * @param nameOf - The name under which a person is counted. By default, the user name.
   */
  constructor(
    most: { readonly ofPerson: number; readonly ofToken: number },
    waiting: Waiting | null = null,
    nameOf: (uid: string) => string = (uid) => uid,
  ) {
    this.#persons = new KeyedConcurrencyLimit(most.ofPerson, waiting);
    this.#tokens = new KeyedConcurrencyLimit(most.ofToken, waiting);
    this.#nameOf = nameOf;
  }

  /**
   * Waits until few enough other pieces of work of the same person, and of the same deploy token, are running. Then
   * does `work`.
   *
   * @throws the error of `Waiting.refusal` if too much work waits; the signal's reason if the signal fires before the
   * work has begun.
   */
  run<Result>(sharer: Sharer, work: () => Promise<Result>, signal: AbortSignal): Promise<Result> {
    const asPerson = () => this.#persons.run(this.#nameOf(sharer.uid), work, signal);
    const token = tokenKey(sharer);
    return token === null ? asPerson() : this.#tokens.run(token, asPerson, signal);
  }
}
