import { chmod, cp, mkdtemp, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, relative, resolve } from 'node:path';
import type { Log } from '../../core/log/log.ts';
import { commitId, toolName } from '../../core/names.ts';
import type { Progress } from '../../core/progress.ts';
import type { Artifact } from '../../core/types.ts';
import { removeTree } from '../../sandbox/disk/remove-tree.ts';
import type { Sandbox } from '../../sandbox/sandbox.ts';
import { stacksFolder } from '../../stack/stacks.ts';
import type { BuildSettings } from '../build-settings.ts';
import { readBuildpackFolder } from '../buildpack-api/buildpack-folder.ts';
import type { Detection } from '../buildpack-api/detection.ts';
import { launchEnvironment } from '../buildpack-api/launch-environment.ts';
import { type Layer, readLayers } from '../buildpack-api/layers.ts';
import { makeFolder } from '../folders.ts';
import { LocalBuilder } from './local-builder.ts';

/** What one buildpack made of a source. */
export interface Trial {
  readonly plan: Detection['entries'];
  /** All layers, also those that only builds need. */
  readonly layers: readonly Layer[];
  readonly processes: Artifact['processes'];
  /** The variables that the layers add to the environment of the web process. */
  readonly environment: Readonly<Record<string, string>>;
}

/** The tool of a trial. Its number is higher than that of any tool of the server, so it has a uid of its own. */
const TOOL = 'buildpack-try';
const TOOL_NUMBER = 50_000;
const PATH = '/usr/local/bin:/usr/bin:/bin';

/**
 * Runs one buildpack on a copy of a folder with a tool's source, without its .git. Builds as the server would, on the
 * newest stack of the data folder, but keeps no artifact.
 *
 * @param options.openSandbox - Makes the sandbox for a temporary data folder.
 * @throws DeployError that says why the buildpack cannot be used or failed.
 */
export async function tryBuildpack(options: {
  readonly buildpack: string;
  readonly source: string;
  readonly config: BuildSettings;
  readonly openSandbox: (data: string) => Promise<Sandbox>;
  readonly log: Log;
  readonly progress: Progress;
  readonly signal: AbortSignal;
}): Promise<Trial> {
  const { buildpack, source, config, openSandbox, log, progress, signal } = options;
  const { id, version } = await readBuildpackFolder(resolve(buildpack), [], buildpack);
  const data = await mkdtemp(join(tmpdir(), 'buildpack-try-'));
  try {
    await chmod(data, 0o711);
    await symlink(stacksFolder(resolve(config.data)), stacksFolder(data));
    const buildpacksFolder = join(data, 'given');
    await makeFolder(buildpacksFolder, 0o755);
    await cp(buildpack, join(buildpacksFolder, 'buildpack'), { recursive: true, dereference: true });
    const order = `[[order]]\n[[order.group]]\nid = "${id}"\nversion = "${version}"\n`;
    await writeFile(join(buildpacksFolder, 'order.toml'), order);
    const sandbox = await openSandbox(data);
    let detection: Detection | null = null;
    const builder = new LocalBuilder({
      ...{ config: { ...config, data }, sandbox, buildpacksFolder, log },
      onTrial: (found) => {
        detection = found;
      },
    });
    const artifact = await builder.build(requestFor(source), progress, signal);
    const layersPath = sandbox.path({
      source: join(artifact.reference, 'layers'),
      target: '/layers',
      isWritable: false,
    });
    const environment = await launchEnvironment({
      layersFolder: join(artifact.reference, 'layers'),
      layersPath,
      buildpacks: [id],
      processType: 'web',
      base: { PATH },
    });
    if (environment['PATH'] === PATH) delete environment['PATH'];
    const ofBuilds = await readLayers(join(data, 'cache', TOOL), id);
    return {
      plan: (detection as Detection | null)?.entries ?? [],
      layers: [...(await readLayers(join(artifact.reference, 'layers'), id)), ...ofBuilds],
      processes: artifact.processes,
      environment,
    };
  } finally {
    await removeTree(data);
  }
}

/** A request to build a copy of the source. Its commit id is made up, because a folder has none. */
function requestFor(source: string) {
  const [tool, commit] = [toolName(TOOL), commitId('1'.repeat(40))];
  if (tool === null || commit === null) throw new Error('The names of a trial are not valid.');
  return {
    ...{ id: 'trial', tool, toolNumber: TOOL_NUMBER, commit, configVars: {}, useCache: false },
    checkOut: (folder: string) =>
      cp(source, folder, {
        recursive: true,
        verbatimSymlinks: true,
        filter: (path) => basename(path) !== '.git' || relative(source, path) !== '.git',
      }),
  };
}
