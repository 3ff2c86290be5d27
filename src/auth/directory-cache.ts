import { createHmac, randomBytes } from 'node:crypto';
import type { ToolName } from '../core/names.ts';
import { untilAborted } from '../core/until-aborted.ts';
import type { Directory, DirectoryTool, Identity, OfferedKey } from './directory.ts';
import { inTime } from './in-time.ts';
import { normalise } from './user-name.ts';

const MOST_REMEMBERED = 10_000;

interface Remembered {
  readonly value: unknown;
  readonly until: number;
}

export interface CacheTimes {
  /** How long an answer is believed, counted from when it was asked for; 0 = not at all. */
  readonly cacheMs: number;
  readonly limitMs: number;
}

/**
 * A Directory in front of a slow one. Answers that let somebody in are remembered for a while; refusals never
 * are, so that a new key or a new maintainer holds at once. The same question asked by several at a time is
 * asked once.
 */
export class CachedDirectory implements Directory {
  readonly #directory: Directory;
  readonly #times: CacheTimes;
  readonly #now: () => number;
  readonly #secret = randomBytes(32);
  readonly #remembered = new Map<string, Remembered>();
  readonly #asked = new Map<string, Promise<unknown>>();

  /** @param now - A clock in milliseconds that never goes back. */
  constructor(directory: Directory, times: CacheTimes, now: () => number = () => performance.now()) {
    this.#directory = directory;
    this.#times = times;
    this.#now = now;
  }

  async identifyByKey(login: string, key: OfferedKey, signal: AbortSignal): Promise<Identity | null> {
    const question = this.#digest('key', normalise(login), key.algorithm, key.blob);
    return await this.#answer(question, signal, isSomething, (limit) =>
      this.#directory.identifyByKey(login, key, limit),
    );
  }

  async identifyByPassword(login: string, password: string, signal: AbortSignal): Promise<Identity | null> {
    if (password === '') return null;
    const question = this.#digest('password', normalise(login), password);
    return await this.#answer(question, signal, isSomething, (limit) =>
      this.#directory.identifyByPassword(login, password, limit),
    );
  }

  async findTool(
    name: ToolName,
    signal: AbortSignal,
    { isFresh } = { isFresh: false },
  ): Promise<DirectoryTool | null> {
    const question = `tool ${name}`;
    const ask = (limit: AbortSignal) => this.#directory.findTool(name, limit);
    return isFresh
      ? await this.#askOnce(question, signal, isSomething, ask)
      : await this.#answer(question, signal, isSomething, ask);
  }

  async toolsOf(uid: string, signal: AbortSignal): Promise<ToolName[]> {
    const tools = await this.#answer<ToolName[]>(
      `tools of ${normalise(uid)}`,
      signal,
      (names) => names.length > 0,
      (limit) => this.#directory.toolsOf(uid, limit),
    );
    return [...tools];
  }

  async close(): Promise<void> {
    this.#remembered.clear();
    await this.#directory.close();
  }

  async #answer<T>(
    question: string,
    signal: AbortSignal,
    isWorthIt: (value: T) => boolean,
    ask: (limit: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const known = this.#remembered.get(question);
    if (known !== undefined && known.until > this.#now() && !signal.aborted) return known.value as T;
    return await this.#askOnce(question, signal, isWorthIt, ask);
  }

  async #askOnce<T>(
    question: string,
    signal: AbortSignal,
    isWorthIt: (value: T) => boolean,
    ask: (limit: AbortSignal) => Promise<T>,
  ): Promise<T> {
    return await inTime(signal, this.#times.limitMs, async (limit) => {
      const asked = this.#asked.get(question) ?? this.#ask(question, isWorthIt, ask);
      this.#asked.set(question, asked);
      return (await untilAborted(asked, limit)) as T;
    });
  }

  /** Asks for all who wait for it; the one who asked first may leave. */
  async #ask<T>(
    question: string,
    isWorthIt: (value: T) => boolean,
    ask: (limit: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const until = this.#now() + this.#times.cacheMs;
    try {
      const value = await ask(AbortSignal.timeout(this.#times.limitMs));
      if (isWorthIt(value)) this.#remember(question, { value, until });
      else this.#remembered.delete(question);
      return value;
    } finally {
      this.#asked.delete(question);
    }
  }

  #remember(question: string, answer: Remembered): void {
    this.#remembered.delete(question);
    if (answer.until > this.#now()) this.#remembered.set(question, answer);
    const oldest = this.#remembered.keys().next().value;
    if (this.#remembered.size > MOST_REMEMBERED && oldest !== undefined) this.#remembered.delete(oldest);
  }

  /** Under a secret of this process, so that no password lies in memory longer than it must. */
  #digest(kind: string, ...parts: readonly (string | Buffer)[]): string {
    const hmac = createHmac('sha256', this.#secret);
    for (const part of parts) hmac.update(`${Buffer.byteLength(part)} `).update(part);
    return `${kind} ${hmac.digest('base64')}`;
  }
}

function isSomething(value: unknown): boolean {
  return value !== null;
}
