import { type ToolName, toolName } from '../core/names.ts';

/**
 * Whom a login name means: a person (`alice`), a tool or its maintainers (`tools.hello`), or the key's owner (`git`).
 */
export type Login =
  | { readonly kind: 'person'; readonly uid: string }
  | { readonly kind: 'tool'; readonly tool: ToolName }
  | { readonly kind: 'anyone' };

// Matches a user name: at most 64 letters and digits of any script, `_`, `.` and `-`. It does not begin with `.` or
// `-`. `:` is not allowed, because it ends the user name in HTTP Basic.
const USER_NAME = /^[\p{L}\p{N}_][\p{L}\p{M}\p{N}._-]{0,63}$/u;
const TOOL_LOGIN = /^tools?\.(.+)$/;

// The Latin, Greek and Cyrillic capitals that Unicode has had from its first versions. Every LDAP server knows them.
const CAPITAL = /[A-Z\u00c0-\u00de\u0100-\u017e\u0386-\u03ab\u0400-\u042f]/g;

/**
 * The spelling of a user name that is compared, stored and logged: without surrounding spaces, composed (NFC), and with
 * the capitals of common alphabets in lower case. `Bob` and `bob ` are the same person.
 *
 * Never gives one spelling to two names that an LDAP server keeps apart, because one person would then have the rights
 * of the other. So other capitals stay, and each letter is changed by itself: in `ΑΣ`, JavaScript would make the last
 * letter `ς`.
 */
export function normalise(name: string): string {
  return name
    .replace(/^ +| +$/g, '')
    .normalize('NFC')
    .replace(CAPITAL, (capital) => capital.toLowerCase());
}

/**
 * Returns the text as a normalised user name. Null if it is not a valid user name, or if it is `git` or looks like the
 * login name of a tool, such as `tools.hello`.
 */
export function userName(text: string): string | null {
  const name = normalise(text);
  return USER_NAME.test(name) && name !== 'git' && !TOOL_LOGIN.test(name) ? name : null;
}

/** The user name of a tool's own account, `tools.hello`. No person can have it. */
export function toolLogin(tool: ToolName): string {
  return `tools.${tool}`;
}

/** Reads a login name: `alice`, `tools.hello`, `tool.hello` or `git`. Null if the text has none of these forms. */
export function readLogin(text: string): Login | null {
  const name = normalise(text);
  if (name === 'git') return { kind: 'anyone' };
  const tool = toolName(TOOL_LOGIN.exec(name)?.[1] ?? '');
  if (tool !== null) return { kind: 'tool', tool };
  const uid = userName(name);
  return uid === null ? null : { kind: 'person', uid };
}
