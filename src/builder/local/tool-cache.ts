import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { allEnded } from '../../core/concurrency/all-ended.ts';
import { namesIn } from '../../core/disk/names-in.ts';
import { removeTree, removeTrees } from '../../core/disk/remove-tree.ts';
import { brokenBuildpack } from '../build-failures.ts';
import type { BuildFolders } from '../buildpack-api/build-mounts.ts';
import { escapeId } from '../buildpack-api/layer-environment.ts';
import { type Layer, layerFolder, readLayers, restoredLayerFile } from '../buildpack-api/layers.ts';
import { copyFolders, isTaken, linkFolders, moveApart, moveFolder } from '../folders.ts';
import { isPlainFolder, listPlainFolder } from '../source/safe-files.ts';

/** The folders from which a build restores layers, and to which it saves them. */
export interface LayerPlaces {
  /** The folder with the layers of the new artifact. */
  readonly layers: string;
  /** The folder with the tool's cache: the layers that only builds need. */
  readonly cache: string;
  /**
   * The folders of the tool's newest artifact. Null if the tool has no artifact, or if the build must not use it.
   * Running processes may hold the locks of the folders in `layers`, so the server itself reads only `outline`: see
   * `makeOutline`.
   */
  readonly previous: Pick<BuildFolders, 'layers' | 'outline'> | null;
}

/** The most layers of one build, of all buildpacks together. The server starts several programs for each layer. */
const MAX_LAYERS = 100;

/** How far one buildpack has got in a build. */
export type Progressed = 'not started' | 'failed' | 'built';

/**
 * Restores layers of earlier builds, by the rules of the buildpacks lifecycle. Restores the metadata of each launch
 * layer of the newest artifact, and copies the content too if the layer is cached. There is one exception: a launch
 * layer that later buildpacks need is only restored if it is cached. Moves the layers that only builds need from the
 * cache into the folder of the build. Never restores the table `types` of a layer.
 *
 * A layer is not copied if all of this is true: its metadata have `linked = true`, its files belong to the server and
 * are read-only, and the build runs as another user. Then the build gets hard links to the files, which it can delete
 * and replace, but not change.
 *
 * @param canLink - Whether builds run as another user than the server.
 * @see https://github.com/buildpacks/lifecycle/blob/v0.21.0/internal/layer/metadata_restorer.go
 * @returns the layers that were moved, as an argument for {@link giveBack}, and a function that makes the hard links.
 *   The caller must first make the tool the owner of the restored files.
 */
export async function restoreLayers(
  places: LayerPlaces,
  group: readonly string[],
  { canLink }: { readonly canLink: boolean },
): Promise<{ moved: Layer[]; link: () => Promise<void> }> {
  const moved: Layer[] = [];
  const links: string[] = [];
  const copies: string[] = [];
  const restore = async (buildpack: string): Promise<void> => {
    const earlier = places.previous === null ? [] : await readLayers(places.previous.outline, buildpack);
    for (const layer of earlier) {
      if (!layer.isLaunch || (layer.isBuild && !layer.isCache)) continue;
      if (layer.isCache && !layer.hasFolder) continue;
      const from = layerFolder(places.previous?.layers ?? '', layer);
      if (layer.isCache && canLink && layer.metadata['linked'] === true && (await isTaken(from)))
        links.push(pathOf(layer));
      else if (layer.isCache) copies.push(pathOf(layer));
      await writeFile(`${layerFolder(places.layers, layer)}.toml`, restoredLayerFile(layer), { flag: 'wx' });
    }
    const names = new Set(earlier.filter((layer) => layer.isLaunch).map((layer) => layer.name));
    for (const layer of await readLayers(places.cache, buildpack)) {
      if (!layer.hasFolder || names.has(layer.name)) continue;
      await moveFolder(layerFolder(places.cache, layer), layerFolder(places.layers, layer));
      await writeFile(`${layerFolder(places.layers, layer)}.toml`, restoredLayerFile(layer), { flag: 'wx' });
      moved.push(layer);
    }
  };
  await allEnded(group.map(restore));
  await copyFolders(places.previous?.layers ?? '', copies, places.layers);
  return {
    moved,
    link: async () => await linkFolders(places.previous?.layers ?? '', links, places.layers),
  };
}

/**
 * Sorts the layers after a successful build. Launch layers stay. If a buildpack left only the metadata of a launch
 * layer that is not cached, the layer gets its content from the newest artifact. Cached layers that are not launch
 * layers replace the content of the cache. All other layers are deleted.
 *
 * @throws DeployError `BUILD_FAILED` if a launch layer has no content and is cached, or the newest artifact does not
 * have this content either; or if there are more than `MAX_LAYERS` layers.
 */
