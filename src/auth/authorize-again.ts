import { DeployError } from '../core/errors.ts';
import type { ToolName } from '../core/names.ts';
import type { Principal } from '../core/types.ts';
import { authorize } from './authorize.ts';
import type { DeployTokens } from './deploy-tokens.ts';
import type { Directory } from './directory.ts';

/** As long as a directory may take, with a little on top. */
const LIMIT_MS = 10_000;

/**
 * The decision once more, for a push that has arrived: with one that is held open nobody deploys by rights that
 * were taken away meanwhile.
 *
 * @throws DeployError `TOKEN_OVER`, and as `authorize`.
 */
export async function authorizeAgain(
  directory: Directory,
  tokens: DeployTokens,
  { principal, tool }: { readonly principal: Principal; readonly tool: ToolName },
): Promise<void> {
  assertHolds(tokens, principal);
  await authorize(directory, principal, tool, 'deploy', AbortSignal.timeout(LIMIT_MS));
}

/** @throws DeployError `TOKEN_OVER` */
export function assertHolds(tokens: DeployTokens, { credential }: Principal): void {
  if (tokens.holds(credential)) return;
  throw new DeployError(
    'TOKEN_OVER',
    `The ${credential} holds no more: it was revoked or has expired`,
    'Use another token, or your own key or password.',
  );
}
