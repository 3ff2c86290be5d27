/**
 * An error that a person can fix. Its code, message and hint are shown to that person, so none of them may contain a
 * secret or a stack trace. Only errors for an operator may contain a path of the server. Any error that is not
 * a DeployError is a bug of this server.
 */
export class DeployError extends Error {
  override readonly name = 'DeployError';
  /** Upper-case words joined by `_`, stable over versions. */
  readonly code: string;
  /** What to do now, as full sentences. */
  readonly hint: string;

  /**
   * @param message - What happened, with no capital and no full stop (see `sentence`). Before the name of a tool or a
   * setting comes its kind, because the name can look like a plain word: `the tool demo is disabled`.
   */
  constructor(code: string, message: string, hint: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.hint = hint;
  }
}

/** The code of a Node error, such as `ENOENT`. Null if the error has none. */
export function systemCode(error: unknown): string | null {
  const code = error instanceof Error && 'code' in error ? error.code : null;
  return typeof code === 'string' ? code : null;
}

/**
 * Describes a fault of the server to the person who pushes, without details: `the disk of this server is full` or
 * `the server failed`.
 */
export function faultOf(error: unknown): string {
  const isFull =
    ['ENOSPC', 'EDQUOT'].includes(systemCode(error) ?? '') ||
    // An error of git has only a text and no error code, because git runs as its own process.
    (error instanceof Error && /No space left on device|Disk quota exceeded/.test(error.message));
  return isFull ? 'the disk of this server is full' : 'the server failed';
}

/** Handles an error in `catch`. Returns null if a file or folder does not exist. @throws every other error. */
export function noneIfGone(error: unknown): null {
  if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return null;
  throw error;
}
