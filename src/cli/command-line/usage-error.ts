/** A wrong command line, printed with the usage of the command. The exit status is 2. The message contains no value. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
