/** A command line that is none: told with the command's usage, exit status 2. The message holds no value that was given. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
