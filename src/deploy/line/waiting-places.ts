import { duration } from '../../core/text/duration.ts';
import type { Entry } from './line-entry.ts';

const TELL_EVERY_MS = 10_000;

/** Why a deployment waits. A new line is printed when `key` or the position changes, but not when only `text` does. */
interface Reason {
  readonly key: string;
  readonly text: string;
}

/**
 * Prints for each waiting deployment its position in the queue and why it waits. Prints at once, and then after each
 * change, but for each deployment at most once in ten seconds. The lines never name another person's tool, because only
 * the maintainers of a tool may learn that it exists.
 */
export class WaitingPlaces {
  readonly #limit: number;
  readonly #everyMs: number;
  readonly #startedAt = new Map<Entry, number>();
  readonly #told = new WeakMap<Entry, { readonly key: string; readonly at: number }>();
  #waiting: readonly Entry[] = [];
  #due: NodeJS.Timeout | null = null;

  constructor(limit: number, everyMs: number = TELL_EVERY_MS) {
    this.#limit = limit;
    this.#everyMs = everyMs;
  }

  started(entry: Entry): void {
    this.#startedAt.set(entry, performance.now());
  }

  ended(entry: Entry): void {
    this.#startedAt.delete(entry);
  }

  /**
   * Prints a line for each waiting deployment whose position in the queue or reason to wait has changed.
   *
   * @param waiting - The waiting entries in the order in which they would start now.
   */
  tell(waiting: readonly Entry[]): void {
    this.#waiting = waiting;
    if (this.#due !== null) clearTimeout(this.#due);
    this.#due = null;
    const now = performance.now();
    const waits = waiting.map((entry, index) => this.#tellOne(entry, index, now)).filter((ms) => ms > 0);
    if (waits.length === 0) return;
    this.#due = setTimeout(() => this.tell(this.#waiting), Math.min(...waits)).unref();
  }

  /**
   * Prints the position of one waiting deployment, unless its last line says the same or is too recent.
   *
   * @returns the milliseconds until the changed position may be printed, or 0 if nothing is left to print.
   */
  #tellOne(entry: Entry, index: number, now: number): number {
    const reason = this.#reason(entry, index);
    const key = `${index} ${reason.key}`;
    const told = this.#told.get(entry);
    if (told?.key === key) return 0;
    const waitMs = told === undefined ? 0 : told.at + this.#everyMs - now;
    if (waitMs > 0) return waitMs;
    this.#told.set(entry, { key, at: now });
    entry.log.progress.step(`Waiting, ${ordinal(index + 1)} in line: ${reason.text}`);
    return 0;
  }

  #reason(entry: Entry, index: number): Reason {
    const running = [...this.#startedAt.keys()];
    const { tool } = entry.deployment;
    const same = running.find((other) => other.deployment.tool === tool);
    if (same !== undefined) return { key: same.id, text: `${this.#named(same)} comes first` };
    const ahead = this.#waiting.slice(0, index).findLast((other) => other.deployment.tool === tool);
    if (ahead !== undefined) return { key: ahead.id, text: `${nameOf(ahead)} comes first, and waits too` };
    const own = running.find((other) => other.person === entry.person);
    if (running.length < this.#limit && own !== undefined) {
      const turnIsKept = 'the last free turn is kept for people who have no deployment running';
      const has = isOfSame(own, entry)
        ? `you have ${this.#named(own).replace(/,$/, '')}`
        : `all tools that push by themselves count as one person, and one of them has had a deployment running for ${this.#time(own)}`;
      return { key: `kept ${own.id}`, text: `${turnIsKept}; ${has}` };
    }
    const [first] = running;
    const holder =
      first === undefined || !isOfSame(first, entry) ? 'another tool' : this.#named(first).replace(/,$/, '');
    const turns = this.#limit === 1 ? 'the only turn is' : `all ${this.#limit} turns are`;
    const since = first === undefined || holder !== 'another tool' ? '' : `, for ${this.#time(first)}`;
    return { key: 'taken', text: `${turns} taken, the longest by ${holder}${since}` };
  }

  #named(entry: Entry): string {
    return `${nameOf(entry)}, which began ${this.#time(entry)} ago,`;
  }

  #time(entry: Entry): string {
    return duration(performance.now() - (this.#startedAt.get(entry) ?? 0));
  }
}

/** True if the same account asked for both deployments. Accounts of tools differ, although they count as one person. */
function isOfSame(one: Entry, other: Entry): boolean {
  return one.principal.uid === other.principal.uid;
}

/** Names a deployment: `the push 0192 of wikibot`. */
function nameOf({ deployment: { kind, id, tool } }: Entry): string {
  return `the ${kind} ${id} of ${tool}`;
}

function ordinal(position: number): string {
  const rest = position % 100;
  const ending = rest > 10 && rest < 14 ? 'th' : (['th', 'st', 'nd', 'rd'][position % 10] ?? 'th');
  return `${position}${ending}`;
}
