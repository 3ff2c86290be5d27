import { DeployError } from '../../../core/errors.ts';

/**
 * Undoes what a failed step began, and throws the step's error. If undoing fails too, a person reads both reasons, the
 * step's first.
 *
 * @param error - Why the step failed.
 */
export async function afterUndo(error: unknown, undo: () => Promise<void>): Promise<never> {
  try {
    await undo();
  } catch (failure) {
    // Whoever aborted the step knows why.
    if (!(error instanceof DeployError)) throw failure;
    throw new DeployError(error.code, `${error.message} ${notUndone(failure)}`, error.hint, {
      cause: new AggregateError([error, failure]),
    });
  }
  throw error;
}

function notUndone(failure: unknown): string {
  const why = failure instanceof DeployError ? failure.message : 'The server failed.';
  return `What was started could not be removed, so the next start of the server removes it: ${why}`;
}
