import { existsSync } from 'node:fs';
import { chmod, cp, lstat, mkdtemp, realpath, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, relative, resolve, sep } from 'node:path';
import { stringify } from 'smol-toml';
import type { Config } from '../../config.ts';
import { removeTree } from '../../core/disk/remove-tree.ts';
import { DeployError } from '../../core/errors.ts';
import type { Log } from '../../core/log/log.ts';
import { commitId, toolName } from '../../core/names.ts';
import type { Progress } from '../../core/progress.ts';
import type { Artifact } from '../../core/types.ts';
import type { Sandbox } from '../../sandbox/sandbox.ts';
import { stacksFolder } from '../../stack/stacks.ts';
import type { BuildSettings } from '../build-settings.ts';
import { readBuildpackFolder } from '../buildpack-api/buildpack-folder.ts';
import { readBuildpacks } from '../buildpack-api/buildpack-store.ts';
import type { Detection } from '../buildpack-api/detection.ts';
import { launchEnvironment } from '../buildpack-api/launch-environment.ts';
import { type Layer, readLayers } from '../buildpack-api/layers.ts';
import { PROCFILE } from '../buildpack-api/own-buildpacks.ts';
import { LocalBuilder } from './local-builder.ts';

/** The result of a trial: what the tried buildpack and the other buildpacks that took part made of a source. */
export interface Trial {
  /** The ids of the buildpacks that took part, in the order in which they built. */
  readonly group: readonly string[];
  readonly plan: Detection['entries'];
  /** All layers, also those that only builds need. */
  readonly layers: readonly Layer[];
  readonly processes: Artifact['processes'];
  /** The variables that the layers add to the environment of the web process. */
  readonly environment: Readonly<Record<string, string>>;
}

/**
 * The name and the number of the made-up tool for which a trial builds. The uid of the trial is computed from the
 * number. A server numbers its tools from 1, so hardly any real tool has the number 50,000.
 */
const TOOL = 'buildpack-try';
const TOOL_NUMBER = 50_000;
const PATH = '/usr/local/bin:/usr/bin:/bin';

/**
 * Builds a copy of a tool's source, without its .git, with one more buildpack than those of the server. If a buildpack
 * of the server has the same id, the tried buildpack replaces it. Otherwise the tried buildpack builds after all
 * buildpacks of the server except `procfile`. Builds on the newest stack of the data folder, but keeps no artifact.
 *
 * @param options.openSandbox - Makes the sandbox for a temporary data folder.
 * @throws DeployError that says why the buildpack cannot be used or failed; `BAD_BUILDPACK` if a symbolic link in its
 *   folder leads neither into this folder nor into the server's buildpacks.
 */
export async function tryBuildpack(options: {
  readonly buildpack: string;
  readonly source: string;
  readonly config: BuildSettings & Pick<Config, 'buildpacks'>;
  readonly openSandbox: (data: string) => Promise<Sandbox>;
  readonly log: Log;
  readonly progress: Progress;
  readonly signal: AbortSignal;
}): Promise<Trial> {
  const { buildpack, source, config, openSandbox, log, progress, signal } = options;
  const about = await readBuildpackFolder(resolve(buildpack), [], buildpack);
  if (!existsSync(source))
    throw new DeployError(
      'NO_SOURCE',
      `there is no folder ${source}`,
      'Name the folder with the files of the tool.',
    );
  const data = await mkdtemp(join(tmpdir(), 'buildpack-try-'));
  try {
    await chmod(data, 0o711);
    await symlink(stacksFolder(resolve(config.data)), stacksFolder(data));
    const buildpacksFolder = join(data, 'given');
    await addBuildpack(config.buildpacks, buildpacksFolder, { ...about, folder: buildpack });
    const sandbox = await openSandbox(data);
    let plan: Trial['plan'] = [];
    const builder = new LocalBuilder({
      ...{ config: { ...config, data }, sandbox, buildpacksFolder, log },
      trial: {
        id: about.id,
        onDetected: ({ entries }) => {
          plan = entries;
        },
      },
    });
    const artifact = await builder.build(requestFor(source), progress, signal);
    return { plan, ...(await madeBy(artifact, sandbox, join(data, 'cache', TOOL))) };
  } finally {
    await removeTree(data);
  }
}

/**
 * Copies the server's buildpacks, and puts the buildpack that is tried into each group of their order. If a buildpack
 * of the server has the same id, the tried buildpack replaces it.
 */
async function addBuildpack(
  from: string,
  to: string,
  { id, version, folder }: { readonly id: string; readonly version: string; readonly folder: string },
): Promise<void> {
  await cp(from, to, { recursive: true, dereference: true });
  const { folder: _, order } = await readBuildpacks(to);
  const same = order.flat().find(({ buildpack }) => buildpack.id === id)?.buildpack.folder;
  if (same !== undefined) await removeTree(join(to, same));
  const places = await Promise.all([folder, from].map((one) => realpath(one)));
  const filter = async (path: string) => {
    await assertInside(path, places);
    return true;
  };
  await cp(folder, join(to, same ?? 'tried'), { recursive: true, dereference: true, filter });
  const tried = { id, version, optional: false };
  const groups = order.map((members) => {
    const group = members.map(({ buildpack, isOptional: optional }) =>
      buildpack.id === id ? tried : { id: buildpack.id, version: buildpack.version, optional },
    );
    if (group.includes(tried)) return { group };
    const procfile = group.findIndex((member) => member.id === PROCFILE);
    return { group: group.toSpliced(procfile < 0 ? group.length : procfile, 0, tried) };
  });
  await writeFile(join(to, 'order.toml'), stringify({ order: groups }));
}

/**
 * If a path is a link, checks that the link leads into one of the folders. Anybody may have written the tried
 * buildpack: without this check, a link could bring a copy of a key of this machine into the sandbox.
 *
 * @throws DeployError `BAD_BUILDPACK` if the link leads out of these folders or its target does not exist.
 */
async function assertInside(path: string, folders: readonly string[]): Promise<void> {
  if (!(await lstat(path)).isSymbolicLink()) return;
  const target = await realpath(path).catch(() => null);
  if (target !== null && folders.some((folder) => `${target}${sep}`.startsWith(`${folder}${sep}`))) return;
  throw new DeployError(
    'BAD_BUILDPACK',
    `the link ${path} leads out of the folder of the buildpack, or to a file that does not exist`,
    'Put a copy of the file in the place of the link.',
  );
}

async function madeBy(artifact: Artifact, sandbox: Sandbox, cache: string): Promise<Omit<Trial, 'plan'>> {
  const group = artifact.buildpacks.map((entry) => entry.split(' ')[0] ?? '');
  const layersFolder = join(artifact.reference, 'layers');
  const environment = await launchEnvironment({
    layersFolder,
    layersPath: sandbox.path({ source: layersFolder, target: '/layers', isWritable: false }),
    buildpacks: group,
    processType: 'web',
    base: { PATH },
  });
  if (environment['PATH'] === PATH) delete environment['PATH'];
  const layers: Layer[] = [];
  for (const id of group)
    for (const folder of [layersFolder, cache]) layers.push(...(await readLayers(folder, id)));
  return { group, layers, processes: artifact.processes, environment };
}

/** A request to build a copy of the source. The commit id of the request is made up, because a folder has no commit. */
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
