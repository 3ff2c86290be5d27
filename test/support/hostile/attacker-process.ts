import { attacks, type Kind, type Target } from './attacks.ts';

/**
 * Runs all attacks of the kind in its first argument, until the parent sends a message or disconnects, or
 * `target.seconds` are over. It tells the parent how much each attack has done: once when each has done something, and
 * at the end.
 */
const { kind, target } = JSON.parse(process.argv[2] ?? '') as { kind: Kind; target: Target };
const end = new AbortController();
setTimeout(() => end.abort(), target.seconds * 1000).unref();
process.once('message', () => end.abort());
process.once('disconnect', () => end.abort());
const done: Record<string, number> = Object.fromEntries(Object.keys(attacks[kind]).map((name) => [name, 0]));
let haveAllBegun = false;
const count = (name: string) => {
  done[name] = (done[name] ?? 0) + 1;
  if (haveAllBegun || Object.values(done).includes(0)) return;
  haveAllBegun = true;
  process.send?.(done);
};
const running = Object.entries(attacks[kind]).map(([name, attack]) =>
  attack(target, end.signal, () => count(name)),
);
await Promise.all(running);
// Without this, the process would wait for connections that close slowly.
process.send?.(done, undefined, undefined, () => process.exit(0));
