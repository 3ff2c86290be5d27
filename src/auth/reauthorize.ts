import { DeployError } from '../core/errors.ts';
import type { ToolName } from '../core/names.ts';
import type { Principal } from '../core/types.ts';
import { authorize } from './authorize.ts';
import type { DeployTokens } from './deploy-tokens.ts';
import type { Directory } from './directory.ts';

/** How long the directory may take. It is asked at most twice, and each time it gives up after 5 s. */
const LIMIT_MS = 10_000;

/**
 * Authorizes a deployment again when its push has arrived, and when its turn has come. Otherwise somebody who loses the
 * right to deploy during a slow push, or while the deployment waits, could still deploy. Operators are not checked
 * again, because they may also act on tools that the directory no longer knows.
 *
 * @throws DeployError `TOKEN_OVER` if the deploy token was revoked or has expired; the refusals of `authorize`, such as
 * `NO_ACCESS`.
 */
export async function authorizeAgain(
  directory: Directory,
  tokens: DeployTokens,
  wish: { readonly principal: Principal; readonly tool: ToolName; readonly signal?: AbortSignal },
): Promise<void> {
  const { principal, tool } = wish;
  if (principal.isOperator) return;
  assertHolds(tokens, principal);
  const limit = AbortSignal.timeout(LIMIT_MS);
  const signal = wish.signal === undefined ? limit : AbortSignal.any([wish.signal, limit]);
  await authorize(directory, principal, tool, 'deploy', signal);
}

/** @throws DeployError `TOKEN_OVER` if the credential is a deploy token that was revoked or has expired. */
export function assertHolds(tokens: DeployTokens, { credential }: Principal): void {
  if (tokens.holds(credential)) return;
  throw new DeployError(
    'TOKEN_OVER',
    `the ${credential} is no longer valid: it was revoked or has expired`,
    'Log in with another token, or with your own key or password.',
  );
}
