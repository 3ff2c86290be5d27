import { createHmac, randomBytes } from 'node:crypto';
import { networkOf } from '../core/network/ip-address.ts';
import { RecentMap } from './recent-map.ts';
import { normalise } from './user-name.ts';

/** This many failures of one user name from one address cause no wait. Each further failure makes the next try wait. */
const FREE_TRIES = 5;
/** How many failures from one address, of all names together, cause no wait. Many people may share an address (NAT). */
const FREE_TRIES_OF_ADDRESS = 30;
const LONGEST_WAIT_MS = 5 * 60_000;
const LONGEST_WAIT_OF_ADDRESS_MS = 30_000;
/**
 * The failures of a name at an address, or of an address, are forgotten if there was no other failure for this long.
 */
const FORGET_MS = 15 * 60_000;
/** After a login, for this long, the failures of other people at the same address do not make this user name wait. */
const KNOWN_MS = 7 * 24 * 3600_000;
const MAX_ENTRIES = 10_000;
/**
 * How many characters of the digest of a credential are remembered. This is enough to tell a wrong credential from the
 * right one, but too short to find a password in a copy of the memory.
 */
const DIGEST_CHARACTERS = 4;

interface Failures {
  count: number;
  /** When the last failure was, on the clock of `performance.now()`. */
  at: number;
  /**
   * Until this time, the server refuses passwords, and checks keys after those of all others. By `performance.now()`.
   */
  until: number;
}

/**
 * Slows down logins that fail again and again, over SSH and HTTP together. A few failures cause no wait. After that,
 * each failure doubles the wait. For one name at one address, the wait grows up to five minutes. All failures of an
 * address together delay names that have not logged in from the address within a week, by at most 30 s. So nobody is
 * locked out by a neighbour.
 *
 * The memory is limited: each table keeps at most 10,000 entries, and drops the oldest.
 */
export class LoginThrottle {
  readonly #pairs = new RecentMap<Failures>(MAX_ENTRIES);
  readonly #addresses = new RecentMap<Failures>(MAX_ENTRIES);
  /** For each name at an address (`pairKey`) that has logged in: until when it is known, by the clock `now`. */
  readonly #known = new RecentMap<number>(MAX_ENTRIES);
  /**
   * For each credential with which a name at an address has logged in (`#proof`): until when it is known, by the clock
   * `now`.
   */
  readonly #proven = new RecentMap<number>(MAX_ENTRIES);
  readonly #secret = randomBytes(32);
  readonly #now: () => number;

  /** @param now - A monotonic clock in milliseconds. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** How many milliseconds this login must wait at this address. 0 if it may try now. */
  check(login: string, address: string): number {
    const now = this.#now();
    const pair = pairKey(login, address);
    const own = (this.#pairs.get(pair)?.until ?? 0) - now;
    const isKnown = (this.#known.get(pair) ?? 0) > now;
    const shared = isKnown ? 0 : (this.#addresses.get(networkOf(address))?.until ?? 0) - now;
    return Math.max(0, Math.ceil(own), Math.ceil(shared));
  }

  /**
   * Whether this login has succeeded within the last week with the same credential, from this address or from its /64
   * network if it is IPv6. False for the right name with a wrong credential.
   *
   * @param credential - The password, or the fingerprint of the key.
   */
  isKnown(login: string, address: string, credential: string): boolean {
    return (this.#proven.get(this.#proof(pairKey(login, address), credential)) ?? 0) > this.#now();
  }

  failed(login: string, address: string): void {
    this.#count(this.#pairs, pairKey(login, address), FREE_TRIES, LONGEST_WAIT_MS);
    this.#count(this.#addresses, networkOf(address), FREE_TRIES_OF_ADDRESS, LONGEST_WAIT_OF_ADDRESS_MS);
  }

  succeeded(login: string, address: string, credential: string): void {
    const pair = pairKey(login, address);
    const until = this.#now() + KNOWN_MS;
    this.#pairs.delete(pair);
    this.#known.set(pair, until);
    this.#proven.set(this.#proof(pair, credential), until);
  }

  #proof(pair: string, credential: string): string {
    const digest = createHmac('sha256', this.#secret).update(credential).digest('base64');
    return `${digest.slice(0, DIGEST_CHARACTERS)} ${pair}`;
  }

  #count(table: Map<string, Failures>, key: string, free: number, longestMs: number): void {
    const now = this.#now();
    const before = table.get(key);
    const count = before !== undefined && now - before.at < FORGET_MS ? before.count + 1 : 1;
    const waitMs = count <= free ? 0 : Math.min(longestMs, 1000 * 2 ** Math.min(20, count - free - 1));
    table.set(key, { count, at: now, until: now + waitMs });
  }
}

function pairKey(login: string, address: string): string {
  // Count both spellings of a tool's login together: `tool.NAME` means the same as `tools.NAME`.
  const name = normalise(login).replace(/^tool\./, 'tools.');
  return `${networkOf(address)} ${name.slice(0, 128)}`;
}
