import { lookup } from 'node:dns/promises';
import { BlockList, isIP, isIPv4 } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import { DeployError, systemCode } from '../../core/errors.ts';
import type { Log } from '../../core/log/log.ts';

const REFRESH_MS = 5000;
const HOST_NAME = /^(?=.*[a-z])[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\.?$/i;

/**
 * Looks up a host name. @returns its addresses. @throws `ENOTFOUND` if it has none, another error if the lookup failed.
 */
export type Resolve = (name: string) => Promise<readonly string[]>;

/**
 * The setting `trusted_proxies`: addresses, CIDR ranges and host names. The pods of an ingress controller get new
 * addresses at each restart, so `watch` looks names up every few seconds.
 */
export class TrustedProxies {
  readonly #fixed = new BlockList();
  readonly #named = new Map<string, readonly string[]>();
  readonly #known = Promise.withResolvers<void>();
  /** For each host name: what was last logged about it, so that only changes are logged. */
  readonly #told = new Map<string, string>();

  /** @throws DeployError `BAD_SETTING` for an entry that is no address, CIDR range or host name. */
  constructor(entries: readonly string[]) {
    for (const entry of entries) {
      if (HOST_NAME.test(entry)) this.#named.set(entry, []);
      else this.#addRange(entry);
    }
  }

  check(address: string): boolean {
    if (isIP(address) === 0) return false;
    if (this.#fixed.check(address, isIPv4(address) ? 'ipv4' : 'ipv6')) return true;
    return this.#named.values().some((addresses) => addresses.includes(address));
  }

  /** Resolves when `watch` has looked up every name once, or after `limitMs`. */
  async known(limitMs: number): Promise<void> {
    if (this.#named.size === 0) return;
    await Promise.race([this.#known.promise, setTimeout(limitMs, null, { ref: false })]);
  }

  /**
   * Looks the names up until the signal fires. If a name has no addresses, it is not trusted. If a lookup fails, the
   * last addresses stay.
   */
  async watch(signal: AbortSignal, log: Log, resolve: Resolve = addressesOf): Promise<void> {
    while (this.#named.size > 0 && !signal.aborted) {
      await Promise.all([...this.#named.keys()].map((name) => this.#look(name, log, resolve)));
      this.#known.resolve();
      await setTimeout(REFRESH_MS, null, { signal, ref: false }).catch(() => {});
    }
  }

  async #look(name: string, log: Log, resolve: Resolve): Promise<void> {
    let why: string | null = null;
    try {
      this.#named.set(name, (await resolve(name)).toSorted());
    } catch (error) {
      why = systemCode(error) ?? String(error);
      if (why === 'ENOTFOUND') this.#named.set(name, []);
    }
    const addresses = this.#named.get(name) ?? [];
    const line = `${why} ${addresses}`;
    if (this.#told.get(name) === line) return;
    this.#told.set(name, line);
    if (why === null) log.info({ name, addresses }, 'addresses of a trusted proxy');
    else log.warn({ name, addresses, why }, 'cannot look up the addresses of a trusted proxy');
  }

  #addRange(entry: string): void {
    const [address = '', prefix, ...rest] = entry.split('/');
    const bits = isIPv4(address) ? 32 : 128;
    const length = prefix === undefined ? bits : Number(prefix);
    if (isIP(address) === 0 || rest.length > 0 || !/^\d{1,3}$/.test(prefix ?? '0') || length > bits) {
      throw new DeployError(
        'BAD_SETTING',
        `the setting trusted_proxies has ${JSON.stringify(entry)}: not an address, CIDR range or host name`,
        'Write addresses, CIDR ranges or host names, for example 192.0.2.7, 10.0.0.0/8 or proxy.example.org.',
      );
    }
    this.#fixed.addSubnet(address, length, isIPv4(address) ? 'ipv4' : 'ipv6');
  }
}

async function addressesOf(name: string): Promise<string[]> {
  return (await lookup(name, { all: true })).map(({ address }) => address);
}
