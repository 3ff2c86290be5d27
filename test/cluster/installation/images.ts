import { createHash } from 'node:crypto';
import { cp, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { buildah, builderImage, registry, registryHost } from '../images.ts';

const root = resolve(import.meta.dirname, '../../..');

/** The files that the Dockerfile copies. */
const PARTS = ['Dockerfile', 'package.json', 'package-lock.json', '.npmrc', 'LICENSE', 'README.md'];
const FOLDERS = ['src', 'hooks', 'buildpacks'];

/** Makes the image of this server in the cluster's registry. */
export async function serverImage(): Promise<string> {
  return await image('toolforge-push', join(root, 'Dockerfile'), root, [...PARTS, ...FOLDERS]);
}

/** An image with slapd. */
export async function slapdImage(): Promise<string> {
  const file = join(import.meta.dirname, 'slapd.Dockerfile');
  return await image('test/slapd', file, dirname(file), ['slapd.Dockerfile']);
}

/** The product's builder with one more buildpack, which runs the source's build.sh if there is one. */
export async function builderWithScript(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'buildpacks-'));
  try {
    await buildpacksWithScript(folder);
    return await builderImage({ buildpacks: folder });
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Fills a folder with the buildpacks of `builderWithScript`. */
export async function buildpacksWithScript(folder: string): Promise<void> {
  await cp(join(root, 'buildpacks'), folder, { recursive: true, dereference: true });
  await cp(join(root, 'test/support/buildpacks'), folder, { recursive: true });
  const order = join(folder, 'order.toml');
  await writeFile(order, SCRIPT + (await readFile(order, 'utf8')));
}

const SCRIPT = `[[order]]
[[order.group]]
id = "test/script"
version = "1.0.0"
[[order.group]]
id = "toolforge/procfile"
version = "0.1.0"
optional = true

`;

/**
 * Builds and pushes an image, unless the registry already has it from the same files.
 *
 * @returns the reference.
 */
async function image(
  name: string,
  dockerfile: string,
  context: string,
  parts: readonly string[],
): Promise<string> {
  if (registryHost === '') throw new Error('CLUSTER_REGISTRY is not set: this suite needs the cluster');
  const hash = createHash('sha256');
  for (const part of parts) await add(hash, context, part);
  const tag = `test-${hash.digest('hex').slice(0, 12)}`;
  const reference = `${registryHost}/${name}:${tag}`;
  if ((await registry.digestOf(name, tag, AbortSignal.timeout(10_000))) !== null) return reference;
  // The local name is always the same, so that old images are not kept.
  const local = `localhost/${name}:test`;
  await buildah('build', '--layers', '--isolation', 'chroot', '--file', dockerfile, '--tag', local, context);
  await buildah('push', '--tls-verify=false', local, `docker://${reference}`);
  return reference;
}

async function add(hash: ReturnType<typeof createHash>, context: string, part: string): Promise<void> {
  const path = join(context, part);
  if ((await stat(path)).isDirectory()) {
    for (const name of (await readdir(path)).sort()) await add(hash, context, join(part, name));
    return;
  }
  hash.update(part).update(await readFile(path));
}
