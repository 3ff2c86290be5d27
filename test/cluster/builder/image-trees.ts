import { chmod, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeStack } from '../../../src/stack/stacks.ts';
import { run } from '../../support/server.ts';
import { builderImage, registryHost, runImage, storageDriver } from '../images.ts';

/** The files of the two images that builds and tools use in the cluster, as folders of this machine. Needs root. */
export class ImageTrees implements AsyncDisposable {
  readonly #root: string;
  readonly #containers: readonly string[];

  private constructor(root: string, containers: readonly string[]) {
    this.#root = root;
    this.#containers = containers;
  }

  static async mount(): Promise<ImageTrees> {
    const root = await mkdtemp(join(tmpdir(), 'image-trees-'));
    await chmod(root, 0o711);
    const containers: string[] = [];
    const images = { build: await builderImage(), run: `${registryHost}/${await runImage()}` };
    for (const [name, image] of Object.entries(images)) {
      const container = await command('buildah', 'from', '--tls-verify=false', '--pull=ifmissing', image);
      containers.push(container);
      const folder = join(root, name);
      await mkdir(folder);
      // Only root may enter the folder in which buildah mounts the image.
      await command('mount', '--bind', await command('buildah', 'mount', container), folder);
    }
    return new ImageTrees(root, containers);
  }

  /** The root folder of the image in which builds run. */
  get build(): string {
    return join(this.#root, 'build');
  }

  /** The root folder of the image in which tools run. */
  get run(): string {
    return join(this.#root, 'run');
  }

  /** Makes a stack of these trees in a data folder. */
  async stackIn(data: string): Promise<void> {
    const folder = join(data, 'stacks/trixie-1');
    await mkdir(join(folder, 'trees'), { recursive: true });
    await symlink(this.build, join(folder, 'trees/build'));
    await symlink(this.run, join(folder, 'trees/run'));
    await describeStack(folder, { id: 'trixie-1', name: 'trixie', version: 1, packages: '', madeAt: 0 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const folder of [this.build, this.run]) await command('umount', folder);
    await command('buildah', 'rm', ...this.#containers);
    await rm(this.#root, { recursive: true });
  }
}

async function command(program: 'buildah' | 'mount' | 'umount', ...words: string[]): Promise<string> {
  const options = program === 'buildah' ? ['--storage-driver', await storageDriver()] : [];
  const { exitCode, stdout, stderr } = await run(program, [...options, ...words]);
  if (exitCode !== 0) throw new Error(`${program} ${words[0]}: ${stderr}`);
  return stdout.trim();
}
