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
  /** @param asked - The folder of the buildpack that is asked: of what detection writes it sees its own alone. */
  detectMounts(asked: string): Mount[];
  buildMounts(): Mount[];
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

const names = Object.keys(targets) as PlaceName[];
const writable: ReadonlySet<PlaceName> = new Set(['workspace', 'layers', 'tmp', 'home']);

export function buildPlaces(folders: BuildFolders, buildpacks: string, sandbox: Sandbox): BuildPlaces {
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
  return {
    folders,
    source,
    path: (name, ...below) => join(sandbox.path(mount(name, false)), ...below),
    detectMounts: (asked) => [
      ...(['workspace', 'buildpacks', 'platform'] as const).map((name) => mount(name, false)),
      // The server makes the folders of others beside it: no link may be in their place.
      mount('detected', true, asked),
      ...(['tmp', 'home'] as const).map((name) => mount(name, true)),
    ],
    buildMounts: () => names.map((name) => mount(name, writable.has(name))),
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
