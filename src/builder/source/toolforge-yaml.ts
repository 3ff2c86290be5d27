import { DeployError } from '../../core/errors.ts';
import type { ToolName } from '../../core/names.ts';
import { readSchedule } from '../../core/schedule.ts';
import type { Schedule, ServiceSettings } from '../../core/types.ts';
import { processType } from '../buildpack-api/launch-processes.ts';
import { namesIn } from '../folders.ts';
import type { Component } from './components.ts';
import { readPlainFile } from './safe-files.ts';
import { type Read, readCpu, readMemory, readPath, readReplicas } from './service-template.ts';
import { isMapping, parseMapping, shown } from './small-yaml.ts';

const file = 'toolforge.yaml';
/** A larger toolforge.yaml is refused. A hostile YAML file of 64 kB would keep the parser busy for a second. */
const MAX_BYTES = 16 * 1024;
const MAX_COMPONENTS = 50;
const MAX_CHARACTERS = 8192;
/** The most characters in the name of a job on Toolforge. */
const longestName = 52;
const MAX_RETRIES = 5;
const longestSeconds = 604_800;
const misspelt = /^\.?toolforge\.ya?ml$/i;
const example =
  'Write, below `components:`, `NAME: {component_type: scheduled, run: {command: python3 update.py, schedule: "@daily"}}`, and push again.';

const topKeys = ['config_version', 'components', 'source_url'];
const componentKeys = ['component_type', 'build', 'run'];
/** Keys below a component's `run` that have an effect only if the component receives the requests to the tool. */
const webKeys: Readonly<Record<string, (value: unknown) => Read>> = {
  health_check_http: readPath,
  replicas: readReplicas,
  cpu: readCpu,
  memory: readMemory,
};
/** Keys below the `run` of any other continuous component that have an effect. */
const workerKeys = { replicas: readReplicas };
const runKeys = new Set(['command', 'port', 'port_protocol', 'publish']);
const scheduledKeys = new Set(['command', 'schedule', 'retry', 'timeout']);
/** Keys below a component's `run` with the values that need no warning, because they ask for what happens anyway. */
const natural: Readonly<Record<string, unknown>> = { mount: 'none', emails: 'none', filelog: false };

export interface ToolforgeYaml {
  readonly components: readonly Component[];
  /** The settings of the component that receives the requests to the tool. Empty if no component does. */
  readonly service: Partial<ServiceSettings>;
  /** A sentence for each part of toolforge.yaml that is not used. */
  readonly warnings: readonly string[];
}

/**
 * Reads the components of toolforge.yaml. Ignores `build`, because this server builds the pushed commit.
 *
 * @param options.mostScheduled - How many scheduled components a tool may have.
 * @throws DeployError `BUILD_TOOLFORGE_YAML` if the file or one of its components cannot be used.
 * @see https://wikitech.wikimedia.org/wiki/Help:Toolforge/Deploy_your_tool
 */
export async function readToolforgeYaml(
  source: string,
  options: { readonly tool: ToolName; readonly mostScheduled: number },
): Promise<ToolforgeYaml> {
  const text = await readText(source);
  if (text === null) return { components: [], service: {}, warnings: await misspeltFile(source) };
  const content = await parseMapping(text);
  if ('why' in content) throw refusal(`${file} ${content.why}`, example, { cause: content.cause });
  const warnings = unusedKeys(file, Object.keys(content.mapping), topKeys);
  if (content.mapping['source_url'] !== undefined)
    warnings.push(`source_url of ${file} has no effect here: what is deployed is what was pushed.`);
  const given = content.mapping['components'] ?? {};
  if (!isMapping(given)) throw refusal(`components in ${file} does not hold components`, example);
  const names = Object.keys(given);
  if (names.length > MAX_COMPONENTS)
    throw refusal(`${file} has ${names.length} components`, `A tool has at most ${MAX_COMPONENTS}.`);
  const read = names.map((name) => readComponent(name, given[name], options.tool));
  assertFewScheduled(read, options.mostScheduled);
  assertOnePublished(read);
  return {
    components: read.map(({ component }) => component),
    service: Object.assign({}, ...read.map(({ service }) => service)),
    warnings: [...warnings, ...read.flatMap((one) => one.warnings)],
  };
}