export async function keepLayers(places: LayerPlaces, group: readonly string[]): Promise<void> {
  await removeTree(places.cache);
  const folders = new Set(group.map(escapeId));
  const others = (await besides(places.layers, group)).filter((name) => !folders.has(name));
  await removeTrees(others.map((name) => join(places.layers, name)));
  const all = new Map<string, Layer[]>();
  for (const buildpack of group) all.set(buildpack, await readLayers(places.layers, buildpack));
  const layers = [...all.values()].flat();
  if (layers.length > MAX_LAYERS) {
    const [most = ''] = [...all].reduce((one, other) => (other[1].length > one[1].length ? other : one));
    throw brokenBuildpack(most, `all buildpacks together have more than ${MAX_LAYERS} layers`);
  }
  const launch = layers.filter((layer) => layer.isLaunch);
  const kept = layers.filter(isForBuilds).map((layer) => ({ layer, told: layer }));
  await reuse(
    places,
    launch.filter((layer) => !layer.hasFolder),
  );
  await toCache(places, kept);
  const ofBuildpack = (id: string) => launch.filter((layer) => layer.buildpack === id);
  await allEnded([...all.keys()].map((id) => removeOthers(places.layers, id, ofBuildpack(id))));
}

async function besides(layers: string, group: readonly string[]): Promise<string[]> {
  try {
    return (await listPlainFolder(layers, [])).map(({ name }) => name);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw brokenBuildpack(group.at(-1) ?? '', 'too many files are beside the folders of buildpacks', {
      cause,
    });
  }
}

/** Copies the content of these launch layers, which the buildpack left empty, from the newest artifact. */
async function reuse({ layers, previous }: LayerPlaces, empty: readonly Layer[]): Promise<void> {
  const earlier: Layer[] = [];
  if (previous !== null)
    for (const buildpack of new Set(empty.map((layer) => layer.buildpack)))
      earlier.push(...(await readLayers(previous.outline, buildpack)));
  for (const layer of empty) {
    const before = earlier.find(
      ({ buildpack, name, isLaunch, hasFolder }) =>
        buildpack === layer.buildpack && name === layer.name && isLaunch && hasFolder,
    );
    if (layer.isCache || before === undefined)
      throw brokenBuildpack(layer.buildpack, `its layer ${layer.name} is for launch and has no content`);
  }
  // First delete what is at the paths of the layers: if the build has left a symbolic link there, cp could write to the
  // target of the link.
  await removeTrees(empty.map((layer) => layerFolder(layers, layer)));
  await copyFolders(previous?.layers ?? '', empty.map(pathOf), layers);
}

async function removeOthers(root: string, buildpack: string, launch: readonly Layer[]): Promise<void> {
  const kept = new Set(launch.flatMap((layer) => [layer.name, `${layer.name}.toml`]));
  const folder = join(root, escapeId(buildpack));
  // Never enter a link: a build may have replaced the folder of a buildpack's layers by a link to somewhere else.
  if (!(await isPlainFolder(root, [escapeId(buildpack)]))) return removeTree(folder);
  const others = (await namesIn(folder)).filter((name) => !kept.has(name));
  await removeTrees(others.map((name) => join(folder, name)));
}

/**
 * Moves the layers that only builds need to the cache after a failed build, so that the next build is quick. Leaves out
 * the layers of the failed buildpack that have metadata, because their content may not match the metadata.
 */
export async function giveBack(
  places: LayerPlaces,
  moved: readonly Layer[],
  progress: ReadonlyMap<string, Progressed>,
): Promise<void> {
  const kept: Kept[] = [];
  for (const [buildpack, state] of progress) {
    for (const layer of await readLayersOrNone(places.layers, buildpack)) {
      const before = moved.find((other) => other.buildpack === buildpack && other.name === layer.name);
      const hasTypes = layer.isLaunch || layer.isBuild || layer.isCache;
      const told = hasTypes || before === undefined ? layer : { ...before, hasFolder: layer.hasFolder };
      if (!isForBuilds(told) || kept.length === MAX_LAYERS) continue;
      const isCertain = state !== 'failed' || Object.keys(told.metadata).length === 0;
      if (isCertain) kept.push({ layer, told });
    }
  }
  await toCache(places, kept);
}

async function readLayersOrNone(root: string, buildpack: string): Promise<Layer[]> {
  try {
    return await readLayers(root, buildpack);
  } catch {
    // The build has failed already. If a layer cannot be read, the cache gets no layers of this buildpack.
    return [];
  }
}

function isForBuilds(layer: Layer): boolean {
  return layer.isCache && !layer.isLaunch && layer.hasFolder;
}

/** A layer that is moved to the cache (`layer`), and what its file `NAME.toml` in the cache will say. */
interface Kept {
  readonly layer: Layer;
  readonly told: Layer;
}

/**
 * Moves layers to the cache. The next build may change files of the cache, so none of them may be a hard link to a file
 * of an artifact. A layer with `linked = true` can have such links, and code of this build may have moved such a link
 * into another layer.
 */
async function toCache({ layers, cache }: LayerPlaces, kept: readonly Kept[]): Promise<void> {
  await removeTrees(kept.map(({ layer }) => layerFolder(cache, layer)));
  await moveApart(
    layers,
    kept.map(({ layer }) => pathOf(layer)),
    cache,
  );
  for (const { layer, told } of kept) {
    const types = [`launch = ${told.isLaunch}`, `build = ${told.isBuild}`, `cache = ${told.isCache}`];
    const text = `[types]\n${types.join('\n')}\n\n${restoredLayerFile(told)}`;
    await writeFile(`${layerFolder(cache, layer)}.toml`, text, { mode: 0o600 });
  }
}

/** The path of a layer's folder, below the folder of all layers. */
function pathOf(layer: Layer): string {
  return layerFolder('', layer);
}
