import { DeployError } from '../../../core/errors.ts';

/**
 * Calls `undo`, which undoes everything that a failed step began, and throws the error of the step. If `undo` fails
 * too, throws an error with both reasons, first that of the step. But if the step's error is no DeployError, throws
 * only the error of `undo`.
 *
 * @param error - The error of the step.
 */
export async function afterUndo(error: unknown, undo: () => Promise<void>): Promise<never> {
  try {
    await undo();
  } catch (failure) {
    // If `error` is no DeployError, for example because the deployment was cancelled, report only that `undo` failed.
    if (!(error instanceof DeployError)) throw failure;
    throw new DeployError(error.code, `${error.message}. ${notUndone(failure)}`, error.hint, {
      cause: new AggregateError([error, failure]),
    });
  }
  throw error;
}

function notUndone(failure: unknown): string {
  const why = failure instanceof DeployError ? failure.message : 'the server failed';
  return `The server could not remove the processes that it had started, so its next start removes them: ${why}`;
}

/**
 * Does a step. If the step throws, calls `undo`, and then throws the error of the step. If `undo` fails too, the error
 * that is thrown says so: see `afterUndo`.
 */
export async function orUndo(undo: () => Promise<void>, step: () => Promise<void>): Promise<void> {
  try {
    await step();
  } catch (error) {
    await afterUndo(error, undo);
  }
}
