import type { Process, Schedule } from '../../core/types.ts';
import { commandsTooLong, noProcess, tooManyProcesses } from '../build-failures.ts';
import { processType } from '../buildpack-api/launch-processes.ts';

/** A component of toolforge.yaml. */
export interface Component {
  /** A process type. */
  readonly name: string;
  /** A process type of the build, or a command line for a shell. */
  readonly command: string;
  /** Null if the component runs all the time. */
  readonly schedule: Schedule | null;
  /** True if the component receives the requests to the tool. */
  readonly isPublished: boolean;
}

/** Reserved process types: they stay in the artifact even if a schedule also runs them. */
const KEPT = new Set(['web', 'release']);

/**
 * Merges the processes of the build with the components of toolforge.yaml. A process type that only scheduled
 * components use does not also run all the time. A component with a command of its own replaces the process type of the
 * same name.
 *
 * @param warn - Receives a sentence about each command that was perhaps meant as a process type.
 */
export function withComponents(
  built: readonly Process[],
  components: readonly Component[],
  warn: (text: string) => void,
): Process[] {
  const find = (type: string) => built.find((process) => process.type === type);
  const named = (isScheduled: boolean) =>
    new Set(
      components
        .filter(({ schedule }) => (schedule !== null) === isScheduled)
        .map(({ command }) => find(command)?.type),
    );
  const [scheduled, staying] = [named(true), named(false)];
  const byType = new Map(
    built
      .filter(({ type }) => KEPT.has(type) || staying.has(type) || !scheduled.has(type))
      .map((process) => [process.type, process]),
  );
  for (const component of components) {
    const meant = find(component.command);
    if (meant !== undefined && component.schedule === null) continue;
    const process = meant === undefined ? ofCommand(component) : ofType(component, meant);
    if (meant === undefined && processType.test(component.command)) warn(noType(component, built));
    byType.set(process.type, process);
  }
  return [...byType.values()].sort((a, b) => (a.type < b.type ? -1 : 1));
}

/** The most bytes of the commands of all processes together. The store keeps them with each release. */
const MAX_COMMAND_BYTES = 32 * 1024;

/**
 * @throws DeployError `NO_PROCESS` if there are no processes; `TOO_MANY_PROCESSES` if more than `most` types run all
 * the time; `COMMANDS_TOO_LONG` if their commands have more than 32 KiB together.
 */
export function assertRunnable(processes: readonly Process[], most: number): void {
  if (processes.length === 0) throw noProcess();
  const staying = processes.filter(({ type, schedule }) => type !== 'release' && schedule === undefined);
  if (staying.length > most) throw tooManyProcesses(staying.length, most);
  const bytes = processes.reduce((sum, { command }) => sum + Buffer.byteLength(command.join(' ')), 0);
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
  const types = built.map(({ type }) => type).join(', ');
  const known = types === '' ? 'the build gave none' : `there are ${types}`;
  return `${name} in toolforge.yaml: ${command} is no process type (${known}), so it is run as a program of that name.`;
}
