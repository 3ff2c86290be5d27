import { assertHolds } from '../auth/authorize-again.ts';
import { DeployError } from '../core/errors.ts';
import type { ToolName } from '../core/names.ts';
import type { Action } from '../core/types.ts';
import { assertMay } from './assert-may.ts';
import type { CommandContext } from './command.ts';

/** With what a directory remembers, and may take to answer, rights that are taken away end within 60 s. */
const AGAIN_MS = 20_000;
const LIMIT_MS = 10_000;

/**
 * Does what takes its time (a shell, a log that is followed), and asks the decision anew meanwhile. Where somebody may
 * no more, the signal that the work gets fires, and what they lack is thrown once the work has ended. A directory that
 * does not answer takes nothing away.
 *
 * @throws DeployError `TOKEN_OVER`, and as `assertMay`; whatever the work throws.
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
      assertHolds(services.tokens, principal);
      await assertMay({ services, principal, signal }, tool, action);
    } catch (error) {
      if (error instanceof DeployError && error.code !== 'DIRECTORY_UNAVAILABLE') lost.abort(error);
    }
  };
  const asking = setInterval(() => void ask(), againMs).unref();
  try {
    return await work(AbortSignal.any([context.signal, lost.signal]));
  } finally {
    clearInterval(asking);
    over.abort();
    // biome-ignore lint/correctness/noUnsafeFinally: this is why the work ended, whatever it says of it itself.
    if (lost.signal.aborted) throw lost.signal.reason;
  }
}
