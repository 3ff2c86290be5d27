import type { Words } from './parse-words.ts';
import { UsageError } from './usage-error.ts';

const UNIT_MS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3600_000, d: 86_400_000 };
/** A date, or a date with a time: ISO 8601. Without an offset, the time is in UTC. */
const ISO = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?)(Z|[+-]\d\d:\d\d)?)?$/;

/**
 * The value of a flag for a time: how long ago (`30m`, `2h`, `1d`), or a date or time (`2026-11-29T18:30`).
 *
 * @param now - Milliseconds since 1970.
 * @returns ISO 8601 in UTC with milliseconds. Null if the flag was not given.
 * @throws UsageError if the value is not such a time.
 */
export function timeOf(flags: Words['flags'], name: string, now: number): string | null {
  const text = flags[name];
  if (text === undefined) return null;
  const at = typeof text === 'string' ? parse(text, now) : Number.NaN;
  const date = new Date(at);
  const isOf = !Number.isNaN(at) && date.getUTCFullYear() >= 1970 && date.getUTCFullYear() <= 9999;
  if (isOf) return date.toISOString();
  throw new UsageError(
    `--${name} must be a time ago (30m, 2h or 1d) or a time in UTC (2026-11-29 or 2026-11-29T18:30).`,
  );
}

function parse(text: string, now: number): number {
  const ago = /^(\d{1,6})([smhd])$/.exec(text);
  if (ago !== null) return now - Number(ago[1]) * (UNIT_MS[ago[2] ?? ''] ?? Number.NaN);
  const iso = ISO.exec(text);
  if (iso === null) return Number.NaN;
  const [, day = '', time = '00:00', zone = 'Z'] = iso;
  const at = Date.parse(`${day}T${time}${zone}`);
  // Compare the day, because Date.parse takes 31 February as 3 March.
  const isDay = new Date(`${day}T00:00Z`).getUTCDate() === Number(day.slice(-2));
  return isDay ? at : Number.NaN;
}
