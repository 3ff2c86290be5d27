import { isUnanswered } from '../auth/directory-timeout.ts';
import { assertHolds } from '../auth/reauthorize.ts';
import { DeployError } from '../core/errors.ts';
import type { ToolName } from '../core/names.ts';
import type { Action } from '../core/types.ts';
import { assertMay } from './assert-may.ts';
import type { CommandContext } from './command.ts';

/** How often rights are checked again. The directory is asked, not its cache, so a lost right ends within 30 s. */
const AGAIN_MS = 20_000;
const LIMIT_MS = 10_000;

/**
 * Does long work, such as a shell or following a log, and checks the person's rights, and their token or key, again every
 * 20 s until it ends. If one is gone, the work's signal fires, and the refusal is thrown after the work has ended. If the
 * directory does not answer, the work continues.
 *
 * @throws DeployError `TOKEN_OVER`, `KEY_GONE`, `NO_ACCESS`, `TOKEN_SCOPE` or `TOOL_DISABLED` if the right is gone; any
 * error of the work.
 */
export async function whileAllowed<Result>(
  context: Pick<CommandContext, 'services' | 'principal' | 'signal'>,
  { tool, action, againMs = AGAIN_MS }: { tool: ToolName; action: Action; againMs?: number },
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const { services, principal } = context;
  const [lost, over] = [new AbortController(), new AbortController()];
  const ask = async (): Promise<void> => {
    const signal = AbortSignal.any([over.signal, AbortSignal.timeout(LIMIT_MS)]);
    try {
      await assertHolds(services.directory, services.tokens, principal, signal);
      await assertMay({ services, principal, signal }, tool, action, true);
    } catch (error) {
      if (error instanceof DeployError && !isUnanswered(error)) lost.abort(error);
    }
  };
  const asking = setInterval(() => void ask(), againMs).unref();
  try {
    return await work(AbortSignal.any([context.signal, lost.signal]));
  } finally {
    clearInterval(asking);
    over.abort();
    // biome-ignore lint/correctness/noUnsafeFinally: this is the real reason why the work ended.
    if (lost.signal.aborted) throw lost.signal.reason;
  }
}
