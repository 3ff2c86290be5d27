import { createHash } from 'node:crypto';
import { Cron } from 'croner';
import { DeployError } from './errors.ts';

/**
 * Words that stand for a schedule. The exact moment is computed from the names of the tool and the process, as
 * Toolforge's jobs do.
 */
export const SCHEDULE_WORDS = ['@hourly', '@daily', '@weekly', '@monthly', '@yearly'] as const;
/** A scheduled run that cannot start within this time is skipped. Toolforge has the same limit. */
export const START_DEADLINE_MS = 30_000;

/**
 * The most characters of a schedule. Even lists of all minutes, hours, days and months have fewer. To read a much
 * longer text would take long.
 */
const MAX_CHARACTERS = 500;

interface Field {
  readonly name: string;
  readonly min: number;
  readonly max: number;
  /**
   * Names that stand for numbers, such as `jan`. The first name stands for the number `min`, the second for `min + 1`.
   * Empty if the field has no names.
   */
  readonly words: readonly string[];
}

const FIELDS: readonly Field[] = [
  { name: 'minute', min: 0, max: 59, words: [] },
  { name: 'hour', min: 0, max: 23, words: [] },
  { name: 'day of the month', min: 1, max: 31, words: [] },
  {
    name: 'month',
    min: 1,
    max: 12,
    words: ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'],
  },
  { name: 'day of the week', min: 0, max: 7, words: ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] },
];
const SHAPE = 'five fields (minute, hour, day of the month, month, day of the week)';

/**
 * `cron` has five fields of numbers, `*`, `-`, `/` and `,`. `why` continues a sentence that says why a text is not a
 * schedule.
 */
export type ReadSchedule = { readonly cron: string } | { readonly why: string };

/**
 * Reads a schedule: the five fields of a crontab line, in UTC, or one of `SCHEDULE_WORDS`. Returns it in the form that
 * all schedulers understand in the same way: names become numbers, Sunday becomes 0, and `5/15` becomes a range.
 *
 * @param seed - Names the process. A word such as `@daily` with the same seed always means the same time of day.
 * Different seeds spread the load.
 * @see https://manpages.debian.org/bookworm/cron/crontab.5.en.html
 * @see https://wikitech.wikimedia.org/wiki/Help:Toolforge/Running_jobs
 */
export function readSchedule(text: string, seed: string): ReadSchedule {
  if (text.length > MAX_CHARACTERS) return { why: `it is longer than ${MAX_CHARACTERS} characters` };
  const words = text.trim().split(/\s+/);
  if (words[0]?.startsWith('@')) return ofWord(words.join(' '), seed);
  if (words.length !== FIELDS.length)
    return { why: `it does not have ${SHAPE}, and is not one of the words ${wordList()}` };
  const parts: string[] = [];
  for (const [index, field] of FIELDS.entries()) {
    const part = readField(words[index] ?? '', field);
    if (part === null) return { why: `its ${field.name} is not valid. Write ${rangeOf(field)}` };
    parts.push(part);
  }
  const cron = parts.join(' ');
  return nextRun(cron, Date.now()) === null ? { why: 'this day does not exist in any year' } : { cron };
}

/** The next time after `afterMs`, in milliseconds since 1970, or null if the schedule is never due again. */
export function nextRun(cron: string, afterMs: number): number | null {
  const next = new Cron(cron, { timezone: 'UTC', mode: '5-part', paused: true }).nextRun(new Date(afterMs));
  return next?.getTime() ?? null;
}

/** How often a schedule is due between two moments in milliseconds since 1970. Counts up to 1000. */
export function timesDue(cron: string, afterMs: number, beforeMs: number): number {
  let count = 0;
  for (let at = nextRun(cron, afterMs); at !== null && at < beforeMs; at = nextRun(cron, at)) {
    count += 1;
    if (count === 1000) break;
  }
  return count;
}

function ofWord(word: string, seed: string): ReadSchedule {
  const hash = createHash('sha256').update(seed).digest();
  const minute = hash.readUInt32BE(0) % 60;
  const hour = hash.readUInt32BE(4) % 24;
  // Choose at most day 28, because every month has this day.
  const day = 1 + (hash.readUInt32BE(8) % 28);
  switch (word) {
    case '@hourly':
      return { cron: `${minute} * * * *` };
    case '@daily':
      return { cron: `${minute} ${hour} * * *` };
    case '@weekly':
      return { cron: `${minute} ${hour} * * ${hash.readUInt32BE(12) % 7}` };
    case '@monthly':
      return { cron: `${minute} ${hour} ${day} * *` };
    case '@yearly':
      return { cron: `${minute} ${hour} ${day} ${1 + (hash.readUInt32BE(16) % 12)} *` };
    default:
      return { why: `the only words that begin with @ are ${wordList()}` };
  }
}

function wordList(): string {
  return SCHEDULE_WORDS.join(', ');
}

function rangeOf({ name, min, max, words }: Field): string {
  const orNames = words.length === 0 ? '' : `, or ${words[0]} to ${words.at(-1)}`;
  const most = name === 'day of the week' ? 6 : max;
  return `* or numbers from ${min} to ${most}${orNames}, joined by - / or ,`;
}

function readField(text: string, field: Field): string | null {
  const items = text.split(',').map((item) => readItem(item, field));
  return items.every((item) => item !== null) ? items.join(',') : null;
}

function readItem(text: string, field: Field): string | null {
  const [, from = '', to, step] = /^([a-z0-9]+|\*)(?:-([a-z0-9]+))?(?:\/(\d{1,2}))?$/i.exec(text) ?? [];
  const every = step === undefined ? null : Number(step);
  if (every !== null && (every < 1 || every > field.max)) return null;
  if (from === '*') return to === undefined ? (every === null ? '*' : `*/${every}`) : null;
  const first = numberOf(from, field);
  const end = field.max === 7 ? 6 : field.max;
  const last = to === undefined ? (every === null ? first : end) : numberOf(to, field);
  if (first === null || last === null || first > last) return null;
  return rangeText(first, last, every, field);
}

/**
 * Returns the text of one item of a field of a schedule, such as `1-5`. A crontab may have 0 or 7 for Sunday. The text
 * has 0 for both, because Kubernetes accepts only 0.
 */
function rangeText(first: number, last: number, every: number | null, { max }: Field): string {
  if (max === 7 && last === 7) {
    const days = Array.from({ length: 8 - first }, (_, index) => first + index);
    const meant = days.filter((_, index) => index % (every ?? 1) === 0).map((day) => day % 7);
    return [...new Set(meant)].join(',');
  }
  const range = first === last ? String(first) : `${first}-${last}`;
  return every === null || first === last ? range : `${range}/${every}`;
}

function numberOf(text: string, { min, max, words }: Field): number | null {
  const word = words.indexOf(text.toLowerCase());
  if (word >= 0) return min + word;
  const number = /^\d{1,2}$/.test(text) ? Number(text) : Number.NaN;
  return number >= min && number <= max ? number : null;
}

/** The refusal to run a scheduled process that the live release of the tool does not have. */
export function noSchedule(tool: string, type: string): DeployError {
  return new DeployError(
    'NO_SCHEDULE',
    `the live release of ${tool} has no scheduled process ${type}`,
    `List the scheduled processes with: \`schedule list ${tool}\``,
  );
}
