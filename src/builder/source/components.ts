import { RELEASE_TYPE, TEST_TYPE } from '../../core/replicas.ts';
import type {
  Artifact,
  Process,
  Replicas,
  RequiredVar,
  Schedule,
  ServiceSettings,
} from '../../core/types.ts';
import { commandsTooLong, noProcess, tooManyProcesses, tooManyTypes } from '../build-failures.ts';
import { processType } from '../buildpack-api/launch-processes.ts';
import { shown } from './yaml/settings-file.ts';

/** A component of toolforge.yaml, or a job of jobs.yaml. */
export interface Component {
  /** The name of the component, which is a process type of the tool. */
  readonly name: string;
  /** A process type of the build, or a command line for a shell. */
  readonly command: string;
  /** Null if the component runs all the time, or is a named command. */
  readonly schedule: Schedule | null;
  /** True if the component receives the requests to the tool. */
  readonly isPublished: boolean;
  /**
   * True if `isPublished` is false for all components, and this is the only component that has a port and runs all the
   * time. The component gets the requests if the build has no `web`.
   */
  readonly isOnlyWithPort?: boolean;
  /** How many processes run if the component has no schedule. Absent means one. A named command has 0. */
  readonly replicas?: number;
  readonly settings?: Partial<ServiceSettings>;
}

/** What the files of the source ask for: process types of the tool, and config vars (app.json). */
export interface ProcessRequests {
  /** The components of toolforge.yaml or jobs.yaml. */
  readonly components: readonly Component[];
  /** How many processes of a type run, from `formation` in app.json. */
  readonly formation: Replicas;
  /** What service.template says about the web process. */
  readonly template: {
    readonly settings: Partial<ServiceSettings>;
    /** A command line. Null if service.template has none. */
    readonly command: string | null;
  };
  /** The default values of config vars, from app.json. A config var that is set replaces its default. */
  readonly variables?: Readonly<Record<string, string>>;
  /** The config vars that are to be random secrets, from app.json. */
  readonly secrets?: readonly string[];
  /** The config vars that must be set, from app.json. */
  readonly required?: readonly RequiredVar[];
  /**
   * The test command, from app.json: a process type of the build, or a command line for a shell. Absent or null if
   * there is none.
   */
  readonly test?: string | null;
}

/**
 * Merges the processes of the build with what the source says about them. All precedence between files is here:
 * service.template wins over toolforge.yaml and jobs.yaml, which win over app.json, which wins over the build. But a
 * command in service.template is used only if no component receives the requests to the tool.
 *
 * Of the build's processes, only `web` and `release` start by themselves. All others are named commands, unless a
 * continuous component or `formation` keeps them running. A component with a command of its own replaces the process
 * type of the same name.
 *
 * @param warn - Receives a sentence about each command, port and entry of `formation` that may not do what its author
 *   expects.
 */
export function requestedProcesses(
  built: readonly Process[],
  {
    components,
    formation,
    template,
    variables = {},
    secrets = [],
    required = [],
    test = null,
  }: ProcessRequests,
  warn: (text: string) => void,
): Pick<Artifact, 'processes' | 'service' | 'variables' | 'secrets' | 'required'> {
  const hasWeb = built.some(({ type }) => type === 'web');
  const asked = components.map((one) => ({
    ...one,
    isPublished: one.isPublished || (one.isOnlyWithPort === true && !hasWeb),
  }));
  if (template.command !== null && !asked.some(({ isPublished }) => isPublished))
    asked.push({ name: 'web', command: template.command, schedule: null, isPublished: true });
  const published = asked.find(({ isPublished }) => isPublished);
  for (const { name, isOnlyWithPort, isPublished } of asked)
    if (isOnlyWithPort === true && !isPublished) warn(`${noPort([name])}.`);
  const service = serviceOf(published, template.settings);
  const byType = new Map(built.map((process) => [process.type, withReplicas(process, 0)]));
  for (const [type, count] of Object.entries(formation)) {
    const process = byType.get(type);
    if (process === undefined || type === RELEASE_TYPE) warn(noFormation(type, built));
    else if (type !== 'web' || service.replicas === undefined)
      byType.set(type, { ...process, replicas: count });
  }
  for (const component of asked) {
    const meant = built.find(({ type }) => type === component.command);
    if (meant === undefined && processType.test(component.command)) warn(noType(component, built));
    const process = withSettings(requested(component, meant), component.settings);
    byType.set(process.type, process);
  }
  if (test !== null) {
    const process = testOf(test, byType);
    byType.set(process.type, process);
  }
  return {
    processes: [...byType.values()].sort((a, b) => (a.type < b.type ? -1 : 1)),
    service,
    ...(Object.keys(variables).length === 0 ? {} : { variables }),
    ...(secrets.length === 0 ? {} : { secrets }),
    ...(required.length === 0 ? {} : { required }),
  };
}

/**
 * Returns the process that runs the test command before the release. If the command is a process type without a
 * schedule, this is the process of that type. Otherwise it is a shell that runs the command, with the process type
 * `test`, or `app-json-test` if the tool has a process type `test`.
 */
function testOf(command: string, byType: ReadonlyMap<string, Process>): Process {
  const meant = byType.get(command);
  if (meant !== undefined && meant.schedule === undefined) return { ...meant, isTest: true };
  const type = byType.has(TEST_TYPE) ? `app-json-${TEST_TYPE}` : TEST_TYPE;
  const process = { type, command: ['bash', '-c', command], isDefault: false, launchedAs: null };
  return { ...process, replicas: 0, isTest: true };
}

