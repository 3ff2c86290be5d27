import { DeployError } from '../core/errors.ts';
import type { ToolName } from '../core/names.ts';
import type { Principal } from '../core/types.ts';
import { authorize } from './authorize.ts';
import type { DeployTokens } from './deploy-tokens.ts';
import type { Directory } from './directory.ts';

/** How long all questions of one check to the directory may take together, about the key and about the tool. */
const LIMIT_MS = 10_000;

/**
 * Checks again whether somebody may deploy or read a tool: when a push has arrived, when a deployment's turn has come,
 * before a push ends a preview, and while a push or fetch runs. Meanwhile, the person may have lost the right or the
 * key. Operators are not checked again, because they may also act on tools that the directory no longer knows.
 *
 * @throws DeployError `TOKEN_OVER` if the deploy token was revoked or has expired; `KEY_GONE` if the key was removed;
 * the refusals of `authorize`, such as `NO_ACCESS`.
 */
export async function authorizeAgain(
  directory: Directory,
  tokens: DeployTokens,
  wish: {
    readonly principal: Principal;
    readonly tool: ToolName;
    readonly signal?: AbortSignal;
    /** What the person must have the right to do. By default `deploy`. */
    readonly action?: 'deploy' | 'read';
    /**
     * True to ask the directory itself about the tool, and not its cache. Keys may come from the cache. By default
     * false.
     */
    readonly isFresh?: boolean;
  },
): Promise<void> {
  const { principal, tool, action = 'deploy', isFresh = false } = wish;
  if (principal.isOperator) return;
  const limit = AbortSignal.timeout(LIMIT_MS);
  const signal = wish.signal === undefined ? limit : AbortSignal.any([wish.signal, limit]);
  await assertHolds(directory, tokens, principal, signal);
  await authorize(directory, principal, tool, action, signal, isFresh);
}

/**
 * Checks that the token or the key of a login is still valid, because a connection may last longer than they are valid.
 * The server does not keep passwords, so it cannot check them again.
 *
 * @throws DeployError `TOKEN_OVER` if the credential is a deploy token that was revoked or has expired; the refusals of
 * `assertKey`.
 */
export async function assertHolds(
  directory: Directory,
  tokens: DeployTokens,
  principal: Principal,
  signal: AbortSignal,
): Promise<void> {
  const { credential } = principal;
  if (tokens.holds(credential)) return await assertKey(directory, principal, signal);
  throw new DeployError(
    'TOKEN_OVER',
    `the ${credential} is no longer valid: it was revoked or has expired`,
    'Log in with another token, or with your own key or password.',
  );
}

/**
 * Checks that the key of a login over SSH still belongs to the person. Does nothing for a login without a key.
 *
 * @throws DeployError `KEY_GONE` if the key no longer belongs to the person; `DIRECTORY_UNAVAILABLE` or
 * `DIRECTORY_BUSY` if the user directory gives no answer.
 */
export async function assertKey(
  directory: Directory,
  { uid, key }: Principal,
  signal: AbortSignal,
): Promise<void> {
  if (key === undefined || (await directory.identifyByKey(key.login, key, signal))?.uid === uid) return;
  throw new DeployError(
    'KEY_GONE',
    'this server no longer accepts the key with which this connection logged in',
    'Log in again with a key that the server accepts.',
  );
}
