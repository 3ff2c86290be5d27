import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Mount, Sandbox } from '../../sandbox/sandbox.ts';
import { makeFolder } from '../folders.ts';

/** The folders of one build on this machine. All are in the folder of the artifact that the build makes. */
export interface BuildFolders {
  readonly artifact: string;
  readonly workspace: string;
  readonly layers: string;
  /**
   * A folder with copies of those files of the layers that the server reads after the build. The server does not read
   * them in `layers`: a running process can make the kernel hold the lock of a folder there for minutes, and the server
   * would wait as long. See `makeOutline`.
   */
  readonly outline: string;
  /** The folder for files that only the build needs. Deleted when the build has ended. */
  readonly scratch: string;
}

/** The folders that the code of a build sees, by name, with their paths inside the sandbox. */
const targets = {
  workspace: '/workspace',
  layers: '/layers',
  buildpacks: '/cnb/buildpacks',
  platform: '/platform',
  /** Has one folder for each detection, into which the detection writes its build plan and its output. */
  detected: '/cnb/detected',
  /** Build plans, which the server writes during the build. The code of the build can only read them. */
  plans: '/cnb/plans',
  tmp: '/tmp',
  home: '/home/tool',
} as const;

export type PlaceName = keyof typeof targets;

/** The mounts of a build, and the paths of its folders inside the sandbox and on this machine. */
export interface BuildPlaces {
  readonly folders: BuildFolders;
  /** The path of a folder, or of a file below it, inside the sandbox. */
  path(name: PlaceName, ...below: string[]): string;
  /** The path of a folder, or of a file below it, on this machine. */
  source(name: PlaceName, ...below: string[]): string;
  /**
   * The mounts for a sandbox in which detections run.
   *
   * @param asked - The names of the folders below `detected` that belong to these detections. The detections see no
   * other folder there.
   */
  detectMounts(asked: readonly string[]): Mount[];
  /** The mounts for a sandbox in which the `bin/build` of a buildpack runs. */
  buildMounts(): Mount[];
}

/** The folders of the build that makes this artifact. */
export function foldersOf(artifact: string): BuildFolders {
  return {
    artifact,
    workspace: join(artifact, 'workspace'),
    layers: join(artifact, 'layers'),
    outline: join(artifact, 'outline'),
    scratch: join(artifact, 'scratch'),
  };
}

const names = Object.keys(targets) as PlaceName[];
const writable: ReadonlySet<PlaceName> = new Set(['workspace', 'layers', 'tmp', 'home']);

/** The path at which buildpacks look for the list of the Debian packages that the tool will find at run time. */
const RUN_PACKAGES = '/cnb/run-image/dpkg-status';

/**
 * Plans the mounts of one build. Makes no folders.
 *
 * @param runTree - The root folder of the Debian tree in which the tool will run. Null if it will run on this machine's
 * own /usr.
 * @param archives - The mounts of the folders with Pythons that the operator keeps on this machine.
 */
export function buildPlaces(
  folders: BuildFolders,
  buildpacks: string,
  options: {
    readonly sandbox: Sandbox;
    readonly runTree: string | null;
    readonly archives?: readonly Mount[];
  },
): BuildPlaces {
  const { sandbox, runTree, archives = [] } = options;
  const source = (name: PlaceName, ...below: string[]): string => {
    if (name === 'buildpacks') return join(buildpacks, ...below);
    if (name === 'workspace' || name === 'layers') return join(folders[name], ...below);
    return join(folders.scratch, name, ...below);
  };
  const mount = (name: PlaceName, isWritable: boolean, ...below: string[]): Mount => ({
    source: source(name, ...below),
    target: join(targets[name], ...below),
    isWritable,
  });
  const runPackages: Mount[] =
    runTree === null
      ? []
      : [{ source: join(runTree, 'var/lib/dpkg/status'), target: RUN_PACKAGES, isWritable: false }];
  return {
    folders,
    source,
    path: (name, ...below) => join(sandbox.path(mount(name, false)), ...below),
    detectMounts: (asked) => [
      ...(['workspace', 'buildpacks', 'platform'] as const).map((name) => mount(name, false)),
      // The folder `detected` itself is not mounted. Otherwise a detection could put symbolic links into it, and the
      // server would follow them when it makes more folders there.
      ...asked.map((name) => mount('detected', true, name)),
      ...(['tmp', 'home'] as const).map((name) => mount(name, true)),
      ...runPackages,
    ],
    buildMounts: () => [...names.map((name) => mount(name, writable.has(name))), ...runPackages, ...archives],
  };
}

/** Makes the folders of a build. */
export async function makePlaces(places: BuildPlaces): Promise<void> {
  const { artifact, workspace, layers, scratch } = places.folders;
  await makeFolder(artifact, 0o700);
  for (const folder of [workspace, layers]) await makeFolder(folder, 0o755);
  await makeFolder(scratch, 0o711);
  for (const name of ['detected', 'plans', 'tmp', 'home'] as const) {
    await makeFolder(places.source(name), 0o755);
  }
  await makeFolder(places.source('platform', 'env'), 0o755);
}

/** Writes each variable of a build into a file in `/platform/env`. */
export async function writeVariables(
  places: BuildPlaces,
  variables: Readonly<Record<string, string>>,
): Promise<void> {
  for (const [name, value] of Object.entries(variables)) {
    await writeFile(places.source('platform', 'env', name), value, { mode: 0o644 });
  }
}

/** One second after the start of 1980 UTC, because ZIP files cannot hold earlier dates. */
const FIRST_DATE = '315532801';

/**
 * The variables that buildpacks see: those of `variables` that can be environment variables, and by default LANG and
 * SOURCE_DATE_EPOCH. The fixed date makes equal sources give equal files.
 */
export function platformVariables(variables: Readonly<Record<string, string>>): Record<string, string> {
  const usable = Object.entries(variables).filter(
    ([name, value]) => isVariableName(name) && !value.includes('\0'),
  );
  return { LANG: 'C.UTF-8', SOURCE_DATE_EPOCH: FIRST_DATE, ...Object.fromEntries(usable) };
}

/** Whether an environment variable and a file in `/platform/env` can have this name. */
function isVariableName(name: string): boolean {
  return /^[A-Za-z_][A-Za-z0-9_]{0,127}$/.test(name);
}
