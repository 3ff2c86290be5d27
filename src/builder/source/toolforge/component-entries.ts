import type { ToolName } from '../../../core/names.ts';
import { readSchedule } from '../../../core/schedule.ts';
import type { Schedule, ServiceSettings } from '../../../core/types.ts';
import { processType } from '../../buildpack-api/launch-processes.ts';
import { type Component, noPort } from '../components.ts';
import { type SettingsFile, shown } from '../yaml/settings-file.ts';
import {
  isWhole,
  type Reader,
  readCommandLine,
  readCpu,
  readMemory,
  readPath,
  readPort,
  readReplicas,
  readScript,
} from './setting-readers.ts';

const MAX_COMPONENTS = 150;
/** The most characters in the name of a job on Toolforge. */
const longestName = 52;
const MAX_RETRIES = 5;
const longestSeconds = 604_800;

export interface ToolforgeOptions {
  readonly tool: ToolName;
  /** How many scheduled components a tool may have. */
  readonly mostScheduled: number;
}

type Kind = 'continuous' | 'scheduled' | 'command';

/** A component of toolforge.yaml, or a job of jobs.yaml. */
export interface ComponentEntry {
  readonly name: string;
  readonly kind: Kind;
  /** The name and the file, as messages show them: `update in toolforge.yaml`. */
  readonly place: string;
  /** The keys and positions in lists that lead to `run`, or to the job, in the file. */
  readonly path: readonly (string | number)[];
  /**
   * The keys and values below `run` in toolforge.yaml. For a job, its keys and values, but each key has its name in
   * toolforge.yaml.
   */
  readonly run: Readonly<Record<string, unknown>>;
  /**
   * True if Toolforge starts the command in the tool's home folder: the job names a ready-made image, such as
   * `python3.11`.
   */
  readonly startsInHome?: boolean;
  /**
   * Returns the name that a key of `run` has in the file. For example, jobs.yaml has `health-check-script` for
   * `health_check_script`.
   */
  readonly spelled: (key: string) => string;
}

/** A key below `run`: which components it has an effect on, and how its value is read. */
interface Key {
  readonly kinds: readonly Kind[];
  /** True if the key has an effect only on the component that gets the requests. */
  readonly isForRequests?: boolean;
  /** The function that reads the value. Absent if other code reads the value, or if the value never has an effect. */
  readonly read?: Reader;
  /** The value that asks for what this server does anyway, so the server does not warn about this value. */
  readonly natural?: unknown;
}

const ALL: readonly Kind[] = ['continuous', 'scheduled', 'command'];
const KEPT: readonly Kind[] = ['continuous'];
const keys: Readonly<Record<string, Key>> = {
  command: { kinds: ALL },
  schedule: { kinds: ['scheduled'] },
  retry: { kinds: ['scheduled'], natural: 0 },
  timeout: { kinds: ['scheduled'] },
  cpu: { kinds: ALL, read: readCpu },
  memory: { kinds: ALL, read: readMemory },
  replicas: { kinds: KEPT, read: readReplicas, natural: 1 },
  publish: { kinds: KEPT },
  port: { kinds: KEPT, isForRequests: true, read: readPort },
  port_protocol: { kinds: [], natural: 'tcp' },
  health_check_http: { kinds: KEPT, isForRequests: true, read: readPath },
  health_check_script: { kinds: KEPT, read: readScript },
  mount: { kinds: [], natural: 'none' },
  emails: { kinds: [], natural: 'none' },
  filelog: { kinds: [], natural: false },
  filelog_stdout: { kinds: [] },
  filelog_stderr: { kinds: [] },
};

/**
 * Reads components, and warns about keys that have no effect.
 *
 * @throws DeployError if a component cannot be used.
 */
