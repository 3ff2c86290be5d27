import { existsSync } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { KeyedConcurrencyLimit } from '../../core/concurrency/concurrency-limit.ts';
import { removeTree } from '../../core/disk/remove-tree.ts';
import { foldersOf } from '../buildpack-api/build-mounts.ts';
import { type LaunchOptions, launchEnvironment } from '../buildpack-api/launch-environment.ts';
import { EnvLength, escapeId, readEnvFolder } from '../buildpack-api/layer-environment.ts';
import { hasEntry, listPlainFolder, MAX_TOML_BYTES, readIfSmall } from '../source/safe-files.ts';

const oneAtATime = new KeyedConcurrencyLimit(1);
const NEVER = new AbortController().signal;

/**
 * Writes into the folder `outline` what the server reads of an artifact's layers later: the files `NAME.toml`, the
 * names of the layers, whether a layer has the folders `bin` and `lib`, and the `env` folders for running processes.
 *
 * The outline is needed because a running process can hold the lock of each folder that it sees for minutes, even if it
 * can only read the folder. If the server then opened a file in the folder, the server's work with all other files
 * would stop, too. No process sees the outline.
 *
 * @param buildpacks - The ids of the buildpacks. Folders of other buildpacks are left out.
 * @throws DeployError `NOT_PASSABLE` if the `env` folders are too large together to start a program.
 */
export async function makeOutline(
  { layers, outline }: { readonly layers: string; readonly outline: string },
  buildpacks: readonly string[],
): Promise<void> {
  const half = `${outline}-half`;
  await removeTree(half);
  await mkdir(half, { mode: 0o700 });
  const length = new EnvLength();
  const keepEnv = async (...parts: string[]) => {
    const texts = await readEnvFolder(length, layers, parts);
    if (texts.size > 0) await mkdir(join(half, ...parts), { recursive: true });
    for (const [file, text] of texts) await writeFile(join(half, ...parts, file), text);
  };
  for (const folder of new Set(buildpacks.map(escapeId))) {
    await mkdir(join(half, folder));
    for (const { name, isFolder, isFile } of await listPlainFolder(layers, [folder])) {
      if (isFile && name.endsWith('.toml'))
        await writeFile(
          join(half, folder, name),
          (await readIfSmall(layers, [folder, name], MAX_TOML_BYTES)) ?? '',
        );
      if (!isFolder) continue;
      await mkdir(join(half, folder, name));
      for (const kind of ['bin', 'lib'])
        if (await hasEntry(layers, [folder, name, kind])) await mkdir(join(half, folder, name, kind));
      await keepEnv(folder, name, 'env');
      await keepEnv(folder, name, 'env.launch');
      for (const type of await listPlainFolder(layers, [folder, name, 'env.launch']))
        if (type.isFolder) await keepEnv(folder, name, 'env.launch', type.name);
    }
  }
  await rename(half, outline);
}

/**
 * Returns what `launchEnvironment` does, but reads the outline of the artifact. Artifacts of early versions of this
 * server have no outline. Such an artifact gets one here, before its first process after the upgrade starts.
 */
export async function environmentFromOutline(options: LaunchOptions): Promise<Record<string, string>> {
  const folders = foldersOf(dirname(options.layersFolder));
  const isMade = () => existsSync(folders.outline);
  if (!isMade()) {
    const make = async () => {
      if (!isMade()) await makeOutline(folders, options.buildpacks);
    };
    await oneAtATime.run(folders.outline, make, NEVER);
  }
  return await launchEnvironment({ ...options, layersFolder: folders.outline });
}
