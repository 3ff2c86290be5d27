import { z } from 'zod';
import type { Process } from '../../core/types.ts';
import { brokenBuildpack } from '../build-failures.ts';
import { readTomlFile } from '../source/safe-files.ts';
import { escapeId } from './layer-environment.ts';

const launchFile = z.object({
  processes: z
    .array(
      z.object({
        type: z.string(),
        command: z.array(z.string()).min(1),
        args: z.array(z.string()).default([]),
        default: z.boolean().default(false),
        direct: z.never('it is not part of this Buildpack API').optional(),
        'working-dir': z.string().optional(),
      }),
    )
    .default([]),
});

const buildFile = z.object({ unmet: z.array(z.object({ name: z.string().min(1) })).default([]) });

/** Matches a process type. A process type becomes a part of names and of log lines. */
export const processType = /^[a-z0-9][-_a-z0-9]{0,62}$/;

/**
 * Reads the processes from the launch.toml of a buildpack. Labels and slices are ignored.
 *
 * @throws DeployError `BUILD_FAILED` if the file breaks the Buildpack API.
 */
export async function readProcesses(root: string, buildpack: string): Promise<Process[]> {
  const { processes } = await readOutput(root, buildpack, 'launch.toml', launchFile);
  if (processes.filter((process) => process.default).length > 1) {
    throw brokenBuildpack(buildpack, 'more than one process is the default');
  }
  return processes.map((process) => definedProcess(buildpack, process, process.default));
}

/** A process as a buildpack defines it, in launch.toml or in the label of an image. */
export interface DefinedProcess {
  readonly type: string;
  readonly command: readonly string[];
  readonly args?: readonly string[] | null | undefined;
  readonly 'working-dir'?: string | undefined;
}

/**
 * Returns the process that a buildpack defined.
 *
 * @throws DeployError `BUILD_FAILED` if the type of the process is invalid.
 */
export function definedProcess(buildpack: string, process: DefinedProcess, isDefault: boolean): Process {
  const { type, 'working-dir': folder } = process;
  if (!processType.test(type)) {
    const shown = JSON.stringify(type.slice(0, 80));
    throw brokenBuildpack(
      buildpack,
      `${shown} cannot be a process type, which has only lower-case letters, digits, - and _`,
    );
  }
  const command = [...process.command, ...(process.args ?? [])];
  return { type, command: folder === undefined ? command : startedIn(folder, command), isDefault };
}

/** Returns a command that starts `command` in a folder. The shell gets the folder as `$0`, and `command` as `$@`. */
function startedIn(folder: string, command: readonly string[]): string[] {
  return ['/bin/sh', '-c', 'cd -- "$0" && exec "$@"', folder, ...command];
}

/**
 * Returns the names of the dependencies that the build.toml of a buildpack lists as `unmet`: the server asked the
 * buildpack to provide them, but the buildpack leaves them to later buildpacks.
 */
export async function readUnmet(root: string, buildpack: string): Promise<Set<string>> {
  const { unmet } = await readOutput(root, buildpack, 'build.toml', buildFile);
  return new Set(unmet.map((entry) => entry.name));
}

async function readOutput<Schema extends z.ZodType>(
  root: string,
  buildpack: string,
  file: string,
  schema: Schema,
): Promise<z.output<Schema>> {
  try {
    const { content } = await readTomlFile(root, [escapeId(buildpack), file]);
    return schema.parse(content);
  } catch (cause) {
    if (cause instanceof RangeError) throw brokenBuildpack(buildpack, `its ${cause.message}`, { cause });
    const colonAndProblem = cause instanceof z.ZodError ? `: ${firstOf(cause)}` : '';
    throw brokenBuildpack(buildpack, `its ${file} cannot be used${colonAndProblem}`, { cause });
  }
}

/** Returns only the first problem of a file, because a file may have thousands of problems. */
function firstOf({ issues }: z.ZodError): string {
  return z.prettifyError({ issues: issues.slice(0, 1) }).replaceAll('\n', ' ');
}

/**
 * Merges the processes of all buildpacks. A later process replaces an earlier one of the same type. The default is the
 * last process that is marked as the default. If a later process without this mark replaces the default, there is no
 * default.
 *
 * @see https://github.com/buildpacks/lifecycle/blob/v0.21.0/phase/builder.go (processMap)
 */
export function mergeProcesses(lists: readonly (readonly Process[])[]): Process[] {
  const byType = new Map<string, Process>();
  let byDefault: string | null = null;
  for (const process of lists.flat()) {
    if (process.isDefault) byDefault = process.type;
    else if (process.type === byDefault) byDefault = null;
    byType.set(process.type, process);
  }
  return [...byType.values()]
    .sort((a, b) => (a.type < b.type ? -1 : 1))
    .map((process) => ({ ...process, isDefault: process.type === byDefault }));
}
