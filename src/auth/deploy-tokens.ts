import { createHash, randomBytes, randomInt, timingSafeEqual } from 'node:crypto';
import type { ToolName } from '../core/names.ts';
import type { DeployToken } from '../core/types.ts';

/** The part of the store that keeps deploy tokens. */
export interface TokenStore {
  addToken(token: DeployToken, hash: Uint8Array): void;
  token(id: string): { readonly token: DeployToken; readonly hash: Uint8Array } | null;
  /** The deploy tokens of the tool, the newest first. */
  tokens(tool: ToolName): DeployToken[];
  useToken(id: string, at: number): void;
  /** Deletes a token. @returns false if the tool has no token with this id. */
  removeToken(tool: ToolName, id: string): boolean;
}

export type TokenLogin =
  | { readonly kind: 'token'; readonly token: DeployToken }
  /**
   * The secret is right, but the token has expired. A client with a wrong secret must not learn this: it gets
   * `unknown`.
   */
  | { readonly kind: 'expired'; readonly token: DeployToken }
  | { readonly kind: 'unknown' };

// Each token begins with `tfp_`, so that scanners of public repositories recognise a committed token.
const FORM = /^tfp_([a-z0-9]{10})_([A-Za-z0-9_-]{32})$/;
/** Matches the text `token NAME (ID)` that `credentialOf` returns. */
const CREDENTIAL = /^token [A-Za-z0-9_-]+ \(([a-z0-9]{10})\)$/;
const SECRET_BYTES = 24;
const LETTERS = 'abcdefghijklmnopqrstuvwxyz0123456789';
const USE_NOTED_EVERY_MS = 60_000;

/**
 * Creates, checks and revokes deploy tokens. Only a hash of the secret is stored. A fast hash is enough, because the
 * secret has 192 random bits.
 */
export class DeployTokens {
  readonly #store: TokenStore;
  readonly #now: () => number;

  /** @param now - Returns the time of day in milliseconds since 1970. */
  constructor(store: TokenStore, now: () => number = Date.now) {
    this.#store = store;
    this.#now = now;
  }

  /** Makes a deploy token. @returns the token and its secret, which cannot be read again. */
  create(wanted: Pick<DeployToken, 'tool' | 'name' | 'scope' | 'by'> & { readonly lifeMs: number }): {
    readonly token: DeployToken;
    readonly secret: string;
  } {
    const { tool, name, scope, by, lifeMs } = wanted;
    const id = Array.from({ length: 10 }, () => LETTERS[randomInt(LETTERS.length)]).join('');
    const secret = `tfp_${id}_${randomBytes(SECRET_BYTES).toString('base64url')}`;
    const createdAt = this.#now();
    const expiresAt = createdAt + lifeMs;
    const token: DeployToken = { id, tool, name, scope, by, createdAt, expiresAt, lastUsedAt: null };
    this.#store.addToken(token, hashOf(secret));
    return { token, secret };
  }

  /** Finds the token of this secret. The response time does not reveal whether the token exists. */
  identify(secret: string): TokenLogin {
    const id = tokenId(secret);
    const known = id === null ? null : this.#store.token(id);
    const isRight = timingSafeEqual(hashOf(secret), known?.hash ?? hashOf(''));
    if (known === null || !isRight) return { kind: 'unknown' };
    const { token } = known;
    const now = this.#now();
    if (token.expiresAt <= now) return { kind: 'expired', token };
    if (now - (token.lastUsedAt ?? 0) >= USE_NOTED_EVERY_MS) this.#store.useToken(token.id, now);
    return { kind: 'token', token };
  }

  /** False if the credential is a token that was revoked or has expired. True for every other credential. */
  holds(credential: string): boolean {
    const id = CREDENTIAL.exec(credential)?.[1];
    return id === undefined || (this.#store.token(id)?.token.expiresAt ?? 0) > this.#now();
  }

  list(tool: ToolName): DeployToken[] {
    return this.#store.tokens(tool);
  }

  /** Revokes a token: its next use is refused. @returns false if the tool has no token with this id. */
  revoke(tool: ToolName, id: string): boolean {
    return this.#store.removeToken(tool, id);
  }
}

/** The text that names this token as the credential of a principal. */
export function credentialOf({ name, id }: Pick<DeployToken, 'name' | 'id'>): string {
  return `token ${name} (${id})`;
}

/**
 * Returns the id in a password that has the form of a deploy token. Null for all other passwords. The user directory is
 * not asked about a password of this form.
 */
export function tokenId(password: string): string | null {
  return FORM.exec(password)?.[1] ?? null;
}

function hashOf(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}