export function readComponents(
  yaml: SettingsFile,
  entries: readonly ComponentEntry[],
  { tool, mostScheduled }: ToolforgeOptions,
): Component[] {
  if (entries.length > MAX_COMPONENTS)
    throw yaml.refusal(
      [],
      `${yaml.path} has ${entries.length} components, but at most ${MAX_COMPONENTS} are allowed`,
      'Let one component do the work of several, and push again.',
    );
  const twice = entries.find(({ name }, index) => entries.findIndex((one) => one.name === name) !== index);
  if (twice !== undefined)
    throw yaml.refusal(
      twice.path,
      `the component ${twice.place} has the name of another component`,
      'Give one of them another name, and push again.',
    );
  const published = onlyPublished(yaml, entries);
  const withPort = entries.filter(({ kind, run }) => kind === 'continuous' && (run['port'] ?? null) !== null);
  const fallback = published === undefined && withPort.length === 1 ? withPort[0] : undefined;
  const components = entries.map((entry) => {
    const isOnlyWithPort = entry === fallback;
    const isPublished = entry === published;
    const component = readComponent(yaml, entry, isPublished || isOnlyWithPort, tool);
    return { ...component, isPublished, ...(isOnlyWithPort ? { isOnlyWithPort } : {}) };
  });
  const unreachable = withPort.filter((entry) => entry !== published && entry !== fallback);
  const [first] = unreachable;
  if (first !== undefined)
    yaml.warn([...first.path, first.spelled('port')], noPort(unreachable.map(({ name }) => name)));
  assertFewScheduled(yaml, components, mostScheduled);
  return components;
}

function readComponent(
  yaml: SettingsFile,
  entry: ComponentEntry,
  mayGetRequests: boolean,
  tool: string,
): Omit<Component, 'isPublished'> {
  const { name, kind, place, path, run, spelled } = entry;
  assertName(yaml, entry);
  const command = commandOf(yaml, entry);
  const schedule = kind === 'scheduled' ? readTimes(yaml, entry, `${tool} ${name}`) : null;
  yaml.warnOfUnknown(path.map(String), place, Object.keys(run).map(spelled), Object.keys(keys).map(spelled));
  if (run['health_check_http'] !== undefined && run['health_check_script'] !== undefined) {
    throw yaml.refusal(
      [...path, spelled('health_check_script')],
      `the component ${place} has both ${spelled('health_check_http')} and ${spelled('health_check_script')}`,
      'Keep only one of them, and push again.',
    );
  }
  let settings: Partial<ServiceSettings> = {};
  for (const [key, { kinds, isForRequests = false, read, natural }] of Object.entries(keys)) {
    const value = run[key] ?? null;
    if (value === null || value === natural) continue;
    const hasEffect = kinds.includes(kind) && (mayGetRequests || !isForRequests);
    // Say nothing about this port here, because `readComponents` warns about all ports that nothing can reach.
    if (!hasEffect && key === 'port' && kind === 'continuous') continue;
    if (!hasEffect) yaml.hasNoEffect(spelled(key), shown(name));
    else if (read !== undefined) {
      const result = read(value);
      if (typeof result === 'string')
        yaml.warn([...path, spelled(key)], `${spelled(key)} of ${place}: ${result}`);
      else settings = { ...settings, ...result };
    }
  }
  const { replicas = kind === 'command' ? 0 : undefined, ...rest } = settings;
  return {
    ...{ name, command, schedule, settings: rest },
    ...(replicas === undefined ? {} : { replicas }),
  };
}

/**
 * The continuous component that gets the requests to the tool: the one with `publish`, the name `web` or the command
 * `web`. Undefined if there is no component of this kind.
 *
 * @throws DeployError if there are several.
 */
function onlyPublished(yaml: SettingsFile, entries: readonly ComponentEntry[]): ComponentEntry | undefined {
  const published = entries.filter(
    ({ name, kind, run }) =>
      kind === 'continuous' &&
      ((run['publish'] ?? null) !== null || name === 'web' || readCommandLine(run['command']) === 'web'),
  );
  const [first, second] = published;
  if (second === undefined) return first;
  throw yaml.refusal(
    second.path,
    `${yaml.path} has more than one component for the requests of visitors: ${published.map(({ name }) => shown(name)).join(', ')}`,
    `Only one component can get the requests. Keep \`${second.spelled('publish')}\` or the command \`web\` in one component, remove them from the others, and push again.`,
  );
}

