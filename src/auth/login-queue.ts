import { networkOf } from '../core/network/ip-address.ts';
import { tooManyLogins } from './directory-timeout.ts';
import { normalise } from './user-name.ts';

/** Passwords, or offered keys, that are checked at once. The last places are kept for people who logged in lately. */
const MAX_AT_ONCE = 8;
const MAX_AT_ONCE_UNKNOWN = 6;
const MAX_AT_ONCE_OF_ADDRESS = 4;
const MAX_AT_ONCE_OF_NAME = 2;
const MAX_WAITING = 1000;
const MAX_WAITING_OF_ADDRESS = 50;
const MAX_WAIT_MS = 20_000;
const MAX_REMEMBERED = 10_000;

/** Who wants to have a password or a key checked. */
export interface LoginAttempt {
  readonly login: string;
  readonly address: string;
  /** This login has succeeded from this address lately. */
  readonly isKnown: boolean;
}

interface Waiting {
  readonly address: string;
  readonly name: string;
  readonly isKnown: boolean;
  readonly start: () => void;
  readonly refuse: (error: unknown) => void;
}

/**
 * Gives everybody a fair share of the checks of passwords, or of offered keys. People who logged in lately from the same address go first.
 * Then the address goes first whose last check is longest ago, and within an address the user name. Of addresses
 * without any check, the newest goes first: if more of them come than can be checked, the oldest are most likely guesses,
 * and serving them first would make everybody wait. So guesses from many addresses slow each other down, and a first
 * login from another address goes ahead of all of them.
 *
 * If too many wait, the newest of the address with most gives way.
 */
export class LoginQueue {
  #waiting: Waiting[] = [];
  readonly #running = new Set<Waiting>();
  /** When the last check of an address or a name began, counted in checks. */
  readonly #begunAt = new Map<string, number>();
  #begun = 0;

  /**
   * Runs the check in its turn.
   *
   * @throws DeployError `DIRECTORY_UNAVAILABLE` if too many wait, or for too long. @throws the signal's reason.
   */
  async run<Result>(
    attempt: LoginAttempt,
    check: () => Promise<Result>,
    signal: AbortSignal,
  ): Promise<Result> {
    signal.throwIfAborted();
    const place = await this.#enter(
      attempt,
      AbortSignal.any([signal, AbortSignal.timeout(MAX_WAIT_MS)]),
      signal,
    );
    try {
      return await check();
    } finally {
      this.#running.delete(place);
      this.#startNext();
    }
  }

  #enter(
    { login, address, isKnown }: LoginAttempt,
    limit: AbortSignal,
    signal: AbortSignal,
  ): Promise<Waiting> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.#waiting = this.#waiting.filter((other) => other !== waiting);
        reject(signal.aborted ? signal.reason : tooManyLogins());
      };
      const waiting: Waiting = {
        address: networkOf(address),
        name: normalise(login).slice(0, 128),
        isKnown,
        start: () => {
          limit.removeEventListener('abort', leave);
          resolve(waiting);
        },
        refuse: (error) => {
          limit.removeEventListener('abort', leave);
          reject(error);
        },
      };
      limit.addEventListener('abort', leave, { once: true });
      this.#waiting.push(waiting);
      this.#startNext();
      this.#makeRoom(waiting.address);
    });
  }

  /** People who logged in lately are not among the waiting of their address: others behind it shall not refuse them. */
  #makeRoom(address: string): void {
    const isFull = this.#waiting.length > MAX_WAITING;
    const counted = isFull ? this.#waiting : this.#waiting.filter(({ isKnown }) => !isKnown);
    const counts = new Map<string, number>();
    for (const waiting of counted) counts.set(waiting.address, (counts.get(waiting.address) ?? 0) + 1);
    if (!isFull && (counts.get(address) ?? 0) <= MAX_WAITING_OF_ADDRESS) return;
    const most = Math.max(...counts.values());
    const last = counted.findLast((waiting) =>
      isFull ? counts.get(waiting.address) === most : waiting.address === address,
    );
    if (last === undefined) return;
    this.#waiting = this.#waiting.filter((waiting) => waiting !== last);
    last.refuse(tooManyLogins());
  }

  #startNext(): void {
    while (this.#running.size < MAX_AT_ONCE) {
      const next = this.#next();
      if (next === null) return;
      this.#waiting = this.#waiting.filter((waiting) => waiting !== next);
      this.#running.add(next);
      this.#begun += 1;
      this.#remember(next.address);
      this.#remember(nameKey(next));
      next.start();
    }
  }

  #next(): Waiting | null {
    let best: Waiting | null = null;
    for (const waiting of this.#waiting) {
      if (this.#mayStart(waiting) && (best === null || this.#goesBefore(waiting, best))) best = waiting;
    }
    return best;
  }

  #mayStart(waiting: Waiting): boolean {
    const running = [...this.#running];
    const name = nameKey(waiting);
    return (
      (waiting.isKnown || running.length < MAX_AT_ONCE_UNKNOWN) &&
      running.filter(({ address }) => address === waiting.address).length < MAX_AT_ONCE_OF_ADDRESS &&
      running.filter((other) => nameKey(other) === name).length < MAX_AT_ONCE_OF_NAME
    );
  }

  #goesBefore(one: Waiting, other: Waiting): boolean {
    if (one.isKnown !== other.isKnown) return one.isKnown;
    const begunAt = (key: string) => this.#begunAt.get(key) ?? 0;
    const byAddress = begunAt(one.address) - begunAt(other.address);
    if (byAddress !== 0) return byAddress < 0;
    // Of addresses without any check, the one that came last.
    if (one.address !== other.address) return true;
    return begunAt(nameKey(one)) < begunAt(nameKey(other));
  }

  #remember(key: string): void {
    this.#begunAt.delete(key);
    this.#begunAt.set(key, this.#begun);
    const oldest = this.#begunAt.keys().next().value;
    if (this.#begunAt.size > MAX_REMEMBERED && oldest !== undefined) this.#begunAt.delete(oldest);
  }
}

/** Guesses at a name from elsewhere take no share of the person who logged in lately. */
function nameKey({ name, address, isKnown }: Waiting): string {
  return isKnown ? `name ${name} ${address}` : `name ${name}`;
}
