import { createHmac, randomBytes } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { KeyedConcurrencyLimit } from '../../core/concurrency/concurrency-limit.ts';
import { untilAborted } from '../../core/concurrency/until-aborted.ts';
import type { ToolName } from '../../core/names.ts';
import type { Directory, DirectoryTool, FindOptions, Identity, OfferedKey } from '../directory.ts';
import { busy, inTime } from '../directory-timeout.ts';
import { RecentMap } from '../recent-map.ts';
import { normalise } from '../user-name.ts';
import { countValues } from './values-read.ts';

const MAX_REMEMBERED = 10_000;
/**
 * At most this many questions about tools run at the same time for one person, so that one person cannot fill the queue
 * of all. Checks of a right that is already used (`isWatch`) have as many places of their own.
 */
const MAX_AT_ONCE_OF_PERSON = 4;
const MAX_WAITING_OF_PERSON = 100;
/**
 * A question on behalf of a person takes one of the person's `MAX_AT_ONCE_OF_PERSON` places. After the answer, the
 * place stays taken for `REST` times the processor time of the question, but at most for `MAX_REST_MS`. So one person
 * who asks about tools with many members leaves most of the server's time to others.
 */
const REST = 11;
const MAX_REST_MS = 1000;
/**
 * The processor time that is measured during a question includes work for other people. So a question counts as at most
 * this many milliseconds for each LDAP value that it reads. In fact, one value takes about 0.02 ms: a maintainer with
 * one key has three values, which take 0.05 ms.
 */
const MAX_MS_OF_VALUE = 0.1;

interface Remembered {
  readonly value: unknown;
  readonly until: number;
}

interface Question<T> {
  readonly name: string;
  /** The person on whose behalf the server asks, and whose place the question takes. Undefined before a login. */
  readonly by?: string | undefined;
  readonly isWorthIt: (value: T) => boolean;
  readonly ask: (limit: AbortSignal) => Promise<T>;
}

export interface CacheTimes {
  /** For how many milliseconds after its question an answer is remembered. 0 if answers are not remembered. */
  readonly cacheMs: number;
  readonly limitMs: number;
}

/**
 * A cache in front of a slow Directory. It remembers people, tools and lists of tools for a while. It does not remember
 * that nothing was found, so it never refuses a new key. A remembered tool may lack a new maintainer, so `authorize`
 * asks again with `isFresh` before it refuses. If several callers ask the same question for the same person at the same
 * time, the directory is asked once.
 */
export class CachedDirectory implements Directory {
  readonly #directory: Directory;
  readonly #times: CacheTimes;
  readonly #now: () => number;
  readonly #secret = randomBytes(32);
  readonly #remembered = new RecentMap<Remembered>(MAX_REMEMBERED);
  readonly #asked = new Map<string, Promise<unknown>>();
  readonly #turns = new KeyedConcurrencyLimit(MAX_AT_ONCE_OF_PERSON, {
    most: MAX_WAITING_OF_PERSON,
    refusal: () => busy('too many of your requests are waiting for the user directory'),
  });

  /** @param now - A clock in milliseconds that never goes back. */
  constructor(directory: Directory, times: CacheTimes, now: () => number = () => performance.now()) {
    this.#directory = directory;
    this.#times = times;
    this.#now = now;
  }

  async identifyByKey(login: string, key: OfferedKey, signal: AbortSignal): Promise<Identity | null> {
    return await this.#answer(signal, {
      name: this.#digest('key', normalise(login), key.algorithm, key.blob),
      isWorthIt: isSomething,
      ask: (limit) => this.#directory.identifyByKey(login, key, limit),
    });
  }

  async identifyByPassword(login: string, password: string, signal: AbortSignal): Promise<Identity | null> {
    if (password === '') return null;
    return await this.#answer(signal, {
      name: this.#digest('password', normalise(login), password),
      isWorthIt: isSomething,
      ask: (limit) => this.#directory.identifyByPassword(login, password, limit),
    });
  }

  async findTool(
    name: ToolName,
    signal: AbortSignal,
    { isFresh = false, by, isWatch = false }: FindOptions = {},
  ): Promise<DirectoryTool | null> {
    const question: Question<DirectoryTool | null> = {
      name: `tool ${name}`,
      by: isWatch && by !== undefined ? `watch ${by}` : by,
      isWorthIt: isSomething,
      ask: (limit) => this.#directory.findTool(name, limit),
    };
    return isFresh ? await this.#askOnce(signal, question) : await this.#answer(signal, question);
  }

  async toolsOf(uid: string, signal: AbortSignal): Promise<ToolName[]> {
    const tools = await this.#answer<ToolName[]>(signal, {
      name: `tools of ${normalise(uid)}`,
      by: normalise(uid),
      isWorthIt: (names) => names.length > 0,
      ask: (limit) => this.#directory.toolsOf(uid, limit),
    });
    return [...tools];
  }

  async close(): Promise<void> {
    this.#remembered.clear();
    await this.#directory.close();
  }

  async #answer<T>(signal: AbortSignal, question: Question<T>): Promise<T> {
    const known = this.#remembered.get(question.name);
    if (known !== undefined && known.until > this.#now() && !signal.aborted) return known.value as T;
    return await this.#askOnce(signal, question);
  }

  async #askOnce<T>(signal: AbortSignal, question: Question<T>): Promise<T> {
    // Callers share a question under way only if they ask it on behalf of the same person. So nobody waits for another
    // person's turn.
    const key = `${question.by ?? ''} ${question.name}`;
    return await inTime(signal, this.#times.limitMs, async (limit) => {
      const asked = this.#asked.get(key) ?? this.#ask(question).finally(() => this.#asked.delete(key));
      this.#asked.set(key, asked);
      return (await untilAborted(asked, limit)) as T;
    });
  }

  /** Asks the directory once for all callers that wait. The question continues if the first caller leaves. */
  async #ask<T>({ name, by, isWorthIt, ask }: Question<T>): Promise<T> {
    const until = this.#now() + this.#times.cacheMs;
    const value = await inTime(new AbortController().signal, this.#times.limitMs, (limit) =>
      by === undefined ? ask(limit) : this.#inTurn(by, () => ask(limit), limit),
    );
    if (isWorthIt(value) && until > this.#now()) this.#remembered.set(name, { value, until });
    else this.#remembered.delete(name);
    return value;
  }

  /**
   * Calls `ask` when the person `by` has a free place. Returns the answer as soon as it comes, although the place stays
   * taken for a while afterwards (`REST`).
   */
  #inTurn<T>(by: string, ask: () => Promise<T>, limit: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
      const turn = async (): Promise<void> => {
        const before = process.threadCpuUsage();
        const read = { values: 0 };
        await countValues(read, ask).then(resolve, reject);
        const { user, system } = process.threadCpuUsage(before);
        const workedMs = Math.min((user + system) / 1000, read.values * MAX_MS_OF_VALUE);
        await wait(Math.min(MAX_REST_MS, REST * workedMs), undefined, { ref: false });
      };
      this.#turns.run(by, turn, limit).catch(reject);
    });
  }

  /**
   * Returns a hash of `parts`, keyed with a secret of this process. So no password stays in memory longer than
   * necessary.
   */
  #digest(kind: string, ...parts: readonly (string | Buffer)[]): string {
    const hmac = createHmac('sha256', this.#secret);
    for (const part of parts) hmac.update(`${Buffer.byteLength(part)} `).update(part);
    return `${kind} ${hmac.digest('base64')}`;
  }
}

function isSomething(value: unknown): boolean {
  return value !== null;
}
