import { assertHolds } from '../auth/reauthorize.ts';
import { watchRight } from '../auth/right-watch.ts';
import type { ToolName } from '../core/names.ts';
import type { Action } from '../core/types.ts';
import { assertMay } from './assert-may.ts';
import type { CommandContext } from './command.ts';

/**
 * Does long work, such as a shell or following a log. Until the work ends, checks every `againMs` (by default every 20
 * s) whether the person still has the right, and whether their token or key is still valid. If not, the work's signal
 * fires, and the refusal is thrown after the work has ended. If the directory does not answer, the work continues.
 *
 * @throws DeployError the refusal of a check, as `authorizeAgain` throws it, such as `TOKEN_OVER`, `KEY_GONE` or
 * `NO_ACCESS`; any error of the work.
 */
export async function whileAllowed<Result>(
  context: Pick<CommandContext, 'services' | 'principal' | 'signal'>,
  { tool, action, againMs }: { tool: ToolName; action: Action; againMs?: number },
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const { services, principal } = context;
  using watch = watchRight(async (signal) => {
    await assertHolds(services.directory, services.tokens, principal, signal);
    await assertMay({ services, principal, signal }, tool, action, true);
  }, againMs);
  try {
    return await work(AbortSignal.any([context.signal, watch.lost]));
  } finally {
    // biome-ignore lint/correctness/noUnsafeFinally: the lost right is the real reason why the work ended.
    if (watch.lost.aborted) throw watch.lost.reason;
  }
}
