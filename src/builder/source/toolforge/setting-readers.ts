import { parseQuantity } from '../../../core/text/quantity.ts';
import type { Schedule, ServiceSettings } from '../../../core/types.ts';
import { shown } from '../yaml/settings-file.ts';

/** The settings that one key sets, or the reason why its value is not used. */
export type Read = Partial<ServiceSettings & Pick<Schedule, 'retry' | 'timeoutSeconds'>> | string;
export type Reader = (value: unknown) => Read;

const smallestMemory = 16 * 1024 * 1024;
const MAX_REPLICAS = 100;
const MAX_CHARACTERS = 8192;
/**
 * Matches a part `.` or `..` of the path of a URL, and a backslash, which some servers take for a slash. Also matches
 * these characters if they are percent-encoded, such as `%2e` for a dot.
 */
const climbs = /(?:\/|%2f)(?:\.|%2e){1,2}(?=\/|%2f|$)|\\|%5c/i;

export function readPath(value: unknown): Read {
  if (typeof value !== 'string' || !/^\/[\x21-\x7e]{0,1023}$/.test(value))
    return 'it is not used: it must begin with / and have no spaces';
  if (climbs.test(value.replace(/[?#].*$/, '')))
    return 'it is not used: it must not have the parts /./ or /../, or a backslash';
  return { healthCheckPath: value };
}

export function readReplicas(value: unknown): Read {
  if (isWhole(value, 1, MAX_REPLICAS)) return { replicas: value };
  return `${shown(value)} is not used: it must be a whole number from 1 to ${MAX_REPLICAS}`;
}

export function readCpu(value: unknown): Read {
  const cores = parseQuantity(value);
  return cores === null ? `${shown(value)} is not used: write it as 500m or 1` : { cpuCores: cores };
}

export function readMemory(value: unknown): Read {
  const bytes = parseQuantity(value);
  if (bytes === null) return `${shown(value)} is not used: write it as 512Mi or 1Gi`;
  if (bytes < smallestMemory) return `${shown(value)} is not used: a tool needs at least 16Mi to start`;
  return { memoryBytes: Math.floor(bytes) };
}

export function readPort(value: unknown): Read {
  if (isWhole(value, 1024, 65_535)) return { port: value };
  return `${shown(value)} is not used: it must be a whole number from 1024 to 65535`;
}

export function readScript(value: unknown): Read {
  const script = readCommandLine(value);
  return script === null ? 'it is not used: it must be a command on one line' : { healthCheckScript: script };
}

/**
 * The command line in a value. Null if the value is no command line that can be used. Drops the first word `launcher`,
 * which commands on Toolforge need in an image that buildpacks made. Also drops the folders of Heroku's buildpacks,
 * because the programs of a build are in PATH.
 */
export function readCommandLine(value: unknown): string | null {
  // The length is checked first, because the time of the regular expressions below grows with the square of the length.
  if (typeof value !== 'string' || value.length > MAX_CHARACTERS) return null;
  const command = value
    .trim()
    .replaceAll('\t', ' ')
    .replace(/^launcher( +|$)/, '')
    .replace(/\/layers\/heroku_[\w-]+\/(?:[\w.-]+\/)*?s?bin\/(?=\w)/g, '');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the expression looks for control characters.
  const isUsable = !/[\u0000-\u001f\u007f]/.test(command);
  return command !== '' && isUsable ? command : null;
}

export function isWhole(value: unknown, least: number, most: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most;
}
