/** A wrong command line, printed with the usage. The exit status is 2. The message has no value of a config var. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