async function readText(source: string): Promise<string | null> {
  try {
    return await readPlainFile(source, [file], MAX_BYTES);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw refusal(`${file} is larger than ${MAX_BYTES / 1024} kB`, 'Make it smaller, and push again.');
  }
}

async function misspeltFile(source: string): Promise<string[]> {
  const name = (await namesIn(source)).find((one) => misspelt.test(one));
  return name === undefined ? [] : [`${name} is not used: rename it to ${file}, with that spelling.`];
}

interface ReadComponent {
  readonly component: Component;
  readonly service: Partial<ServiceSettings>;
  readonly warnings: readonly string[];
}

function readComponent(name: string, value: unknown, tool: ToolName): ReadComponent {
  const nameInFile = `${shown(name)} in ${file}`;
  if (!processType.test(name) || name.length > longestName) {
    throw refusal(
      `${nameInFile} cannot be the name of a component`,
      `Take lower-case letters, digits, - and _, at most ${longestName}, and push again.`,
    );
  }
  if (!isMapping(value) || !isMapping(value['run'])) throw refusal(`${nameInFile} has no \`run\``, example);
  const run = value['run'];
  const unknown = unusedKeys(nameInFile, Object.keys(value), componentKeys);
  const command = readCommand(nameInFile, run['command']);
  const kind = value['component_type'];
  if (kind === 'scheduled') {
    assertMayBeScheduled(name, nameInFile);
    const schedule = readTimes(nameInFile, run, `${tool} ${name}`);
    const warnings = [...unknown, ...unusedRunKeys(nameInFile, run, scheduledKeys)];
    return { component: { name, command, schedule, isPublished: false }, service: {}, warnings };
  }
  if (kind !== 'continuous') {
    const problem = kind === undefined ? 'has no component_type' : `has the component_type ${shown(kind)}`;
    throw refusal(
      `${nameInFile} ${problem}`,
      'Write `component_type: scheduled` or `continuous`, and push again.',
    );
  }
  if (name === 'release') throw reserved(nameInFile, 'is what runs before each release');
  const isPublished = run['publish'] !== undefined || command === 'web' || name === 'web';
  const keys = isPublished ? webKeys : workerKeys;
  const { service, warnings } = readService(nameInFile, run, keys);
  const used = new Set([...runKeys, ...Object.keys(keys)]);
  const { replicas } = service;
  const component = {
    name,
    command,
    schedule: null,
    isPublished,
    ...(replicas === undefined ? {} : { replicas }),
  };
  return {
    component,
    service: isPublished ? service : {},
    warnings: [...unknown, ...warnings, ...unusedRunKeys(nameInFile, run, used)],
  };
}

function assertMayBeScheduled(name: string, component: string): void {
  if (name === 'web') throw reserved(component, 'is what gets the requests, and stays up');
  if (name === 'release') throw reserved(component, 'is what runs before each release');
}

function reserved(component: string, meaning: string): DeployError {
  return refusal(`${component} cannot be: the process of that name ${meaning}`, 'Give it another name.');
}

function readCommand(component: string, value: unknown): string {
  // Drops the word `launcher`, which Toolforge prefixes to each command in an image that buildpacks made.
  const command =
    typeof value === 'string'
      ? value
          .trim()
          .replaceAll('\t', ' ')
          .replace(/^launcher( +|$)/, '')
      : '';
  if (command === '') {
    throw refusal(
      `${component} has no command`,
      'Write `command: ` and a process type of the Procfile or a line for a shell below its `run:`, and push again.',
    );
  }
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the expression looks for control characters.
  if (command.length > MAX_CHARACTERS || /[\u0000-\u001f\u007f]/.test(command)) {
    throw refusal(
      `the command of ${component} holds a control character or is longer than ${MAX_CHARACTERS} characters`,
      'Write it on one line, or into a script that it starts, and push again.',
    );
  }
  return command;
}

