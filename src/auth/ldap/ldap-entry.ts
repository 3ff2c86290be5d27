import type { Entry } from 'ldapts';
import { readKeyLine } from '../public-key.ts';
import { TOO_LONG } from './connection/ldap-messages.ts';
import { readDn } from './ldap-dn.ts';

/** How many SSH keys one entry in LDAP may have. Reading more keys at each login would keep the server busy. */
export const MAX_KEYS = 200;

/** One entry that a search returned: its name as the server spells it, and the requested values. */
export class LdapEntry {
  readonly dn: string;
  readonly #values = new Map<string, readonly string[]>();

  constructor(entry: Entry) {
    this.dn = entry.dn;
    for (const [attribute, value] of Object.entries(entry)) {
      if (attribute !== 'dn') this.#values.set(attribute.toLowerCase(), textsOf(value));
    }
  }

  /** How many values the entry has. Its name counts as one. */
  get size(): number {
    return [...this.#values.values()].reduce((sum, values) => sum + values.length, 1);
  }

  /** True if the entry has more bytes or keys than this server reads. Its values may then be missing. */
  get isTooLarge(): boolean {
    return this.values(TOO_LONG).length > 0 || this.values('sshPublicKey').length > MAX_KEYS;
  }

  /** Returns all values of an attribute. The list is empty if the attribute is missing or hidden. */
  values(attribute: string): readonly string[] {
    return this.#values.get(attribute.toLowerCase()) ?? [];
  }

  /**
   * The value of the attribute that names the entry. If the attribute has several values or none, the first part of the
   * distinguished name decides. Null if that part does not give exactly one value either, so that nobody has two names.
   */
  nameIn(attribute: string): string | null {
    const values = this.values(attribute);
    if (values.length === 1) return values[0] ?? null;
    const first = readDn(this.dn)?.first ?? [];
    const parts = first.filter((part) => part.attribute === attribute.toLowerCase());
    return parts.length === 1 ? (parts[0]?.value ?? null) : null;
  }

  /**
   * The public keys of `sshPublicKey` in base64. Leaves out values that are not usable keys. Empty if the entry is too
   * large.
   */
  keys(): Set<string> {
    if (this.isTooLarge) return new Set();
    const keys = this.values('sshPublicKey').map(readKeyLine);
    return new Set(keys.flatMap((key) => (typeof key === 'string' ? [] : [key.blob.toString('base64')])));
  }
}

// Returns the values of an attribute as texts. If one value is not UTF-8, ldapts returns all values of the attribute as
// bytes.
function textsOf(value: Entry[string]): string[] {
  return (Array.isArray(value) ? value : [value]).map((item) =>
    typeof item === 'string' ? item : item.toString('utf8'),
  );
}

/**
 * The attributes that can disable an account. The first two are operational: LDAP returns them only if asked by name.
 */
export const LOCK_ATTRIBUTES = [
  'pwdAccountLockedTime',
  'pwdPolicySubentry',
  'loginShell',
  'shadowExpire',
] as const;

const CLOSED_SHELLS = new Set(['disabledtoolshell', 'false', 'nologin']);
const DAY_MS = 24 * 3600_000;

/**
 * Whether an account is disabled: locked for good by the password policy, under Toolforge's policy `disabled`, with a
 * login shell such as `nologin`, or expired. An entry that is too large counts as disabled, because its values are not
 * known.
 *
 * A lock that says when it began does not count, because LDAP sets such a lock after wrong passwords. If it counted, a
 * stranger who guesses passwords could take away a person's keys and rights. LDAP itself refuses the password of a
 * locked account.
 *
 * @see https://datatracker.ietf.org/doc/html/draft-behera-ldap-password-policy-11#section-5.3.3
 */
export function isLocked(entry: LdapEntry, now = Date.now()): boolean {
  return (
    entry.isTooLarge ||
    entry.values('pwdAccountLockedTime').some(isForGood) ||
    entry.values('pwdPolicySubentry').some(isDisabledPolicy) ||
    entry.values('loginShell').some((shell) => CLOSED_SHELLS.has(shell.trim().split('/').at(-1) ?? '')) ||
    entry.values('shadowExpire').some((days) => isExpired(Number(days), now))
  );
}

/** True if `time` says that a lock lasts for good: `000001010000Z`, or a text that is not a time. */
function isForGood(time: string): boolean {
  return time.startsWith('0000') || !/^\d{10,14}([.,]\d+)?(Z|[-+]\d{2,4})$/.test(time);
}

function isDisabledPolicy(dn: string): boolean {
  const first = readDn(dn)?.first ?? [];
  return first.some(({ attribute, value }) => attribute === 'cn' && value.toLowerCase() === 'disabled');
}

/**
 * True if the account has expired.
 *
 * @param days - The day of expiry: the number of days since 1970, as in shadow(5). Negative if the account does not
 * expire.
 */
function isExpired(days: number, now: number): boolean {
  return days >= 0 && now >= days * DAY_MS;
}
