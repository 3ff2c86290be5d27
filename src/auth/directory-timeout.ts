import { DeployError, systemCode } from '../core/errors.ts';

/**
 * Calls `ask`, which asks the user directory, with a signal. This signal fires after `limitMs`, or earlier if `signal`
 * fires. `ask` must then throw.
 *
 * @throws DeployError `DIRECTORY_UNAVAILABLE` if `ask` throws after this signal has fired, or if a system call fails.
 * Passes on every DeployError and every other error of `ask` unchanged.
 */
export async function inTime<T>(
  signal: AbortSignal,
  limitMs: number,
  ask: (limit: AbortSignal) => Promise<T>,
): Promise<T> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(limitMs)]);
  try {
    limit.throwIfAborted();
    return await ask(limit);
  } catch (error) {
    if (error instanceof DeployError) throw error;
    if (limit.aborted) throw unavailable('the user directory did not answer in time', error);
    if (systemCode(error) !== null) throw unavailable('the user directory cannot be read just now', error);
    throw error;
  }
}

/** The error if the directory cannot answer. It tells the person that their key or password may be right. */
export function unavailable(message: string, cause: unknown): DeployError {
  return new DeployError(
    'DIRECTORY_UNAVAILABLE',
    message,
    'This does not mean that your key or password is wrong. Try again in a minute. If the login still fails, tell the operators of this server.',
    { cause },
  );
}

/**
 * The refusal if too many logins already wait for the directory or for a password check, or if a login has waited too
 * long.
 */
export function tooManyLogins(): DeployError {
  return busy('too many people are logging in just now');
}

/**
 * The error if the directory works, but too many questions or logins already wait: of one person, of one address, or of
 * all people together. No operator needs to act.
 */
export function busy(message: string): DeployError {
  return new DeployError(
    'DIRECTORY_BUSY',
    message,
    'This does not mean that your key or password is wrong. Try again in a few seconds.',
  );
}

/** True if the directory gave no answer, so nothing is known about the person's rights. */
export function isUnanswered(error: DeployError): boolean {
  return error.code === 'DIRECTORY_UNAVAILABLE' || error.code === 'DIRECTORY_BUSY';
}