function readTimes(component: string, run: Readonly<Record<string, unknown>>, seed: string): Schedule {
  const given = run['schedule'];
  if (typeof given !== 'string') {
    const problem =
      given === undefined ? 'has no schedule' : `has the schedule ${shown(given)}, which is no text`;
    throw refusal(`${component} ${problem}`, 'Write `schedule: "@daily"` or `schedule: "30 4 * * *"` (UTC).');
  }
  const read = readSchedule(given, seed);
  if ('why' in read) {
    throw refusal(
      `the schedule ${shown(given)} of ${component} cannot be used: ${read.why}`,
      'Write for instance "@daily", "*/10 * * * *" for every ten minutes, or "30 4 * * 1" for Mondays at 04:30 UTC, and push again.',
    );
  }
  const retry = count(component, run, 'retry', MAX_RETRIES) ?? 0;
  const timeout = count(component, run, 'timeout', longestSeconds) ?? 0;
  const text = given.trim().replace(/\s+/g, ' ');
  return { text, cron: read.cron, retry, timeoutSeconds: timeout === 0 ? null : timeout };
}

function count(
  component: string,
  run: Readonly<Record<string, unknown>>,
  key: string,
  most: number,
): number | null {
  const value = run[key] ?? null;
  if (value === null) return null;
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= most) return value;
  throw refusal(`${key} of ${component} is ${shown(value)}`, `Write a whole number from 0 to ${most}.`);
}

function readService(
  component: string,
  run: Readonly<Record<string, unknown>>,
  keys: Readonly<Record<string, (value: unknown) => Read>>,
): { service: Partial<ServiceSettings>; warnings: string[] } {
  const warnings: string[] = [];
  let service: Partial<ServiceSettings> = {};
  for (const [key, read] of Object.entries(keys)) {
    const value = run[key];
    if (value === undefined || value === null) continue;
    const result = read(value);
    if (typeof result === 'string') warnings.push(`${key} of ${component}: ${result}.`);
    else service = { ...service, ...result };
  }
  return { service, warnings };
}

function unusedKeys(place: string, keys: readonly string[], known: readonly string[]): string[] {
  const unknown = keys.filter((key) => !known.includes(key));
  if (unknown.length === 0) return [];
  return [`${place} contains unknown keys: ${list(unknown)}. Known are: ${known.join(', ')}.`];
}

function unusedRunKeys(
  component: string,
  run: Readonly<Record<string, unknown>>,
  used: ReadonlySet<string>,
): string[] {
  const unused = Object.entries(run).filter(([key, value]) => !used.has(key) && natural[key] !== value);
  if (unused.length === 0) return [];
  return [
    `${list(unused.map(([key]) => key))} of ${component} ${unused.length === 1 ? 'has' : 'have'} no effect here.`,
  ];
}

function list(keys: readonly string[]): string {
  return keys.slice(0, 10).map(shown).join(', ');
}

function assertFewScheduled(read: readonly ReadComponent[], most: number): void {
  const scheduled = read.filter(({ component }) => component.schedule !== null).length;
  if (scheduled <= most) return;
  throw refusal(
    `${file} has ${scheduled} scheduled components, and a tool may have ${most} (scheduled_processes)`,
    'Let one of them do the work of several, or ask the operator for a higher scheduled_processes.',
  );
}

function assertOnePublished(read: readonly ReadComponent[]): void {
  const published = read.filter(({ component }) => component.isPublished);
  if (published.length <= 1) return;
  const names = published.map(({ component }) => component.name).join(', ');
  throw refusal(
    `more than one component of ${file} is to get the requests: ${names}`,
    'Leave `publish` and the command `web` to one of them, and push again.',
  );
}

function refusal(message: string, hint: string, options?: ErrorOptions): DeployError {
  return new DeployError('BUILD_TOOLFORGE_YAML', message, hint, options);
}