function serviceOf(published: Component | undefined, template: Partial<ServiceSettings>): ServiceSettings {
  const { settings = {}, replicas } = published ?? {};
  const { healthCheckScript, ...rest } = settings;
  const hasPath = template.healthCheckPath !== undefined;
  return {
    healthCheckPath: null,
    ...rest,
    ...(healthCheckScript === undefined || hasPath ? {} : { healthCheckScript }),
    ...(replicas === undefined ? {} : { replicas }),
    ...template,
  };
}

/**
 * Adds the settings of a component to its process, except `port` and `healthCheckPath`, which only the process that
 * gets the requests has. Leaves the process `web` unchanged, because the field `service` of the artifact has its
 * settings.
 */
function withSettings(process: Process, settings: Partial<ServiceSettings> = {}): Process {
  const { port: _, healthCheckPath: __, ...own } = settings;
  return process.type === 'web' || Object.keys(own).length === 0 ? process : { ...process, settings: own };
}

/**
 * Sets how many processes run. Leaves `web` and `release` as they are, because other rules say how many of them run.
 */
function withReplicas(process: Process, replicas: number): Process {
  return process.type === 'web' || process.type === RELEASE_TYPE ? process : { ...process, replicas };
}

/**
 * Returns the process that a component asks for.
 *
 * @param meant - The process of the build that the component's command names by its type. Undefined if the build has no
 * such process: the command is then a command line for a shell.
 */
function requested(component: Component, meant: Process | undefined): Process {
  if (component.schedule !== null)
    return meant === undefined ? ofCommand(component) : ofType(component, meant);
  const { isPublished, replicas = 1 } = component;
  if (meant === undefined) return withReplicas(ofCommand(component), replicas);
  if (isPublished && meant.type !== 'web') return ofType({ ...component, name: 'web' }, meant);
  if (replicas === 0) return withReplicas(ofType(component, meant), 0);
  return withReplicas(meant, replicas);
}

/**
 * The most bytes of the commands and health check scripts of all processes together. The store keeps them with each
 * release.
 */
const MAX_COMMAND_BYTES = 32 * 1024;
/** The most process types, including named commands and scheduled processes. */
const MAX_TYPES = 200;
const MAX_NAMED = 20;

/**
 * Checks the number of the processes and the size of their commands.
 *
 * @throws DeployError `NO_PROCESS` if there are no processes; `TOO_MANY_PROCESSES` if more than `most` types are kept
 * running, or if there are more than 200; `COMMANDS_TOO_LONG` if their commands and health check scripts have more than
 * 32 KiB together.
 */
export function assertRunnable(processes: readonly Process[], most: number): void {
  if (processes.length === 0) throw noProcess();
  if (processes.length > MAX_TYPES) throw tooManyTypes(processes.length, MAX_TYPES);
  const kept = processes.filter(
    ({ type, schedule, replicas }) => type !== RELEASE_TYPE && schedule === undefined && replicas !== 0,
  );
  if (kept.length > most) throw tooManyProcesses(kept.length, most);
  const bytes = processes.reduce(
    (sum, { command, settings }) =>
      sum + Buffer.byteLength(command.join(' ') + (settings?.healthCheckScript ?? '')),
    0,
  );
  if (bytes > MAX_COMMAND_BYTES) throw commandsTooLong(bytes, MAX_COMMAND_BYTES);
}

function ofCommand({ name, command, schedule, isPublished }: Component): Process {
  return {
    type: isPublished ? 'web' : name,
    command: ['bash', '-c', command],
    isDefault: false,
    launchedAs: null,
    ...(schedule === null ? {} : { schedule }),
  };
}

function ofType({ name, schedule }: Component, { type, command, launchedAs }: Process): Process {
  return {
    type: name,
    command,
    isDefault: false,
    launchedAs: launchedAs === undefined ? type : launchedAs,
    ...(schedule === null ? {} : { schedule }),
  };
}

function noType({ name, command }: Component, built: readonly Process[]): string {
  return `Component ${name}: its command is ${command}. The build has no process type of this name (${known(built)}), so the program ${command} will run.`;
}

/**
 * Says that ports of components have no effect. On Toolforge, the components of a tool reach each other at these ports.
 * Returns sentences without the last full stop.
 *
 * @param names - The components, at least one.
 */
export function noPort(names: readonly string[]): string {
  const shownNames = `${names.slice(0, 10).join(', ')}${names.length > 10 ? ', …' : ''}`;
  const what =
    names.length === 1
      ? `Component ${shownNames}: its port has no effect here`
      : `Components ${shownNames}: their ports have no effect here`;
  return `${what}, because only web gets requests. Other components cannot reach http://${names[0]}:PORT. Start programs that need each other in one component, where they reach each other at 127.0.0.1`;
}

function noFormation(type: string, built: readonly Process[]): string {
  return `formation in app.json: ${shown(type)} is not used, because the build has no process type of this name that can be kept running (${known(built)}).`;
}

function known(built: readonly Process[]): string {
  const more = built.length > MAX_NAMED ? ', …' : '';
  const types =
    built
      .slice(0, MAX_NAMED)
      .map(({ type }) => type)
      .join(', ') + more;
  return types === '' ? 'it has none' : `it has ${types}`;
}
