import { chmod, writeFile } from 'node:fs/promises';
import type { Process } from '../../core/types.ts';
import { brokenBuildpack, stepFailed } from '../build-failures.ts';
import type { Progressed } from '../local/tool-cache.ts';
import { tomlLines } from '../source/toml-lines.ts';
import type { BuildContext } from './build-context.ts';
import { entriesFor, type PlanEntry, withoutMet } from './build-plan.ts';
import { runStep } from './buildpack-step.ts';
import { type Buildpack, nameOf } from './buildpack-store.ts';
import type { Detection } from './detection.ts';
import { mergeProcesses, readProcesses, readUnmet } from './launch-processes.ts';
import {
  addEnvFolder,
  addLayerFolders,
  type Environment,
  escapeId,
  withPlatformVariables,
} from './layer-environment.ts';
import { type Layer, layerVersion, readLayers } from './layers.ts';

/**
 * Runs `bin/build` of each buildpack in turn. Each buildpack gets the build environment that the earlier ones left.
 *
 * @param reached - Called with `failed` when a buildpack starts, and with `built` when it has succeeded. So a buildpack
 *   that never ends counts as failed.
 * @returns the processes to run, and an entry of `Artifact.buildpacks` for each buildpack.
 */
export async function buildAll(
  context: BuildContext,
  detection: Detection,
  reached: (id: string, state: Progressed) => void,
): Promise<{ processes: Process[]; buildpacks: string[] }> {
  const environment: Environment = { ...context.environment };
  const processes: Process[][] = [];
  const buildpacks: string[] = [];
  const layersFolder = context.places.folders.layers;
  let entries: readonly PlanEntry[] = detection.entries;
  for (const buildpack of detection.buildpacks) {
    const { id } = buildpack;
    reached(id, 'failed');
    await runBuild(context, buildpack, environment, entries);
    const layers = await readLayers(layersFolder, id);
    await addToEnvironment(context, environment, layers);
    processes.push(await readProcesses(layersFolder, id));
    entries = withoutMet(entries, id, await unmetOf(context, id, entries));
    buildpacks.push(`${id} ${broughtBy(buildpack, layers)}`);
    reached(id, 'built');
  }
  return { processes: mergeProcesses(processes), buildpacks };
}

/**
 * The metadata of one entry of a build plan as TOML. Empty if there is no metadata, because the CNB lifecycle then
 * writes no table either.
 */
function metadataTable(metadata: Readonly<Record<string, unknown>>): string {
  return Object.keys(metadata).length === 0 ? '' : `[entries.metadata]\n${tomlLines(metadata)}`;
}

async function runBuild(
  context: BuildContext,
  buildpack: Buildpack,
  environment: Readonly<Environment>,
  entries: readonly PlanEntry[],
): Promise<void> {
  const { places, guard, progress } = context;
  const folder = escapeId(buildpack.id);
  const plan = `${folder}.toml`;
  const name = nameOf(buildpack.id);
  const handed = entriesFor(entries, buildpack.id).map(
    ({ name, metadata }) => `[[entries]]\n${tomlLines({ name })}${metadataTable(metadata)}`,
  );
  await writeFile(places.source('plans', plan), handed.join('\n'), { flag: 'wx' });
  // The umask may have made a file that only the server can read. Change its mode, so that the buildpack can read its
  // build plan.
  await chmod(places.source('plans', plan), 0o644);
  guard.enter(name);
  const end = await runStep(
    context.sandbox,
    {
      name: `build of ${context.name}`,
      argv: [
        places.path(buildpack.place, buildpack.folder, 'bin', 'build'),
        places.path('layers', folder),
        places.path('platform'),
        places.path('plans', plan),
      ],
      env: {
        ...(buildpack.isEnvCleared ? environment : withPlatformVariables(environment, context.variables)),
        ...context.target,
        CNB_BUILDPACK_DIR: places.path(buildpack.place, buildpack.folder),
        CNB_PLATFORM_DIR: places.path('platform'),
        CNB_BP_PLAN_PATH: places.path('plans', plan),
        CNB_LAYERS_DIR: places.path('layers', folder),
      },
      cwd: places.path('workspace'),
      mounts: places.buildMounts(),
      tree: context.tree,
      toolNumber: context.toolNumber,
      limits: context.limits,
      publish: null,
      network: context.network,
    },
    { guard, mask: context.mask, line: (text) => say(progress, text) },
  );
  if (end.code !== 0) throw stepFailed({ ...end, name }, context.limits);
}

/** Passes on a line that a buildpack printed. The prefix `-----> ` makes the line a step, and ` !     ` a warning. */
export function say(progress: BuildContext['progress'], text: string): void {
  if (text.startsWith('-----> ')) progress.step(text.slice(7));
  else if (text.startsWith(' !     ')) progress.warn(text.slice(7));
  else progress.line(text.startsWith('       ') ? text.slice(7) : text);
}

/**
 * Adds to the build environment what later buildpacks get from these layers: their folders, and the variables in the
 * folders `env` and `env.build`.
 *
 * @see https://github.com/buildpacks/lifecycle/blob/v0.21.0/buildpack/build.go (setupEnv)
 */
async function addToEnvironment(
  context: BuildContext,
  environment: Environment,
  layers: readonly Layer[],
): Promise<void> {
  const place = { folder: context.places.folders.layers, path: context.places.path('layers') };
  for (const layer of layers) {
    if (!layer.isBuild) continue;
    const parts = [escapeId(layer.buildpack), layer.name];
    await addLayerFolders(environment, place, parts, 'build');
    await addEnvFolder(environment, place.folder, [...parts, 'env']);
    await addEnvFolder(environment, place.folder, [...parts, 'env.build']);
  }
}

async function unmetOf(
  context: BuildContext,
  id: string,
  entries: readonly PlanEntry[],
): Promise<Set<string>> {
  const unmet = await readUnmet(context.places.folders.layers, id);
  const handed = new Set(entriesFor(entries, id).map((require) => require.name));
  for (const name of unmet) {
    if (!handed.has(name))
      throw brokenBuildpack(
        id,
        `build.toml names ${name} as unmet, but the server did not ask this buildpack to provide ${name}`,
      );
  }
  return unmet;
}

/** The version of the installed runtime, if a launch layer names it; otherwise the version of the buildpack. */
function broughtBy(buildpack: Buildpack, layers: readonly Layer[]): string {
  const versions = layers.filter((layer) => layer.isLaunch).map(({ metadata }) => layerVersion(metadata));
  return versions.find((version) => version !== null) ?? buildpack.version;
}
