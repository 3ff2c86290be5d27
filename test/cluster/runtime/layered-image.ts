import { createHash } from 'node:crypto';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { execa } from 'execa';

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

interface Manifest {
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

interface ImageConfig {
  readonly rootfs: { readonly diff_ids: readonly string[] };
}

const MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';

export interface LayeredImage {
  /** For example `10.99.0.1:5000`, over plain HTTP. */
  readonly registry: string;
  /** For example `toolforge-buildpack-run:latest`. */
  readonly base: string;
  /** The repository of the new image. */
  readonly repository: string;
  /** The files by absolute path. Those below /cnb are made executable. */
  readonly files: Readonly<Record<string, string>>;
}

/**
 * Adds a layer to a base image, only with the registry's HTTP API, so that tests need no image build.
 * @returns `host/name@sha256:…`
 */
export async function layeredImage(image: LayeredImage): Promise<string> {
  const { registry, base, repository } = image;
  const [name = '', tag = ''] = base.split(':');
  const from = `http://${registry}/v2/${name}`;
  const to = `http://${registry}/v2/${repository}`;
  const manifest = (await (
    await ask(`${from}/manifests/${tag}`, { headers: { accept: MANIFEST } })
  ).json()) as Manifest;
  const config = (await (await ask(`${from}/blobs/${manifest.config.digest}`)).json()) as ImageConfig;
  for (const { digest } of manifest.layers) {
    await ask(`${to}/blobs/uploads/?mount=${digest}&from=${name}`, { method: 'POST' });
  }
  const layer = await tarOf(image.files);
  const layerDigest = await upload(to, layer);
  const newConfig = Buffer.from(
    JSON.stringify({
      ...config,
      history: undefined,
      rootfs: { type: 'layers', diff_ids: [...config.rootfs.diff_ids, layerDigest] },
    }),
  );
  const body = JSON.stringify({
    schemaVersion: 2,
    mediaType: MANIFEST,
    config: {
      mediaType: 'application/vnd.docker.container.image.v1+json',
      size: newConfig.length,
      digest: await upload(to, newConfig),
    },
    layers: [
      ...manifest.layers,
      {
        mediaType: 'application/vnd.docker.image.rootfs.diff.tar',
        size: layer.length,
        digest: layerDigest,
      },
    ],
  });
  const digest = digestOf(Buffer.from(body));
  await ask(`${to}/manifests/${digest}`, { method: 'PUT', body, headers: { 'content-type': MANIFEST } });
  return `${registry}/${repository}@${digest}`;
}

async function upload(repository: string, blob: Buffer): Promise<string> {
  const digest = digestOf(blob);
  const begun = await ask(`${repository}/blobs/uploads/`, { method: 'POST' });
  const place = new URL(begun.headers.get('location') ?? '', repository);
  place.searchParams.set('digest', digest);
  const headers = { 'content-type': 'application/octet-stream' };
  await ask(place.href, { method: 'PUT', body: new Uint8Array(blob), headers });
  return digest;
}

async function tarOf(files: Readonly<Record<string, string>>): Promise<Buffer> {
  const folder = await mkdtemp(join(tmpdir(), 'toolforge-push-layer-'));
  try {
    for (const [path, content] of Object.entries(files)) {
      const place = join(folder, path);
      await mkdir(dirname(place), { recursive: true });
      await writeFile(place, content);
      if (path.startsWith('/cnb/')) await chmod(place, 0o755);
    }
    const flags = ['--owner=1000', '--group=1000', '--mtime=@0', '--sort=name', '-C', folder];
    const top = [...new Set(Object.keys(files).map((path) => path.split('/')[1] ?? ''))];
    const { stdout } = await execa('tar', ['-c', ...flags, ...top], { encoding: 'buffer' });
    return Buffer.from(stdout);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Sends a request. Tries a manifest three times, because another test may still be uploading one of its layers. */
async function ask(url: string, options: RequestInit = {}, tries = 3): Promise<Response> {
  const response = await fetch(url, options);
  if (response.ok) return response;
  if (tries > 1 && response.status === 400 && url.includes('/manifests/')) {
    await wait(1000);
    return await ask(url, options, tries - 1);
  }
  throw new Error(`${options.method ?? 'GET'} ${url}: ${response.status} ${await response.text()}`);
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
