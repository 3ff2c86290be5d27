/** A wrong command line. It is printed with the usage of the command, and the exit status is 2. The message never contains a value. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
