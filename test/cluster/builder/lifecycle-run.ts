import {
  chmod,
  copyFile,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { parse, stringify } from 'smol-toml';
import { z } from 'zod';
import { platformVariables } from '../../../src/builder/buildpack-api/build-mounts.ts';
import { definedProcess } from '../../../src/builder/buildpack-api/launch-processes.ts';
import { escapeId } from '../../../src/builder/buildpack-api/layer-environment.ts';
import { layerFolder, readLayers } from '../../../src/builder/buildpack-api/layers.ts';
import { removeTree } from '../../../src/core/disk/remove-tree.ts';
import type { Mount, Sandbox } from '../../../src/sandbox/sandbox.ts';
import type { ImageTrees } from './image-trees.ts';

const MIB = 1024 * 1024;
/** The variables of a process before the launcher adds those of the layers. */
export const launchBase = { PATH: '/usr/local/bin:/usr/bin:/bin', HOME: '/home/tool', LANG: 'C.UTF-8' };

export interface LifecycleResult {
  /** Ids of the buildpacks, in order. */
  readonly group: string[];
  readonly processes: { type: string; command: string[]; isDefault: boolean }[];
  /** The folder of this run. */
  readonly place: string;
  /** The source folder after the build. */
  readonly workspace: string;
  readonly layers: string;
  /** The environment with which the launcher starts a process of this type. */
  environmentOf(type: string): Promise<Record<string, string>>;
}

const metadata = z.looseObject({
  'buildpack-default-process-type': z.string().optional(),
  buildpacks: z.array(z.looseObject({ id: z.string() })),
  processes: z
    .array(
      z.looseObject({
        type: z.string(),
        command: z.array(z.string()),
        args: z.array(z.string()).optional(),
        'working-dir': z.string().optional(),
      }),
    )
    .default([]),
});

/**
 * Runs the detect and build phases of the real Cloud Native Buildpacks lifecycle on this machine. They run in the
 * sandbox of the embedded builder, on the same Debian tree, so all paths are equal.
 */
export class Lifecycle implements AsyncDisposable {
  readonly #root: string;
  readonly #sandbox: Sandbox;
  readonly #trees: ImageTrees;
  #runs = 0;

  private constructor(root: string, sandbox: Sandbox, trees: ImageTrees) {
    this.#root = root;
    this.#sandbox = sandbox;
    this.#trees = trees;
  }

  /** @param buildpacks - A folder like the product's: `NAME/buildpack.toml` and `order.toml`. */
  static async open(buildpacks: string, sandbox: Sandbox, trees: ImageTrees): Promise<Lifecycle> {
    const root = await mkdtemp(join(tmpdir(), 'lifecycle-'));
    await chmod(root, 0o755);
    for (const name of await readdir(buildpacks)) {
      const about = await readFile(join(buildpacks, name, 'buildpack.toml'), 'utf8').catch(() => null);
      if (about === null) continue;
      const { buildpack } = z
        .object({ buildpack: z.object({ id: z.string(), version: z.string() }) })
        .parse(parse(about));
      const target = join(root, 'buildpacks', escapeId(buildpack.id), buildpack.version);
      await cp(join(buildpacks, name), target, { recursive: true, dereference: true });
    }
    await copyFile(join(buildpacks, 'order.toml'), join(root, 'order.toml'));
    return new Lifecycle(root, sandbox, trees);
  }

  /** Detects and builds a folder of files; null if no group of buildpacks takes part. */
  async run(
    source: string,
    variables: Readonly<Record<string, string>> = {},
  ): Promise<LifecycleResult | null> {
    this.#runs += 1;
    const place = join(this.#root, `run-${this.#runs}`);
    const inPlace = (name: string) => join(place, name);
    await cp(source, inPlace('workspace'), { recursive: true, verbatimSymlinks: true });
    for (const name of ['layers', 'platform/env', 'tmp', 'home', 'process']) {
      await mkdir(inPlace(name), { recursive: true });
    }
    for (const [name, value] of Object.entries(platformVariables(variables)))
      await writeFile(join(place, 'platform/env', name), value);
    const folders = ['workspace', 'layers', 'tmp', 'home'].map(inPlace);
    await this.#sandbox.own(folders, this.#runs);
    const detected = await this.#start(place, ['detector', '-order', '/cnb/order.toml'], 'phase');
    // 20: no group passed (https://github.com/buildpacks/spec/blob/main/platform.md#detector)
    if (detected.code === 20) return null;
    if (detected.code !== 0) throw new Error(`detector exited ${detected.code}: ${detected.output}`);
    const built = await this.#start(place, ['builder'], 'phase');
    if (built.code !== 0) throw new Error(`builder exited ${built.code}: ${built.output}`);
    const file = inPlace('layers/config/metadata.toml');
    const result = metadata.parse(parse(await readFile(file, 'utf8')));
    // The exporter puts only launch layers into an image.
    for (const { id } of result.buildpacks) {
      for (const layer of await readLayers(inPlace('layers'), id)) {
        if (!layer.isLaunch) await removeTree(layerFolder(inPlace('layers'), layer));
      }
    }
    return {
      group: result.buildpacks.map((buildpack) => buildpack.id),
      // Reads the processes as the builder in a cluster does.
      processes: result.processes.map((process) => {
        const isDefault = process.type === result['buildpack-default-process-type'];
        const { type, command } = definedProcess('the lifecycle', process, isDefault);
        return { type, command: [...command], isDefault };
      }),
      place,
      workspace: inPlace('workspace'),
      layers: inPlace('layers'),
      environmentOf: async (type) => {
        // The launcher has no command that prints the environment of a process. So the process prints it.
        const processes = result.processes.map((process) => ({ ...process, command: ['env'], args: ['-0'] }));
        await writeFile(file, stringify({ ...result, processes }));
        await rm(inPlace(`process/${type}`), { force: true });
        await symlink('/cnb/lifecycle/launcher', inPlace(`process/${type}`));
        const { code, output } = await this.#start(place, [`/cnb/process/${type}`], 'launch');
        if (code !== 0) throw new Error(`the launcher exited ${code}: ${output}`);
        return Object.fromEntries(
          output
            .split('\0')
            // bwrap sets PWD.
            .filter((line) => line !== '' && !line.startsWith('PWD='))
            .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
        );
      },
    };
  }

  /** Runs a phase of the lifecycle, or a process of the result. */
  async #start(place: string, argv: readonly string[], kind: 'phase' | 'launch') {
    const mounts: Mount[] = [
      { source: join(this.#trees.build, 'cnb/lifecycle'), target: '/cnb/lifecycle', isWritable: false },
      { source: join(this.#trees.build, 'cnb/run-image'), target: '/cnb/run-image', isWritable: false },
      { source: join(this.#root, 'buildpacks'), target: '/cnb/buildpacks', isWritable: false },
      { source: join(this.#root, 'order.toml'), target: '/cnb/order.toml', isWritable: false },
      { source: join(place, 'platform'), target: '/platform', isWritable: false },
      { source: join(place, 'process'), target: '/cnb/process', isWritable: false },
      { source: join(place, 'workspace'), target: '/workspace', isWritable: true },
      { source: join(place, 'layers'), target: '/layers', isWritable: true },
      { source: join(place, 'tmp'), target: '/tmp', isWritable: true },
      { source: join(place, 'home'), target: '/home/tool', isWritable: true },
    ];
    const [name = '', ...rest] = argv;
    const words = ['-app', '/workspace', '-layers', '/layers', '-platform', '/platform', '-no-color'];
    const phase = [`/cnb/lifecycle/${name}`, ...words, '-buildpacks', '/cnb/buildpacks', ...rest];
    const started = this.#sandbox.start({
      name: `${kind} ${name}`,
      argv: kind === 'phase' ? phase : argv,
      env: {
        ...(kind === 'phase'
          ? {
              PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
              HOME: '/home/tool',
              TMPDIR: '/tmp',
            }
          : launchBase),
        CNB_PLATFORM_API: '0.14',
      },
      cwd: '/workspace',
      mounts,
      tree: kind === 'phase' ? this.#trees.build : this.#trees.run,
      toolNumber: this.#runs,
      limits: { processes: 512, memoryBytes: 4096 * MIB, fileBytes: 4096 * MIB },
      publish: null,
    });
    const output = await text(started.output);
    return { ...(await started.exited), output };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#root, { recursive: true, force: true });
  }
}
