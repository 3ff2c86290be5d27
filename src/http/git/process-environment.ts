type Environment = Readonly<Record<string, string>>;

/**
 * Runs `start` while `process.env` is exactly `environment`, for code such as node-git-server that always gives
 * children the environment of this process.
 *
 * Replaces the object `process.env`, not its variables. So setenv(3), which is not safe beside other threads, is never
 * called, and restoring cannot fail halfway.
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
 * Makes `process.env` exactly `environment` for the work that `schedule` defers with `process.nextTick`. Ticks run in
 * order, with no promise or event between them, so nothing else ever sees `environment`.
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