function assertName(yaml: SettingsFile, { name, kind, place, path }: ComponentEntry): void {
  if (!processType.test(name) || name.length > longestName) {
    throw yaml.refusal(
      path,
      `the name of the component ${place} is not valid`,
      `Use a name of lower-case letters, digits, - and _, with at most ${longestName} characters, and push again.`,
    );
  }
  const meaning =
    name === 'release'
      ? 'runs before each release'
      : name === 'web' && kind !== 'continuous'
        ? 'gets the requests of visitors and runs all the time'
        : null;
  if (meaning === null) return;
  throw yaml.refusal(
    path,
    `the component ${place} cannot have this name, because the process \`${name}\` ${meaning}`,
    'Give it another name, and push again.',
  );
}

function commandOf(yaml: SettingsFile, { place, path, run }: ComponentEntry): string {
  const command = readCommandLine(run['command']);
  if (command !== null) return command;
  if (
    typeof run['command'] !== 'string' ||
    run['command']
      .trim()
      .replace(/^launcher\b/, '')
      .trim() === ''
  ) {
    throw yaml.refusal(
      path,
      `the component ${place} has no command`,
      'Below its `run:`, write `command:` with a process type of the Procfile, or with a command line, and push again.',
    );
  }
  throw yaml.refusal(
    [...path, 'command'],
    `the command of ${place} has more than one line, has a control character, or is longer than 8192 characters`,
    'Write the command on one line. If it is long, move it into a script, and let the command start this script.',
  );
}

function readTimes(yaml: SettingsFile, entry: ComponentEntry, seed: string): Schedule {
  const { place, path, run } = entry;
  const given = run['schedule'];
  const at = [...path, 'schedule'];
  if (typeof given !== 'string') {
    const problem =
      given === undefined ? 'has no schedule' : `has the schedule ${shown(given)}, which is not a text`;
    throw yaml.refusal(
      at,
      `the component ${place} ${problem}`,
      'Write `schedule: "@daily"` or `schedule: "30 4 * * *"` (UTC).',
    );
  }
  const read = readSchedule(given, seed);
  if ('why' in read) {
    throw yaml.refusal(
      at,
      `the schedule ${shown(given)} of ${place} cannot be used: ${read.why}`,
      'Write for instance "@daily", "*/10 * * * *" for every ten minutes, or "30 4 * * 1" for Mondays at 04:30 UTC, and push again.',
    );
  }
  const retry = count(yaml, entry, 'retry', MAX_RETRIES);
  const timeout = count(yaml, entry, 'timeout', longestSeconds);
  const text = given.trim().replace(/\s+/g, ' ');
  return { text, cron: read.cron, retry, timeoutSeconds: timeout === 0 ? null : timeout };
}

/**
 * The whole number that the key `key` of `run` has; 0 if the key is absent.
 *
 * @throws DeployError if it is no whole number from 0 to `most`.
 */
function count(yaml: SettingsFile, { place, path, run }: ComponentEntry, key: string, most: number): number {
  const value = run[key] ?? 0;
  if (isWhole(value, 0, most)) return value;
  throw yaml.refusal(
    [...path, key],
    `${key} of ${place} is ${shown(value)}, which is not a whole number from 0 to ${most}`,
    `Write a whole number from 0 to ${most}, and push again.`,
  );
}

function assertFewScheduled(yaml: SettingsFile, components: readonly Component[], most: number): void {
  const scheduled = components.filter(({ schedule }) => schedule !== null).length;
  if (scheduled <= most) return;
  throw yaml.refusal(
    [],
    `${yaml.path} has ${scheduled} scheduled components, but at most ${most} are allowed (scheduled_processes)`,
    'Let one component do the work of several, or ask the operator to raise scheduled_processes.',
  );
}
