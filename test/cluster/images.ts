import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Registry } from '../../src/builder/registry/registry.ts';
import { run } from '../support/server.ts';

export const registryHost = process.env['CLUSTER_REGISTRY'] ?? '';
const deploy = resolve(import.meta.dirname, '../../deploy/builder');
const productBuildpacks = resolve(import.meta.dirname, '../../buildpacks');

/** The registry of the cluster, with plain HTTP and without login. */
export const registry = new Registry({
  host: registryHost,
  isPlainHttp: true,
  credentials: async () => null,
});

const made = new Map<string, Promise<string>>();

/**
 * Builds and pushes the images that builds run in, unless the registry already has them from the same files.
 *
 * @param options - The product's own buildpacks if none are given.
 * @returns the reference of the builder image.
 */
export function builderImage(options: { readonly buildpacks?: string } = {}): Promise<string> {
  const { buildpacks = productBuildpacks } = options;
  // Tests that run at the same time share one build of the images.
  const making = made.get(buildpacks) ?? makeBuilderImage(buildpacks);
  made.set(buildpacks, making);
  return making;
}

/** The run image that is made together with the builder image: `toolforge-buildpack-run:TAG`. */
export async function runImage(): Promise<string> {
  const tag = (await builderImage()).split(':').at(-1);
  return `toolforge-buildpack-run:${tag}`;
}

/** The storage driver for buildah: overlay if this machine can use it, because vfs copies an image for each instruction. */
export async function storageDriver(): Promise<'overlay' | 'vfs'> {
  const { exitCode } = await run('buildah', ['--storage-driver', 'overlay', 'info']);
  return exitCode === 0 ? 'overlay' : 'vfs';
}

/** Runs `buildah WORDS`. @throws Error if it fails. */
export async function buildah(...words: string[]): Promise<void> {
  const { exitCode, stdout, stderr } = await run('nice', [
    ...['-n', '5', 'buildah', '--storage-driver', await storageDriver()],
    ...words,
  ]);
  if (exitCode !== 0) throw new Error(`buildah ${words[0]}: ${stdout.slice(-4000)}\n${stderr.slice(-4000)}`);
}

async function makeBuilderImage(buildpacks: string): Promise<string> {
  const hash = createHash('sha256');
  for (const folder of [deploy, buildpacks]) await addFolder(hash, folder);
  const tag = `test-${hash.digest('hex').slice(0, 12)}`;
  const name = 'toolforge-buildpack-build';
  if ((await registry.digestOf(name, tag, AbortSignal.timeout(10_000))) === null) {
    const words = ['--plain-http', '--tag', tag, '--buildpacks', buildpacks, registryHost];
    const { exitCode, stdout, stderr } = await run(join(deploy, 'build-images'), words);
    if (exitCode !== 0) throw new Error(`build-images: ${stdout.slice(-2000)}\n${stderr.slice(-2000)}`);
  }
  return `${registryHost}/${name}:${tag}`;
}

async function addFolder(hash: ReturnType<typeof createHash>, folder: string): Promise<void> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries
    // Documentation does not change the image.
    .filter((entry) => entry.isFile() && !entry.name.endsWith('.md'))
    .map((entry) => join(entry.parentPath, entry.name));
  for (const file of files.sort()) hash.update(file.slice(folder.length)).update(await readFile(file));
}
