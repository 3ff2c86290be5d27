import { untilAborted } from '../../core/concurrency/until-aborted.ts';
import type { ToolName } from '../../core/names.ts';
import type { LdapPeople } from './ldap-people.ts';
import type { LdapTools } from './ldap-tools.ts';

/** The owners of a key. */
export interface KeyOwners {
  readonly people: readonly string[];
  readonly tools: readonly ToolName[];
}

interface Index {
  readonly people: ReadonlyMap<string, readonly string[]>;
  readonly tools: ReadonlyMap<string, readonly ToolName[]>;
  /** When the search for all keys began, by the clock of `performance.now()`. */
  readonly at: number;
}

/**
 * An unknown key makes the server list all keys again, but only if the last list is at least this old, because
 * strangers may offer many keys. If `ldap_cache_time` is shorter, the list must only be as old as that.
 */
const LEAST_AGE_MS = 5000;

/**
 * Finds the owners of a key, for logins as `git`. No LDAP filter can find a key, because `sshPublicKey` is an octet
 * string that contains a comment and has no substring rule. So this class keeps a list of all keys. It makes the list
 * again when the list is old, or when an unknown key is offered (`LEAST_AGE_MS`). All logins that wait share one
 * search.
 */
export class LdapKeyIndex {
  readonly #people: LdapPeople;
  readonly #tools: LdapTools;
  readonly #maxAgeMs: number;
  readonly #limitMs: number;
  #index: Index | null = null;
  #listing: Promise<Index> | null = null;

  constructor(
    people: LdapPeople,
    tools: LdapTools,
    times: { readonly cacheMs: number; readonly limitMs: number },
  ) {
    this.#people = people;
    this.#tools = tools;
    this.#maxAgeMs = times.cacheMs;
    this.#limitMs = times.limitMs;
  }

  /** Returns the owners of a key. @param key - The blob of the public key, in base64. */
  async owners(key: string, signal: AbortSignal): Promise<KeyOwners> {
    const index = this.#index;
    const age = index === null ? Number.POSITIVE_INFINITY : performance.now() - index.at;
    const isKnown = index !== null && (index.people.has(key) || index.tools.has(key));
    const isFresh = age < (isKnown ? this.#maxAgeMs : Math.min(LEAST_AGE_MS, this.#maxAgeMs));
    const { people, tools } = index !== null && isFresh ? index : await this.#listed(signal);
    return { people: people.get(key) ?? [], tools: tools.get(key) ?? [] };
  }

  async #listed(signal: AbortSignal): Promise<Index> {
    this.#listing ??= this.#list(AbortSignal.timeout(this.#limitMs)).finally(() => {
      this.#listing = null;
    });
    return await untilAborted(this.#listing, signal);
  }

  async #list(signal: AbortSignal): Promise<Index> {
    const at = performance.now();
    const [people, tools] = await Promise.all([
      this.#people.withKeys(signal),
      this.#tools.keysOfAccounts(signal),
    ]);
    const active = people.filter(({ isDisabled }) => !isDisabled);
    this.#index = {
      people: byKey(active.map(({ uid, keys }) => [uid, keys])),
      tools: byKey(tools.map(({ name, keys }) => [name, keys])),
      at,
    };
    return this.#index;
  }
}

function byKey<T>(owners: readonly (readonly [T, ReadonlySet<string>])[]): Map<string, T[]> {
  const index = new Map<string, T[]>();
  for (const [owner, keys] of owners) {
    for (const key of keys) {
      const others = index.get(key);
      if (others === undefined) index.set(key, [owner]);
      else others.push(owner);
    }
  }
  return index;
}
