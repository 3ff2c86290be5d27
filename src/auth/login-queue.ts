import { networkOf } from '../core/network/ip-address.ts';
import { tooManyLogins } from './directory-timeout.ts';
import { RecentMap } from './recent-map.ts';
import { normalise } from './user-name.ts';

/**
 * How many passwords or offered keys are checked at the same time. Two places are reserved for known logins, and two
 * for the others. So neither group can keep the other out.
 */
const MAX_AT_ONCE = 8;
const MAX_AT_ONCE_KNOWN = 6;
const MAX_AT_ONCE_UNKNOWN = 6;
const MAX_AT_ONCE_SLOWED = 2;
const MAX_AT_ONCE_OF_ADDRESS = 4;
const MAX_AT_ONCE_OF_NAME = 2;
const MAX_WAITING = 1000;
const MAX_WAITING_OF_ADDRESS = 50;
const MAX_WAIT_MS = 20_000;
const MAX_REMEMBERED = 10_000;
/**
 * If the check of a login that is not `isKnown` takes at least `MUCH_MS` milliseconds of processor time, the place of
 * this login stays taken after the check. It stays taken for `REST` times as long as the check took, but at most for
 * `MAX_REST_MS`. For example, checking a key for a tool with thousands of maintainers in LDAP takes this long.
 */
const MUCH_MS = 50;
const REST = 3;
const MAX_REST_MS = 3000;

/** A login that waits until its password or key is checked. */
export interface LoginAttempt {
  /** The user name. Over SSH, the fingerprint of the offered key instead, because many people log in as `git`. */
  readonly login: string;
  readonly address: string;
  /** True if this login has succeeded from this address, with this password or key, within the last week. */
  readonly isKnown: boolean;
  /** True if too many logins with the same user name or from the same address have failed. By default false. */
  readonly isSlowed?: boolean;
}

interface Waiting {
  readonly address: string;
  readonly name: string;
  readonly isKnown: boolean;
  readonly isSlowed: boolean;
  readonly start: () => void;
  readonly refuse: (error: unknown) => void;
}

/**
 * Gives everybody a fair share of the checks of passwords or offered keys. The next login is chosen in this order:
 *
 * 1. Known logins go first: those that succeeded from the same address, with the same password or key, within the last
 * week. Logins after too many failures go last.
 * 2. Addresses without a remembered check come next, the newest login first. If more such addresses come than can be
 * served, the oldest most likely guess passwords. Serving the oldest first would make everybody wait.
 * 3. Then comes the address whose last check is longest ago. Within an address, the same rule orders the names
 * (`LoginAttempt.login`).
 *
 * So guesses from many addresses slow each other down, and the first login of a person from a new address goes ahead of
 * these guesses.
 *
 * If too many logins wait, the newest login of the address with the most waiting logins is refused. If each address has
 * only one waiting login, the login whose turn would come last is refused. If a single address has too many waiting
 * logins that are not known, its newest such login is refused. To make room, a known login is refused only if known
 * logins are at least half of all that wait.
 */
export class LoginQueue {
  #waiting: Waiting[] = [];
  readonly #running = new Set<Waiting>();
  /**
   * For each address and each name (`nameKey`), the number of its last check. Checks are numbered in the order they
   * begin.
   */
  readonly #begunAt = new RecentMap<number>(MAX_REMEMBERED);
  #begun = 0;

  /**
   * Runs the check in its turn.
   *
   * @throws DeployError `DIRECTORY_BUSY` if too many logins wait, or if this login has waited for 20 s; the signal's
   * reason if the signal fires first.
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
    const before = process.threadCpuUsage();
    try {
      return await check();
    } finally {
      const { user, system } = process.threadCpuUsage(before);
      const workedMs = (user + system) / 1000;
      if (attempt.isKnown || workedMs < MUCH_MS) this.#leave(place);
      else setTimeout(() => this.#leave(place), Math.min(MAX_REST_MS, REST * workedMs)).unref();
    }
  }

  #leave(place: Waiting): void {
    this.#running.delete(place);
    this.#startNext();
  }

  #enter(
    { login, address, isKnown, isSlowed = false }: LoginAttempt,
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
        isSlowed: isSlowed && !isKnown,
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

  /**
   * Refuses a login if too many wait in total, or if too many logins that are not known wait from this address.
   * Strangers cannot push out known logins, and known logins cannot push out strangers: if too many wait in total, the
   * larger of the two groups loses a login.
   */
  #makeRoom(address: string): void {
    const isFull = this.#waiting.length > MAX_WAITING;
    const strangers = this.#waiting.filter(({ isKnown }) => !isKnown);
    const isFullOfKnown = isFull && strangers.length <= this.#waiting.length / 2;
    const counted = isFullOfKnown ? this.#waiting.filter(({ isKnown }) => isKnown) : strangers;
    const counts = new Map<string, number>();
    for (const waiting of counted) counts.set(waiting.address, (counts.get(waiting.address) ?? 0) + 1);
    if (!isFull && (counts.get(address) ?? 0) <= MAX_WAITING_OF_ADDRESS) return;
    const most = Math.max(...counts.values());
    const isMeant = (waiting: Waiting) =>
      isFull ? counts.get(waiting.address) === most : waiting.address === address;
    const meant = counted.filter(isMeant);
    const [first] = meant;
    if (first === undefined) return;
    const refused =
      most === 1
        ? meant.reduce((last, other) => (this.#goesBefore(other, last) ? last : other), first)
        : (meant.at(-1) ?? first);
    this.#waiting = this.#waiting.filter((waiting) => waiting !== refused);
    refused.refuse(tooManyLogins());
  }

  #startNext(): void {
    while (this.#running.size < MAX_AT_ONCE) {
      const next = this.#next();
      if (next === null) return;
      this.#waiting = this.#waiting.filter((waiting) => waiting !== next);
      this.#running.add(next);
      this.#begun += 1;
      this.#begunAt.set(next.address, this.#begun);
      this.#begunAt.set(nameKey(next), this.#begun);
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
    const most = waiting.isKnown ? MAX_AT_ONCE_KNOWN : MAX_AT_ONCE_UNKNOWN;
    return (
      running.filter(({ isKnown }) => isKnown === waiting.isKnown).length < most &&
      (!waiting.isSlowed || running.filter(({ isSlowed }) => isSlowed).length < MAX_AT_ONCE_SLOWED) &&
      running.filter(({ address }) => address === waiting.address).length < MAX_AT_ONCE_OF_ADDRESS &&
      running.filter((other) => nameKey(other) === name).length < MAX_AT_ONCE_OF_NAME
    );
  }

  #goesBefore(one: Waiting, other: Waiting): boolean {
    if (one.isKnown !== other.isKnown) return one.isKnown;
    if (one.isSlowed !== other.isSlowed) return other.isSlowed;
    const begunAt = (key: string) => this.#begunAt.get(key) ?? 0;
    const byAddress = begunAt(one.address) - begunAt(other.address);
    if (byAddress !== 0) return byAddress < 0;
    // No check for either address is remembered. `one` came later than `other`, and the newest of such logins goes
    // first.
    if (one.address !== other.address) return true;
    return begunAt(nameKey(one)) < begunAt(nameKey(other));
  }
}

/**
 * Returns the key under which the checks for one name (`LoginAttempt.login`) are counted. A known login has a separate
 * key for its address, so guesses from other addresses cannot use up the person's limit.
 */
function nameKey({ name, address, isKnown }: Waiting): string {
  return isKnown ? `name ${name} ${address}` : `name ${name}`;
}
