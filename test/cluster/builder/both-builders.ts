import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdir, readFile, readlink, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { parse } from 'smol-toml';
import { launchEnvironment } from '../../../src/builder/buildpack-api/launch-environment.ts';
import { layerFolder, readLayers } from '../../../src/builder/buildpack-api/layers.ts';
import { removeTree } from '../../../src/core/disk/remove-tree.ts';
import { DeployError } from '../../../src/core/errors.ts';
import { ABuilder } from '../../builder/support/a-builder.ts';
import type { ImageTrees } from './image-trees.ts';
import { Lifecycle, launchBase } from './lifecycle-run.ts';

/** The lifecycle and the embedded builder, with the same buildpacks on the Debian trees of the cluster's images. */
export class BothBuilders implements AsyncDisposable {
  readonly #builder: ABuilder;
  readonly #lifecycle: Lifecycle;

  private constructor(builder: ABuilder, lifecycle: Lifecycle) {
    this.#builder = builder;
    this.#lifecycle = lifecycle;
  }

  static async open(buildpacks: string, trees: ImageTrees): Promise<BothBuilders> {
    const builder = await ABuilder.open({ buildpacks });
    await trees.stackIn(builder.data);
    return new BothBuilders(builder, await Lifecycle.open(buildpacks, builder.sandbox, trees));
  }

  /**
   * Builds a folder of files with both builders. Compares the group of buildpacks, the inputs of each buildpack, the
   * processes, their environments, and the files of the launch layers.
   */
  async compare(source: string, variables: Readonly<Record<string, string>>): Promise<void> {
    // Both at once, because builds wait for downloads.
    const [theirs, ours] = await Promise.all([
      this.#lifecycle.run(source, variables),
      this.#builder.build(source, { configVars: variables, useCache: false }).catch((error: unknown) => {
        if (error instanceof DeployError && error.code === 'NO_BUILDPACK') return null;
        throw error;
      }),
    ]);
    if (theirs === null || ours === null) {
      assert.equal(ours, theirs, 'one of the two has found no group of buildpacks');
      return;
    }
    const group = ours.buildpacks.map((entry) => entry.split(' ')[0] ?? '');
    assert.deepEqual(group, theirs.group);
    assert.deepEqual(
      // The lifecycle reads neither how many processes run nor the schedules of toolforge.yaml.
      ours.processes
        .filter(({ schedule }) => schedule === undefined)
        .map(({ type, command, isDefault }) => ({ type, command: [...command], isDefault })),
      theirs.processes,
    );
    assert.deepEqual(await recorded(join(ours.reference, 'workspace')), await recorded(theirs.workspace));
    const layersFolder = join(ours.reference, 'layers');
    const files = await launchFiles(layersFolder, group);
    const theirFiles = await launchFiles(theirs.layers, group);
    // Compares only the lines that differ, because a whole list has thousands of lines.
    assert.deepEqual(notIn(theirFiles, files), notIn(files, theirFiles));
    // Without launch layers, all processes have the same environment.
    const types = files.length === 0 ? theirs.processes.slice(0, 1) : theirs.processes;
    for (const { type: processType } of types) {
      const launched = await launchEnvironment({
        layersFolder,
        layersPath: '/layers',
        buildpacks: group,
        processType,
        base: launchBase,
      });
      assert.deepEqual(launched, await theirs.environmentOf(processType), `environment of ${processType}`);
    }
    await Promise.all([removeTree(ours.reference), removeTree(theirs.place)]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lifecycle[Symbol.asyncDispose]();
    await this.#builder[Symbol.asyncDispose]();
  }
}

/** Lists all launch layers: `PATH: MODE HASH` for a file, `PATH: MODE` for a folder, `PATH: -> TARGET` for a link. */
async function launchFiles(root: string, group: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const layer of (await Promise.all(group.map((id) => readLayers(root, id)))).flat()) {
    if (!layer.isLaunch || !layer.hasFolder) continue;
    const folder = layerFolder(root, layer);
    for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name);
      const about = entry.isSymbolicLink()
        ? `-> ${await readlink(path)}`
        : await modeAndHash(path, entry.isFile());
      found.push(`${relative(root, path)}: ${about}`);
    }
  }
  return found.sort();
}

function notIn(lines: readonly string[], of: readonly string[]): string[] {
  const known = new Set(lines);
  return of.filter((line) => !known.has(line));
}

async function modeAndHash(path: string, isFile: boolean): Promise<string> {
  // The embedded builder takes the right to write from files.
  const mode = ((await stat(path)).mode & 0o555).toString(8);
  if (!isFile) return mode;
  return `${mode} ${createHash('sha256')
    .update(await readFile(path))
    .digest('hex')
    .slice(0, 16)}`;
}

async function recorded(workspace: string): Promise<Record<string, unknown>> {
  const found: Record<string, unknown> = {};
  for (const name of await readdir(workspace)) {
    const text = () => readFile(join(workspace, name), 'utf8');
    if (name.startsWith('environment-')) found[name] = (await text()).split('\n');
    if (!name.startsWith('plan-')) continue;
    const { entries } = parse(await text());
    found[name] = Array.isArray(entries) ? entries.map((entry) => JSON.stringify(entry, inOrder)).sort() : [];
  }
  return found;
}

/** Sorts the keys of tables, because the lifecycle writes them in alphabetical order. */
function inOrder(_key: string, value: unknown): unknown {
  const isTable = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isTable ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) : value;
}
