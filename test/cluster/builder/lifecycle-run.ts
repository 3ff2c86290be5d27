import {
  chmod,
  chown,
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
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { parse } from 'smol-toml';
import { z } from 'zod';
import { escapeId } from '../../../src/builder/buildpack-api/layer-environment.ts';

const cache = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache');
const binary = join(process.env['CLUSTER_CACHE'] ?? join(cache, 'local-cluster'), 'bin/lifecycle');

/** The lifecycle refuses to run as root. */
const UID = 65_534;

export interface LifecycleResult {
  /** Ids of the buildpacks, in order. */
  readonly group: string[];
  readonly processes: { type: string; command: string[]; isDefault: boolean }[];
  /** The source folder after the build. */
  readonly workspace: string;
  readonly layers: string;
  readonly output: string;
}

const metadata = z.object({
  'buildpack-default-process-type': z.string().optional(),
  buildpacks: z.array(z.object({ id: z.string() })),
  processes: z
    .array(z.object({ type: z.string(), command: z.array(z.string()), args: z.array(z.string()).optional() }))
    .default([]),
});

/** Runs the detect and build phases of the real Cloud Native Buildpacks lifecycle on this machine, without images. */
export class Lifecycle implements AsyncDisposable {
  readonly #root: string;
  readonly #buildpacks: string;
  #runs = 0;

  private constructor(root: string) {
    this.#root = root;
    this.#buildpacks = join(root, 'buildpacks');
  }

  /**
   * @param buildpacks - A folder like the product's: `NAME/buildpack.toml` and `order.toml`.
   * @throws Error if the lifecycle is not built: `cluster up` builds it.
   */
  static async open(buildpacks: string): Promise<Lifecycle> {
    const lifecycle = new Lifecycle(await mkdtemp(join(tmpdir(), 'lifecycle-')));
    const root = lifecycle.#root;
    await chmod(root, 0o755);
    await mkdir(join(root, 'bin'));
    // A copy, because another user cannot pass through the home folder of root.
    await copyFile(binary, join(root, 'bin/lifecycle'));
    await chmod(join(root, 'bin/lifecycle'), 0o755);
    for (const phase of ['detector', 'builder']) await symlink('lifecycle', join(root, 'bin', phase));
    for (const name of await readdir(buildpacks)) {
      const about = await readFile(join(buildpacks, name, 'buildpack.toml'), 'utf8').catch(() => null);
      if (about === null) continue;
      const { buildpack } = z
        .object({ buildpack: z.object({ id: z.string(), version: z.string() }) })
        .parse(parse(about));
      const target = join(lifecycle.#buildpacks, escapeId(buildpack.id), buildpack.version);
      await cp(join(buildpacks, name), target, { recursive: true, dereference: true });
    }
    await copyFile(join(buildpacks, 'order.toml'), join(root, 'order.toml'));
    return lifecycle;
  }

  /** Detects and builds a folder of files; null if no group of buildpacks takes part. */
  async run(
    source: string,
    variables: Readonly<Record<string, string>> = {},
  ): Promise<LifecycleResult | null> {
    this.#runs += 1;
    const place = join(this.#root, `run-${this.#runs}`);
    const [workspace, layers, platform, tmp] = ['workspace', 'layers', 'platform', 'tmp'].map((name) =>
      join(place, name),
    ) as [string, string, string, string];
    await cp(source, workspace, { recursive: true, verbatimSymlinks: true });
    for (const folder of [layers, join(platform, 'env'), tmp]) await mkdir(folder, { recursive: true });
    for (const [name, value] of Object.entries(variables))
      await writeFile(join(platform, 'env', name), value);
    await giveTo(place);
    const phase = (name: string, argv: string[]) =>
      execa(
        join(this.#root, 'bin', name),
        [
          '-app',
          workspace,
          '-layers',
          layers,
          '-platform',
          platform,
          '-buildpacks',
          this.#buildpacks,
          '-no-color',
          ...argv,
        ],
        {
          cwd: place,
          env: {
            CNB_PLATFORM_API: '0.14',
            PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
            HOME: tmp,
            TMPDIR: tmp,
          },
          extendEnv: false,
          all: true,
          reject: false,
          ...(process.getuid?.() === 0 ? { uid: UID, gid: UID } : {}),
        },
      );
    const detected = await phase('detector', ['-order', join(this.#root, 'order.toml')]);
    // 20: no group passed (https://github.com/buildpacks/spec/blob/main/platform.md#detector)
    if (detected.exitCode === 20) return null;
    if (detected.exitCode !== 0) throw new Error(`detector exited ${detected.exitCode}: ${detected.all}`);
    const built = await phase('builder', []);
    if (built.exitCode !== 0) throw new Error(`builder exited ${built.exitCode}: ${built.all}`);
    const result = metadata.parse(parse(await readFile(join(layers, 'config/metadata.toml'), 'utf8')));
    return {
      group: result.buildpacks.map((buildpack) => buildpack.id),
      processes: result.processes.map(({ type, command, args }) => ({
        type,
        command: [...command, ...(args ?? [])],
        isDefault: type === result['buildpack-default-process-type'],
      })),
      workspace,
      layers,
      output: `${detected.all}\n${built.all}`,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#root, { recursive: true, force: true });
  }
}

async function giveTo(folder: string): Promise<void> {
  if (process.getuid?.() !== 0) return;
  await chown(folder, UID, UID);
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isSymbolicLink()) await chown(join(entry.parentPath, entry.name), UID, UID);
  }
}
