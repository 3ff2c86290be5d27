import { join } from 'node:path';
import { parse, stringify } from 'smol-toml';
import { z } from 'zod';
import { brokenBuildpack } from './build-failures.ts';
import { escapeId } from './layer-environment.ts';
import { isPlainFolder, listPlainFolder, readPlainFile } from './safe-files.ts';

/** A layer as its `NAME.toml` tells of it. */
export interface Layer {
  readonly buildpack: string;
  readonly name: string;
  /** For the running tool. */
  readonly isLaunch: boolean;
  /** For later buildpacks of this build. */
  readonly isBuild: boolean;
  /** For the next build. */
  readonly isCache: boolean;
  readonly metadata: Readonly<Record<string, unknown>>;
  /** Whether the folder is there beside the file. */
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

/** Of all layer files of a buildpack together. */
const maxBytes = 8 * 1024 * 1024;

/** Files among a buildpack's layers that are no layer's. */
const notLayers: ReadonlySet<string> = new Set(['launch.toml', 'build.toml', 'store.toml']);

/**
 * The layers of one buildpack, by name.
 *
 * @param root - A folder that holds a folder for each buildpack.
 * @throws DeployError `BUILD_FAILED` where a layer's file is not as the Buildpack API has it.
 */
export async function readLayers(root: string, buildpack: string): Promise<Layer[]> {
  const folder = escapeId(buildpack);
  const layers: Layer[] = [];
  let length = 0;
  for (const { name: file, isFile } of await entriesOf(root, buildpack)) {
    if (!isFile || !file.endsWith('.toml') || notLayers.has(file)) continue;
    const { types, metadata, text } = await readLayerFile(root, buildpack, file);
    length += text.length;
    if (length > maxBytes) throw brokenBuildpack(buildpack, 'its layer files are too large together');
    const name = file.slice(0, -'.toml'.length);
    // Joined to the folder these would leave it.
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
    const text = (await readPlainFile(root, [escapeId(buildpack), file])) ?? '';
    const content = parse(text);
    if (['launch', 'build', 'cache'].some((key) => key in content)) {
      throw new TypeError('the launch, cache and build flags belong in the types table');
    }
    return { ...layerFile.parse(content), text };
  } catch (cause) {
    throw brokenBuildpack(buildpack, `its layer file ${file} cannot be read`, { cause });
  }
}

/** The file of a layer as the next build finds it: its types are the buildpack's to set again. */
export function restoredLayerFile(layer: Layer): string {
  return stringify({ metadata: layer.metadata });
}

/** The folder of a layer's content; its file has the same name and `.toml`. */
export function layerFolder(root: string, layer: Pick<Layer, 'buildpack' | 'name'>): string {
  return join(root, escapeId(layer.buildpack), layer.name);
}
