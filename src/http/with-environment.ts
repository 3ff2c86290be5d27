type Environment = Readonly<Record<string, string>>;

/**
 * Runs `start` while `process.env` is exactly `environment`. For code that starts children with the
 * environment of this process and takes no other, as node-git-server does.
 *
 * The object is exchanged, not its variables: setenv(3) is never called, which other threads (a name
 * look-up in the thread pool) might not survive, and putting it back cannot fail halfway.
 */
export function withEnvironment<T>(environment: Environment, start: () => T): T {
  const own = process.env;
  process.env = { ...environment };
  try {
    return start();
  } finally {
    process.env = own;
  }
}

/**
 * The same for what `schedule` puts off with `process.nextTick`. Ticks run first in, first out, with no
 * promise and no event between two of them, so nothing else ever sees `environment`.
 */
export function withEnvironmentInNextTick(environment: Environment, schedule: () => void): void {
  let own = process.env;
  process.nextTick(() => {
    own = process.env;
    process.env = { ...environment };
  });
  try {
    schedule();
  } finally {
    process.nextTick(() => {
      process.env = own;
    });
  }
}
