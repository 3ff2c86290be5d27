import { getCompileCacheDir } from 'node:module';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { orGiveUp } from '../../core/concurrency/or-give-up.ts';
import type { Log } from '../../core/log/log.ts';
import { layerFolder, readLayers } from '../buildpack-api/layers.ts';
import { saysSame } from './shared-files.ts';
import type { LayerPlaces } from './tool-cache.ts';

const PROGRAM = fileURLToPath(new URL('share-program.ts', import.meta.url));
/** Sharing the files of a build may take this many milliseconds. Files that are not shared by then stay as they are. */
const LONGEST_MS = 20_000;

export interface SharingOfBuild {
  /** The data folder. */
  readonly data: string;
  readonly toolNumber: number;
  readonly signal: AbortSignal;
  readonly log: Pick<Log, 'warn'>;
}

/**
 * Lets artifacts share equal files, such as those of one version of Python: replaces the files of layers whose metadata
 * has `shared = true` by hard links to the server's copies (`SharedFiles`). A file that cannot be shared stays
 * unchanged.
 *
 * Runs a program for this, because link(2) and rename(2) wait for the lock of the file. Processes of any tool that has
 * a hard link to the file can hold this lock for minutes. If the server waited itself, its work with all other files
 * would stop.
 *
 * @throws the reason of the signal.
 */
export async function shareLayers(
  { layers, previous }: LayerPlaces,
  group: readonly string[],
  { data, toolNumber, signal, log }: SharingOfBuild,
): Promise<void> {
  signal.throwIfAborted();
  const words: string[] = [];
  for (const buildpack of group) {
    const before = previous === null ? [] : await readLayers(previous.outline, buildpack);
    for (const layer of await readLayers(layers, buildpack)) {
      if (layer.metadata['shared'] !== true) continue;
      const isSame = before.some(
        ({ name, metadata }) => name === layer.name && saysSame(layer.metadata, metadata),
      );
      words.push(
        layerFolder(layers, layer),
        previous !== null && isSame ? layerFolder(previous.layers, layer) : '',
      );
    }
  }
  if (words.length === 0) return;
  const cache = getCompileCacheDir();
  const running = execa(process.execPath, [PROGRAM, data, `${toolNumber}`, ...words], {
    env: cache === undefined ? {} : { NODE_COMPILE_CACHE: dirname(cache) },
    extendEnv: false,
    stdin: 'ignore',
    stdout: 'ignore',
    reject: false,
    cancelSignal: signal,
  });
  const result = await orGiveUp(running, LONGEST_MS);
  signal.throwIfAborted();
  if (result === null || result.exitCode !== 0)
    log.warn(
      { layers, seconds: LONGEST_MS / 1000, output: result?.stderr },
      'files of layers were not shared',
    );
}
