import { AsyncLocalStorage } from 'node:async_hooks';

interface Count {
  values: number;
}

const current = new AsyncLocalStorage<Count>();

/** Adds to `count` the LDAP values that `work` reads. Values that other work reads at the same time do not count. */
export async function countValues<T>(count: Count, work: () => Promise<T>): Promise<T> {
  return await current.run(count, work);
}

/**
 * Adds `values` to the `count` of the call of `countValues` whose `work` runs now. Outside such a call, does nothing.
 */
export function valuesRead(values: number): void {
  const count = current.getStore();
  if (count !== undefined) count.values += values;
}
