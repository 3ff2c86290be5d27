import { join } from 'node:path';
import { z } from 'zod';
import { brokenBuildpack } from '../build-failures.ts';
import { isPlainFolder, listPlainFolder, readTomlFile } from '../source/safe-files.ts';
import { tomlLines } from '../source/toml-lines.ts';
import { escapeId } from './layer-environment.ts';

/** A layer, as `NAME.toml` describes it. */
export interface Layer {
  readonly buildpack: string;
  readonly name: string;
  /** True if the running tool needs the layer. */
  readonly isLaunch: boolean;
  /** True if later buildpacks of this build need the layer. */
  readonly isBuild: boolean;
  /** True if the next build may reuse the layer. */
  readonly isCache: boolean;
  readonly metadata: Readonly<Record<string, unknown>>;
  /** Whether the layer has a folder `NAME` beside its file `NAME.toml`. */
  readonly hasFolder: boolean;
}

const layerFile = z.object({
  types: z
    .object({
      launch: z.boolean().default(false),
      build: z.boolean().default(false),
      cache: z.boolean().default(false),
    })
    .default({ launch: false, build: false, cache: false }),
  metadata: z.record(z.string(), z.unknown()).default({}),
});

/** The maximum size of the files `NAME.toml` of all layers of one buildpack together. */
const MAX_BYTES = 1024 * 1024;

/** The most layers of one buildpack. Each layer takes time at every start of a process. */
const MAX_LAYERS = 100;

/** TOML files in the folder of a buildpack's layers that do not describe a layer. */
const notLayers: ReadonlySet<string> = new Set(['launch.toml', 'build.toml', 'store.toml']);

/**
 * The layers of one buildpack, sorted by name.
 *
 * @param root - A folder that holds a folder for each buildpack.
 * @throws DeployError `BUILD_FAILED` if the file `NAME.toml` of a layer breaks the Buildpack API, if the buildpack has
 * more than `MAX_LAYERS` layers, or if these files have more than `MAX_BYTES` together.
 */
export async function readLayers(root: string, buildpack: string): Promise<Layer[]> {
  const folder = escapeId(buildpack);
  const layers: Layer[] = [];
  let total = 0;
  for (const { name: file, isFile } of await entriesOf(root, buildpack)) {
    if (!isFile || !file.endsWith('.toml') || notLayers.has(file)) continue;
    const { types, metadata, length } = await readLayerFile(root, buildpack, file);
    total += length;
    if (total > MAX_BYTES) throw brokenBuildpack(buildpack, 'its layer files are too large together');
    const name = file.slice(0, -'.toml'.length);
    if (layers.length === MAX_LAYERS)
      throw brokenBuildpack(buildpack, `it has more than ${MAX_LAYERS} layers`);
    // An empty name, `.` or `..` would mean the buildpack's own folder or the folder above it.
    if (name === '' || name === '.' || name === '..')
      throw brokenBuildpack(buildpack, `${file} names no layer`);
    layers.push({
      buildpack,
      name,
      isLaunch: types.launch,
      isBuild: types.build,
      isCache: types.cache,
      metadata,
      hasFolder: await isPlainFolder(root, [folder, name]),
    });
  }
  return layers;
}

async function entriesOf(root: string, buildpack: string) {
  try {
    return await listPlainFolder(root, [escapeId(buildpack)]);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw brokenBuildpack(buildpack, `its folder ${cause.message}`, { cause });
  }
}

async function readLayerFile(root: string, buildpack: string, file: string) {
  try {
    const { content, length } = await readTomlFile(root, [escapeId(buildpack), file]);
    if (['launch', 'build', 'cache'].some((key) => key in content)) {
      throw new TypeError('the launch, cache and build flags belong in the types table');
    }
    return { ...layerFile.parse(content), length };
  } catch (cause) {
    if (cause instanceof RangeError) throw brokenBuildpack(buildpack, `its ${cause.message}`, { cause });
    throw brokenBuildpack(buildpack, `its layer file ${file} cannot be read`, { cause });
  }
}

/**
 * The text of the file `NAME.toml` of a layer that the next build gets back. It has no table `types` (launch, build,
 * cache), because the buildpack must set these again in each build.
 */
export function restoredLayerFile(layer: Layer): string {
  return `[metadata]\n${tomlLines(layer.metadata)}`;
}

/** The path of a layer's folder. The file that describes the layer has the same path with `.toml` at the end. */
export function layerFolder(root: string, layer: Pick<Layer, 'buildpack' | 'name'>): string {
  return join(root, escapeId(layer.buildpack), layer.name);
}

/** The version of a runtime, from the metadata of the runtime's layer. Null if the metadata have no valid version. */
export function layerVersion(metadata: unknown): string | null {
  const { version } = (metadata ?? {}) as { version?: unknown };
  return typeof version === 'string' && /^[\w.+-]{1,40}$/.test(version) ? version : null;
}
