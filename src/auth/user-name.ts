import { type ToolName, toolName } from '../core/names.ts';

/** What a login name asks for: one person, any maintainer of one tool, or whoever the key belongs to. */
export type Login =
  | { readonly kind: 'person'; readonly uid: string }
  | { readonly kind: 'tool'; readonly tool: ToolName }
  | { readonly kind: 'anyone' };

// Letters and digits of any script, and what Unix and LDAP names hold beside them; never `:` (HTTP Basic) or `/`.
const USER_NAME = /^[\p{L}\p{N}_][\p{L}\p{M}\p{N}._-]{0,63}$/u;
const TOOL_LOGIN = /^tools?\.(.+)$/;

/**
 * The one spelling of a user name that everything here compares, stores and logs: without surrounding space,
 * in lower case, composed (NFC). `Bob` and `bob ` are one person.
 */
export function normalise(name: string): string {
  return name.trim().toLowerCase().normalize('NFC');
}

/** The text as a normalised user name, or null where it cannot be one or means something else as a login. */
export function userName(text: string): string | null {
  const name = normalise(text);
  return USER_NAME.test(name) && name !== 'git' && !TOOL_LOGIN.test(name) ? name : null;
}

/** The user name of a tool's own account, which is no person's: `tools.hello`. */
export function toolLogin(tool: ToolName): string {
  return `tools.${tool}`;
}

/** Reads a login name: `alice`, `tools.hello`, `tool.hello` or `git`. Null where it is none of them. */
export function readLogin(text: string): Login | null {
  const name = normalise(text);
  if (name === 'git') return { kind: 'anyone' };
  const tool = toolName(TOOL_LOGIN.exec(name)?.[1] ?? '');
  if (tool !== null) return { kind: 'tool', tool };
  const uid = userName(name);
  return uid === null ? null : { kind: 'person', uid };
}
