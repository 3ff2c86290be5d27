import { AsyncLocalStorage } from 'node:async_hooks';

interface Count {
  values: number;
}

const current = new AsyncLocalStorage<Count>();

/** Counts the LDAP values that are read until `work` has ended. Values that other questions read do not count. */
export async function countValues<T>(count: Count, work: () => Promise<T>): Promise<T> {
  return await current.run(count, work);
}

/** Adds `values` to the count of the `countValues` that calls this, if there is one. */
export function valuesRead(values: number): void {
  const count = current.getStore();
  if (count !== undefined) count.values += values;
}
