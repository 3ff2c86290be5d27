import type { IncomingHttpHeaders } from 'node:http';
import { credentialOf, type DeployTokens, tokenId } from '../auth/deploy-tokens.ts';
import type { Directory } from '../auth/directory.ts';
import { LoginQueue } from '../auth/login-queue.ts';
import { DeployError } from '../core/errors.ts';
import type { Audit } from '../core/log/audit.ts';
import { withoutToken } from '../core/masking/without-token.ts';
import type { Principal } from '../core/types.ts';

/** Slows down password guessing. `check` returns the milliseconds that this login must wait, or 0. */
export interface LoginThrottle {
  check(login: string, address: string): number;
  /** Whether this login has succeeded within the last week from this address, with this credential. */
  isKnown(login: string, address: string, credential: string): boolean;
  failed(login: string, address: string): void;
  succeeded(login: string, address: string, credential: string): void;
}

export type Login =
  | { readonly kind: 'principal'; readonly principal: Principal }
  /** Missing, malformed or wrong credentials. The client is not told which. */
  | { readonly kind: 'unknown' }
  /** A deploy token that is right but has expired. */
  | { readonly kind: 'expired'; readonly token: string; readonly at: number }
  | { readonly kind: 'throttled'; readonly waitMs: number };

/** The header WWW-Authenticate of every answer 401. `charset` asks for credentials in UTF-8 (RFC 7617). */
export const CHALLENGE = 'Basic realm="Toolforge", charset="UTF-8"';

/**
 * Creates the function that logs in by the Authorization header, with the user's password or a deploy token. A token
 * works with any user name. The function throws DeployError `DIRECTORY_UNAVAILABLE` if the user directory gives no
 * answer, and `DIRECTORY_BUSY` if too many logins or questions to the directory wait.
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
    // The throttle counts tokens apart from user names, so that a valid token does not clear failed password guesses.
    const counted = token === null ? login : `token ${token}`;
    const decide = async (): Promise<Login> => {
      signal.throwIfAborted();
      const waitMs = throttle.check(counted, address);
      if (waitMs > 0) return { kind: 'throttled', waitMs };
      const found =
        token === null ? await byPassword(directory, { login, password }) : byToken(tokens, password);
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
      throttle.succeeded(counted, address, password);
      const principal: Principal = { ...found.grant, door: 'http', address, isOperator: false };
      return { kind: 'principal', principal };
    };
    // A token and a throttled login do not wait in the queue of logins: a token lookup is cheap, and a throttled login
    // is refused at once.
    if (token !== null || throttle.check(counted, address) > 0) return await decide();
    const isKnown = throttle.isKnown(login, address, password);
    // When the turn of this login has come, `decide` checks the throttle a second time. Otherwise simultaneous guesses
    // would all pass the check above.
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
  // `authorize` checks the rights of the token's maker at every use, so a token never has more rights than its maker.
  return { kind: 'grant', grant: { uid: by, credential: credentialOf(login.token), onlyTool: tool, scope } };
}

/**
 * Checks a password to the end, even if the client disconnects. Otherwise the throttle would not count the guesses of
 * clients that disconnect before the check has ended.
 */
async function byPassword(
  directory: Directory,
  { login, password }: { readonly login: string; readonly password: string },
): Promise<Found> {
  const identity = await directory.identifyByPassword(login, password, new AbortController().signal);
  if (identity === null) return { kind: 'unknown' };
  return { kind: 'grant', grant: { ...identity, credential: 'password', scope: 'manage' } };
}

/**
 * The normalized user name and the password of a Basic header. Null if one of them is empty, or if this is no valid
 * Basic header.
 */
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

/** True if the text has a control character. RFC 7617 section 2 forbids them in user names and passwords. */
function hasControl(text: string): boolean {
  return /\p{Cc}/u.test(text);
}

/**
 * Refuses requests that a page of another site made a browser send, because browsers add Basic credentials by
 * themselves. Tools are sub-domains of this server, so `same-site` is refused too.
 *
 * @throws DeployError `CROSS_SITE` for such a request.
 * @see https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header
 */
export function assertSameSite(headers: IncomingHttpHeaders, publicUrl: string): void {
  const site = headers['sec-fetch-site'];
  const isSame = site === undefined || site === 'same-origin' || site === 'none';
  // Check `Origin` too. The owner of another site can make the host name of that site lead to this server (DNS
  // rebinding). The browser then calls the request same-origin, but `Origin` names the other site, not this server's
  // public address.
  if (isSame && isOwn(headers.origin, publicUrl)) return;
  throw new DeployError(
    'CROSS_SITE',
    'this request comes from a page of another site',
    'Use git, curl or a page of this server.',
  );
}

/**
 * True if the Origin is this server's, or if the request has no Origin: programs, and browsers with a plain GET, send
 * none.
 */
function isOwn(origin: string | undefined, publicUrl: string): boolean {
  return origin === undefined || origin === URL.parse(publicUrl)?.origin;
}
