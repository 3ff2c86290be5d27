/** An error in a command line. The exit status is 2. The message must not contain the value of a config var. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
