import { constants } from 'node:os';

/** The name of a signal: `SIGKILL` for 9. Null if no signal has the number. */
export function signalName(number: number): NodeJS.Signals | null {
  const found = Object.entries(constants.signals).find(([, value]) => value === number);
  return (found?.[0] ?? null) as NodeJS.Signals | null;
}
