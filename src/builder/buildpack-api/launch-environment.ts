import { listPlainFolder } from '../source/safe-files.ts';
import { addEnvFolder, addLayerFolders, type Environment, escapeId } from './layer-environment.ts';

export interface LaunchOptions {
  /** The folder with the artifact's layers, as a path on this machine. */
  readonly layersFolder: string;
  /** The folder with the artifact's layers, as the path that the process of the tool sees. */
  readonly layersPath: string;
  /** The ids of the buildpacks, such as `toolforge/python`, in the order in which they built. */
  readonly buildpacks: readonly string[];
  readonly processType: string;
  readonly base: Readonly<Record<string, string>>;
}

/**
 * The environment at the start of a process: `base`, and then the variables of each buildpack's launch layers, in the
 * order of the buildpacks. Config vars are not included; the caller adds them last.
 *
 * @see https://github.com/buildpacks/spec/blob/main/platform.md#launch-environment
 */
export async function launchEnvironment(options: LaunchOptions): Promise<Record<string, string>> {
  const environment: Environment = { ...options.base };
  const place = { folder: options.layersFolder, path: options.layersPath };
  for (const id of options.buildpacks) {
    const folder = escapeId(id);
    const entries = await listPlainFolder(options.layersFolder, [folder]);
    const layers = entries.filter((entry) => entry.isFolder).map((entry) => [folder, entry.name]);
    for (const layer of layers) await addLayerFolders(environment, place, layer, 'launch');
    for (const layer of layers) {
      await addEnvFolder(environment, place.folder, [...layer, 'env']);
      await addEnvFolder(environment, place.folder, [...layer, 'env.launch']);
      await addEnvFolder(environment, place.folder, [...layer, 'env.launch', options.processType]);
    }
  }
  return environment;
}
