import { credentialOf, type DeployTokens, tokenId, withoutToken } from '../auth/deploy-tokens.ts';
import type { Directory } from '../auth/directory.ts';
import { LoginQueue } from '../auth/login-queue.ts';
import type { Audit } from '../core/audit.ts';
import type { Principal } from '../core/types.ts';

/** What keeps guessing slow; `check` gives the milliseconds that this login must wait, 0 for none. */
export interface LoginThrottle {
  check(login: string, address: string): number;
  /** Whether this login has succeeded from this address lately. */
  isKnown(login: string, address: string): boolean;
  failed(login: string, address: string): void;
  succeeded(login: string, address: string): void;
}

export type Login =
  | { readonly kind: 'principal'; readonly principal: Principal }
  /** No credentials, broken ones, or wrong ones: the client is not told which. */
  | { readonly kind: 'unknown' }
  /** A deploy token that was right and is over. */
  | { readonly kind: 'expired'; readonly token: string; readonly at: number }
  | { readonly kind: 'throttled'; readonly waitMs: number };

/** Sent with every 401. RFC 7617 names the encoding of what comes back. */
export const CHALLENGE = 'Basic realm="Toolforge", charset="UTF-8"';

/**
 * Logs in by the Authorization header, with the user's own password or with a deploy token, which opens its tool
 * under any user name.
 *
 * @returns a function that throws DeployError `DIRECTORY_UNAVAILABLE`.
 */
export function createBasicAuth(
  directory: Directory,
  throttle: LoginThrottle,
  { tokens, audit }: { readonly tokens: DeployTokens; readonly audit: Audit },
): (authorization: string | undefined, address: string, signal: AbortSignal) => Promise<Login> {
  const queue = new LoginQueue();

  return async (authorization, address, signal) => {
    const credentials = readBasic(authorization);
    if (credentials === null) return { kind: 'unknown' };
    const { login, password } = credentials;
    const token = tokenId(password);
    // Under any user name: with a token of theirs nobody may wipe out their guesses at another's password.
    const counted = token === null ? login : `token ${token}`;
    const decide = async (): Promise<Login> => {
      signal.throwIfAborted();
      const waitMs = throttle.check(counted, address);
      if (waitMs > 0) return { kind: 'throttled', waitMs };
      const found =
        token === null ? await byPassword(directory, { login, password }, signal) : byToken(tokens, password);
      if (found.kind !== 'grant') {
        throttle.failed(counted, address);
        const who = {
          uid: withoutToken(login).slice(0, 64),
          door: 'http',
          credential: null,
          address,
        } as const;
        audit({ what: 'login refused', who, tool: null });
        return found;
      }
      throttle.succeeded(counted, address);
      const principal: Principal = { ...found.grant, door: 'http', address, isOperator: false };
      return { kind: 'principal', principal };
    };
    // A token is looked up at once, and somebody who must wait longer anyway needs no turn.
    if (token !== null || throttle.check(counted, address) > 0) return await decide();
    const isKnown = throttle.isKnown(login, address);
    // The throttle is asked again in its turn: what came together is not let through together.
    return await queue.run({ login, address, isKnown }, decide, signal);
  };
}

type Found =
  | { readonly kind: 'grant'; readonly grant: Pick<Principal, 'uid' | 'credential' | 'onlyTool' | 'scope'> }
  | Extract<Login, { kind: 'unknown' | 'expired' }>;

function byToken(tokens: DeployTokens, secret: string): Found {
  const login = tokens.identify(secret);
  if (login.kind === 'unknown') return { kind: 'unknown' };
  const { name, by, tool, scope, expiresAt } = login.token;
  if (login.kind === 'expired') return { kind: 'expired', token: name, at: expiresAt };
  // Its maker's rights are asked for at every use: with them goes the token.
  return { kind: 'grant', grant: { uid: by, credential: credentialOf(login.token), onlyTool: tool, scope } };
}

async function byPassword(
  directory: Directory,
  { login, password }: { readonly login: string; readonly password: string },
  signal: AbortSignal,
): Promise<Found> {
  const identity = await directory.identifyByPassword(login, password, signal);
  if (identity === null) return { kind: 'unknown' };
  return { kind: 'grant', grant: { ...identity, credential: 'password', scope: 'manage' } };
}

/** User name (as the throttle counts it) and password of a Basic header, or null for anything else. */
export function readBasic(authorization: string | undefined): { login: string; password: string } | null {
  const token = /^basic +([A-Za-z0-9+/]+={0,2})$/i.exec(authorization ?? '')?.[1];
  if (token === undefined) return null;
  const bytes = Buffer.from(token, 'base64');
  if (bytes.toString('base64').replace(/=+$/, '') !== token.replace(/=+$/, '')) return null;
  const text = decodeUtf8(bytes);
  const colon = text?.indexOf(':') ?? -1;
  if (text === null || colon < 0 || hasControl(text)) return null;
  const login = text.slice(0, colon).normalize('NFKC').trim().toLowerCase();
  const password = text.slice(colon + 1);
  return login === '' || password === '' ? null : { login, password };
}

function decodeUtf8(bytes: Buffer): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

/** RFC 7617 section 2: neither part may hold a control character. */
function hasControl(text: string): boolean {
  return /\p{Cc}/u.test(text);
}
