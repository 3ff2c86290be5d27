/**
 * An error that a person can fix. Its three parts are shown to that person unchanged, so none of them may contain a
 * secret, a path of the server or a stack. Any other error is a bug of this server.
 */
export class DeployError extends Error {
  override readonly name = 'DeployError';
  /** Upper-case words joined by `_`, stable over versions. */
  readonly code: string;
  /** What to do now, as a full sentence. */
  readonly hint: string;

  constructor(code: string, message: string, hint: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.hint = hint;
  }
}

/** The code of an error of Node (`ENOENT`), or null. */
export function systemCode(error: unknown): string | null {
  const code = error instanceof Error && 'code' in error ? error.code : null;
  return typeof code === 'string' ? code : null;
}
