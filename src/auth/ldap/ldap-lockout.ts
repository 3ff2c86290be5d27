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
 * Whether an account is disabled: locked by the password policy, under Toolforge's policy `disabled`, with a login
 * shell such as `nologin`, or expired.
 *
 * @param lockoutMs - How long `pwdAccountLockedTime` locks an account. 0: until the attribute is removed.
 * @see https://datatracker.ietf.org/doc/html/draft-behera-ldap-password-policy-11#section-5.3.3
 */
export function isLocked(entry: LdapEntry, lockoutMs: number, now = Date.now()): boolean {
  return (
    entry.values('pwdAccountLockedTime').some((time) => holds(time, lockoutMs, now)) ||
    entry.values('pwdPolicySubentry').some(isDisabledPolicy) ||
    entry.values('loginShell').some((shell) => CLOSED_SHELLS.has(shell.trim().split('/').at(-1) ?? '')) ||
    entry.values('shadowExpire').some((days) => isExpired(Number(days), now))
  );
}

/**
 * True if an account that was locked at `time` is still locked.
 *
 * @param time - When the account was locked. A text that is not a time, such as `000001010000Z`, locks it permanently.
 */
function holds(time: string, lockoutMs: number, now: number): boolean {
  const [, year, month, day, hour, minute, second = '00'] =
    /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)?(?:[.,]\d+)?Z$/.exec(time) ?? [];
  const since = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  if (lockoutMs === 0 || year === '0000' || Number.isNaN(since)) return true;
  return since + lockoutMs > now;
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
