import { randomUUID } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { AndFilter, DN, EqualityFilter, OrFilter, PresenceFilter } from 'ldapts';
import { DeployError } from '../../core/errors.ts';
import type { Log } from '../../core/log/log.ts';
import { RecentMap } from '../recent-map.ts';
import { userName } from '../user-name.ts';
import { type ReadDn, readDn } from './ldap-dn.ts';
import { isLocked, type LdapEntry, LOCK_ATTRIBUTES, MAX_KEYS } from './ldap-entry.ts';
import type { LdapServers } from './ldap-servers.ts';
import type { LdapSettings } from './ldap-settings.ts';

export interface LdapPerson {
  readonly uid: string;
  readonly dn: string;
  /** The blobs of the person's public keys, in base64. */
  readonly keys: ReadonlySet<string>;
  readonly isDisabled: boolean;
}

const MAX_TOO_LARGE = 1000;
/** How many names one LDAP filter asks for. */
const NAMES_PER_SEARCH = 100;

/** Finds people in LDAP. No filter is made by joining text: ldapts encodes each value by itself (RFC 4511). */
export class LdapPeople {
  readonly #servers: LdapServers;
  readonly #settings: LdapSettings;
  readonly #baseKey: string;
  readonly #attributes: readonly string[];
  readonly #log: Log;
  /** For each user name whose entry was too large: the `key` of its distinguished name. */
  readonly #tooLarge = new RecentMap<string>(MAX_TOO_LARGE);

  constructor(servers: LdapServers, settings: LdapSettings, log: Log) {
    this.#servers = servers;
    this.#settings = settings;
    this.#baseKey = readDn(settings.people.base)?.key ?? '';
    this.#attributes = [settings.people.attribute, 'sshPublicKey', ...LOCK_ATTRIBUTES];
    this.#log = log;
  }

  /**
   * The person with this user name. Null if nobody has it, or if several entries have it.
   *
   * @throws DeployError `ENTRY_TOO_LARGE` if the entry is too large.
   */
  async byName(uid: string, signal: AbortSignal): Promise<LdapPerson | null> {
    if (this.#servers.isTooLarge(this.#tooLarge.get(uid) ?? '')) throw tooLarge(uid);
    const { attribute } = this.#settings.people;
    const entries = await this.#search(new EqualityFilter({ attribute, value: uid }), signal);
    if (entries.length > 1)
      this.#log.warn({ uid, entries: entries.length }, 'several LDAP entries have the same user name');
    const large = entries.find(({ isTooLarge }) => isTooLarge);
    if (large !== undefined) {
      this.#tooLarge.set(uid, readDn(large.dn)?.key ?? large.dn);
      throw tooLarge(uid);
    }
    const [entry, ...others] = entries;
    const person = entry === undefined || others.length > 0 ? null : this.#read(entry);
    return person?.uid === uid ? person : null;
  }

  /** Whether an entry with this distinguished name is directly below the entry that the setting `ldap_people` names. */
  holds(dn: ReadDn): boolean {
    return dn.parentKey === this.#baseKey;
  }

  /** The people with these distinguished names. The list has nobody for a name without an entry. */
  async byDns(dns: readonly ReadDn[], signal: AbortSignal): Promise<LdapPerson[]> {
    const small = dns.filter(({ key }) => !this.#servers.isTooLarge(key));
    const wanted = new Set(small.map((dn) => dn.key));
    const entries = await chunkByChunk(small, async (chunk) => {
      const filters = chunk.map(({ first }) => {
        const parts = first.map((part) => new EqualityFilter(part));
        return parts.length === 1 && parts[0] !== undefined ? parts[0] : new AndFilter({ filters: parts });
      });
      return await this.#search(new OrFilter({ filters }), signal);
    });
    return entries.flatMap((entry) => {
      const person = wanted.has(readDn(entry.dn)?.key ?? '') ? this.#read(entry) : null;
      return person === null ? [] : [person];
    });
  }

  /** All people who have a key. */
  async withKeys(signal: AbortSignal): Promise<LdapPerson[]> {
    const entries = await this.#search(new PresenceFilter({ attribute: 'sshPublicKey' }), signal, true);
    const people: LdapPerson[] = [];
    for (const chunk of inChunks(entries)) {
      // There may be thousands of keys, so let the event loop do other work between two chunks.
      await setImmediate();
      people.push(...chunk.flatMap((entry) => this.#read(entry) ?? []));
    }
    return people;
  }

  /** A distinguished name without an entry, so that a password check for it takes as long as any other. */
  nobody(): string {
    const name = new DN().addPairRDN(this.#settings.people.attribute, `nobody-${randomUUID()}`);
    return `${name},${this.#settings.people.base}`;
  }

  async #search(
    filter: EqualityFilter | OrFilter | PresenceFilter,
    signal: AbortSignal,
    isListing = false,
  ): Promise<LdapEntry[]> {
    const { base, filter: isPerson } = this.#settings.people;
    const question = { base, filter: new AndFilter({ filters: [isPerson, filter] }), isListing };
    return await this.#servers.search({ ...question, attributes: this.#attributes }, signal);
  }

  /** Reads an entry as a person. Null if the value that names the entry cannot be a user name. */
  #read(entry: LdapEntry): LdapPerson | null {
    const uid = userName(entry.nameIn(this.#settings.people.attribute) ?? '');
    if (uid === null) return null;
    return { uid, dn: entry.dn, keys: entry.keys(), isDisabled: isLocked(entry) };
  }
}

function tooLarge(uid: string): DeployError {
  return new DeployError(
    'ENTRY_TOO_LARGE',
    `the entry of ${uid} in the user directory (LDAP) is too large`,
    `Remove keys from the entry, and try again after a minute. A person may have at most ${MAX_KEYS} keys.`,
  );
}

/**
 * Asks LDAP for the items in chunks, one chunk after the other. So the question about a group with thousands of members
 * takes only one place in the queue for the LDAP servers.
 */
export async function chunkByChunk<T, R>(
  items: readonly T[],
  ask: (chunk: readonly T[]) => Promise<readonly R[]>,
): Promise<R[]> {
  const found: R[] = [];
  for (const chunk of inChunks(items)) found.push(...(await ask(chunk)));
  return found;
}

function inChunks<T>(items: readonly T[]): T[][] {
  const count = Math.ceil(items.length / NAMES_PER_SEARCH);
  return Array.from({ length: count }, (_, at) =>
    items.slice(at * NAMES_PER_SEARCH, (at + 1) * NAMES_PER_SEARCH),
  );
}
