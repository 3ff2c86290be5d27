import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { execa } from 'execa';
import { parse } from 'smol-toml';
import { productBuildpacks } from '../support/a-builder.ts';

/** A folder with a tool's source, and folders for the output of the buildpack that runs on it. */
export class ASource implements AsyncDisposable {
  readonly folder: string;
  readonly layers: string;
  readonly #root: string;

  private constructor(root: string) {
    this.#root = root;
    this.folder = join(root, 'workspace');
    this.layers = join(root, 'layers');
  }

  static async of(files: Readonly<Record<string, string | Buffer>>): Promise<ASource> {
    const source = new ASource(await mkdtemp(join(tmpdir(), 'source-')));
    await mkdir(source.folder);
    await mkdir(source.layers);
    for (const [path, content] of Object.entries(files)) {
      await mkdir(dirname(join(source.folder, path)), { recursive: true });
      await writeFile(join(source.folder, path), content);
    }
    return source;
  }

  /**
   * Runs bin/detect or bin/build of one of the product's buildpacks as the Buildpack API says, without a sandbox.
   *
   * @param given - The build plan for bin/build.
   */
  async run(
    buildpack: string,
    program: 'detect' | 'build',
    env: Readonly<Record<string, string>> = {},
    given = '',
  ): Promise<{ code: number | undefined; output: string; plan: string }> {
    const plan = join(this.#root, 'plan.toml');
    await writeFile(plan, given);
    const result = await execa(join(productBuildpacks, buildpack, 'bin', program), [], {
      cwd: this.folder,
      env: {
        PATH: '/usr/local/bin:/usr/bin:/bin',
        HOME: this.#root,
        TMPDIR: this.#root,
        LANG: 'C.UTF-8',
        CNB_BUILDPACK_DIR: join(productBuildpacks, buildpack),
        CNB_BUILD_PLAN_PATH: plan,
        CNB_BP_PLAN_PATH: plan,
        CNB_LAYERS_DIR: this.layers,
        ...env,
      },
      extendEnv: false,
      stdin: 'ignore',
      all: true,
      reject: false,
    });
    return { code: result.exitCode, output: result.all, plan: await readFile(plan, 'utf8') };
  }

  /** Reads launch.toml. @returns the command of each process type. */
  async processes(): Promise<Record<string, string[]>> {
    const content = parse(await readFile(join(this.layers, 'launch.toml'), 'utf8'));
    const processes = content['processes'] as { type: string; command: string[] }[];
    return Object.fromEntries(processes.map(({ type, command }) => [type, command]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#root, { recursive: true, force: true });
  }
}
