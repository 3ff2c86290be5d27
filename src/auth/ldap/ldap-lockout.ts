import { readDn } from './ldap-dn.ts';
import type { LdapEntry } from './ldap-entry.ts';

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
 * A lock with the time of its beginning does not count. LDAP sets it after wrong passwords, so strangers could take away
 * the keys and rights of a person. It locks only the password, and LDAP refuses that itself.
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

/** True for `000001010000Z`, and for a text that is not a time. */
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
