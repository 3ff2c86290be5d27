import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Mount, Sandbox } from '../sandbox/sandbox.ts';
import { makeFolder } from './folders.ts';

/** The folders of one build on this machine, all within its artifact's folder. */
export interface BuildFolders {
  readonly artifact: string;
  readonly workspace: string;
  readonly layers: string;
  /** What is only for the build, removed afterwards. */
  readonly scratch: string;
}

/** Names of the things that code of a build sees, and where it sees them. */
const targets = {
  workspace: '/workspace',
  layers: '/layers',
  buildpacks: '/cnb/buildpacks',
  platform: '/platform',
  /** Build plans that detection writes. */
  detected: '/cnb/detected',
  /** Build plans that buildpacks are handed; out of reach of a tool's code, since the server writes here. */
  plans: '/cnb/plans',
  tmp: '/tmp',
  home: '/home/tool',
} as const;

export type PlaceName = keyof typeof targets;

/** The mounts of a build, and how each is called inside. */
export interface BuildPlaces {
  readonly folders: BuildFolders;
  /** How code inside calls the place, or a file below it. */
  path(name: PlaceName, ...below: string[]): string;
  /** The same place on this machine. */
  source(name: PlaceName, ...below: string[]): string;
  mounts(phase: 'detect' | 'build'): Mount[];
}

/** The folders of one build. */
export function foldersOf(artifact: string): BuildFolders {
  return {
    artifact,
    workspace: join(artifact, 'workspace'),
    layers: join(artifact, 'layers'),
    scratch: join(artifact, 'scratch'),
  };
}

const writable = {
  detect: new Set<PlaceName>(['detected', 'tmp', 'home']),
  build: new Set<PlaceName>(['workspace', 'layers', 'tmp', 'home']),
};

export function buildPlaces(folders: BuildFolders, buildpacks: string, sandbox: Sandbox): BuildPlaces {
  const source = (name: PlaceName, ...below: string[]): string => {
    if (name === 'buildpacks') return join(buildpacks, ...below);
    if (name === 'workspace' || name === 'layers') return join(folders[name], ...below);
    return join(folders.scratch, name, ...below);
  };
  const mount = (name: PlaceName, isWritable: boolean): Mount => ({
    source: source(name),
    target: targets[name],
    isWritable,
  });
  return {
    folders,
    source,
    path: (name, ...below) => join(sandbox.path(mount(name, false)), ...below),
    mounts: (phase) =>
      (Object.keys(targets) as PlaceName[])
        .filter((name) => phase === 'build' || name !== 'layers')
        .map((name) => mount(name, writable[phase].has(name))),
  };
}

/**
 * Makes the folders and writes the variables of the platform, one file each.
 *
 * @param variables - What the operator set for builds, and over it the tool's config vars.
 */
export async function makePlaces(
  places: BuildPlaces,
  variables: Readonly<Record<string, string>>,
): Promise<void> {
  const { artifact, workspace, layers, scratch } = places.folders;
  await makeFolder(artifact, 0o700);
  for (const folder of [workspace, layers]) await makeFolder(folder, 0o755);
  await makeFolder(scratch, 0o711);
  for (const name of ['detected', 'plans', 'tmp', 'home'] as const) {
    await makeFolder(places.source(name), 0o755);
  }
  await makeFolder(places.source('platform', 'env'), 0o755);
  for (const [name, value] of Object.entries(variables)) {
    await writeFile(places.source('platform', 'env', name), value, { mode: 0o644 });
  }
}

/** Names that can be a variable; a name is a file's too. */
export function isVariableName(name: string): boolean {
  return /^[A-Za-z_][A-Za-z0-9_]{0,127}$/.test(name);
}
