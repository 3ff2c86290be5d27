import { createHash } from 'node:crypto';
import { z } from 'zod';
import { DeployError } from '../../core/errors.ts';
import {
  type RegistryCall,
  type RegistryOptions,
  RegistryRequests,
  registryUnavailable,
} from './registry-requests.ts';

const layer = z.object({ digest: z.string(), size: z.number() });
const manifest = z.object({ config: layer, layers: z.array(layer) });
const index = z.object({
  manifests: z.array(
    layer.extend({ platform: z.object({ os: z.string(), architecture: z.string() }).optional() }),
  ),
});
const imageConfig = z.object({
  config: z
    .object({
      Env: z.array(z.string()).nullish(),
      Labels: z.record(z.string(), z.string()).nullish(),
    })
    .nullish(),
});

/** The facts about an image that the registry tells without a download of the image. */
export interface ImageFacts {
  /** The digest of the index, if the reference names an index; otherwise the digest of the manifest. */
  readonly digest: string;
  /** The size of the image in bytes: its configuration and its compressed layers. */
  readonly bytes: number;
  /** The sizes in bytes of the three largest layers of the image. The largest is the first. */
  readonly largest: readonly number[];
  readonly labels: Readonly<Record<string, string>>;
  readonly environment: Readonly<Record<string, string>>;
}

const INDEXES = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
];
const ACCEPT = [
  ...INDEXES,
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
].join(', ');
/** An answer of the registry with more characters than this is refused. The configuration of an image has a few kB. */
const MAX_BYTES = 4 * 1024 * 1024;
const MAX_TAGS = 10_000;

/**
 * One image registry.
 *
 * @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md
 */
export class Registry {
  readonly #requests: RegistryRequests;
  readonly host: string;

  constructor(options: RegistryOptions) {
    this.host = options.host;
    this.#requests = new RegistryRequests(options);
  }

  /**
   * Checks that the registry answers and accepts the login.
   *
   * @throws DeployError `REGISTRY_UNAVAILABLE` if the registry does not answer; `REGISTRY_REFUSED` if it refuses the
   * login.
   */
  async assertUsable(signal: AbortSignal): Promise<void> {
    const answer = await this.#requests.send({ method: 'GET', path: '', scope: '', signal });
    await answer.body?.cancel();
  }

  /** The digest of the index or manifest that a tag or digest names. Null if the repository has no such image. */
  async digestOf(name: string, reference: string, signal: AbortSignal): Promise<string | null> {
    const answer = await this.#pull('HEAD', name, `manifests/${reference}`, signal);
    if (answer.status === 404) return null;
    if (!answer.ok) throw unexpected(this.host, answer);
    const told = answer.headers.get('docker-content-digest');
    return told ?? (await this.#manifest(name, reference, signal))?.digest ?? null;
  }

  /**
   * The facts of an image. If the reference names an index, takes the image for the processor of this machine. Null if
   * there is no such image.
   */
  async facts(name: string, reference: string, signal: AbortSignal): Promise<ImageFacts | null> {
    const found = await this.#manifest(name, reference, signal);
    if (found === null) return null;
    const one = INDEXES.includes(found.type) ? await this.#ofThisMachine(name, found.text, signal) : found;
    if (one === null) return null;
    const { config, layers } = manifest.parse(JSON.parse(one.text));
    const answer = await this.#pull('GET', name, `blobs/${config.digest}`, signal);
    if (!answer.ok) throw unexpected(this.host, answer);
    const { config: settings } = imageConfig.parse(JSON.parse(await this.#text(answer, signal)));
    const pairs = (settings?.Env ?? []).map((entry) => {
      const at = entry.indexOf('=');
      return [entry.slice(0, at), entry.slice(at + 1)] as const;
    });
    return {
      digest: found.digest,
      bytes: config.size + layers.reduce((sum, { size }) => sum + size, 0),
      largest: layers
        .map(({ size }) => size)
        .sort((a, b) => b - a)
        .slice(0, 3),
      labels: settings?.Labels ?? {},
      environment: Object.fromEntries(pairs),
    };
  }

  /**
   * Copies an image into another repository of this registry, with a tag. The registry copies the layers itself if it
   * can (`mount` of the distribution specification). Otherwise, they go through this server.
   *
   * @returns false if the image does not exist.
   */
  async copy(
    from: string,
    digest: string,
    { to, tag }: { readonly to: string; readonly tag: string },
    signal: AbortSignal,
  ): Promise<boolean> {
    const found = await this.#manifest(from, digest, signal);
    if (found === null) return false;
    const content: unknown = JSON.parse(found.text);
    if (INDEXES.includes(found.type)) {
      for (const one of index.parse(content).manifests)
        if (!(await this.copy(from, one.digest, { to, tag: one.digest }, signal))) return false;
    } else {
      const { config, layers } = manifest.parse(content);
      for (const blob of [config, ...layers]) await this.#copyBlob(from, to, blob, signal);
    }
    await this.#putManifest(to, tag, found, signal);
    return true;
  }

  async #copyBlob(
    from: string,
    to: string,
    { digest, size }: z.infer<typeof layer>,
    signal: AbortSignal,
  ): Promise<void> {
    const known = await this.#pull('HEAD', to, `blobs/${digest}`, signal);
    if (known.ok) return;
    const scope = `repository:${to}:pull,push repository:${from}:pull`;
    const path = `${to}/blobs/uploads/?mount=${digest}&from=${encodeURIComponent(from)}`;
    const begun = await this.#requests.send({ method: 'POST', path, scope, signal });
    await begun.body?.cancel();
    if (begun.status === 201) return;
    const place = begun.headers.get('location');
    if (begun.status !== 202 || place === null) throw unexpected(this.host, begun);
    const blob = await this.#pull('GET', from, `blobs/${digest}`, signal);
    if (!blob.ok || blob.body === null) throw unexpected(this.host, blob);
    // The header `Location` of the answer may be a path or a whole URL, and may have a query.
    const url = new URL(place, 'http://registry');
    url.searchParams.set('digest', digest);
    const answer = await this.#requests.send({
      method: 'PUT',
      path: `${url.pathname.replace(/^\/v2\//, '')}${url.search}`,
      scope,
      headers: { 'Content-Type': 'application/octet-stream', 'Content-Length': String(size) },
      body: blob.body,
      signal,
    });
    await answer.body?.cancel();
    if (!answer.ok) throw unexpected(this.host, answer);
  }

  /** Gives an image one more tag. If the tag exists, moves it. */
  async tag(name: string, digest: string, tag: string, signal: AbortSignal): Promise<void> {
    const found = await this.#manifest(name, digest, signal);
    if (found === null) throw new Error(`there is no image ${name}@${digest} to tag`);
    await this.#putManifest(name, tag, found, signal);
  }

  async #putManifest(
    name: string,
    tag: string,
    found: { readonly type: string; readonly text: string },
    signal: AbortSignal,
  ): Promise<void> {
    const answer = await this.#requests.send({
      method: 'PUT',
      path: `${name}/manifests/${tag}`,
      scope: `repository:${name}:pull,push`,
      headers: { 'Content-Type': found.type },
      body: found.text,
      signal,
    });
    await answer.body?.cancel();
    if (!answer.ok) throw unexpected(this.host, answer);
  }

  /**
   * Deletes an image with all its tags. The registry deletes its layers later, when it collects garbage.
   *
   * @returns false if the registry does not support deleting.
   */
  async delete(name: string, digest: string, signal: AbortSignal): Promise<boolean> {
    const answer = await this.#requests.send({
      method: 'DELETE',
      path: `${name}/manifests/${digest}`,
      scope: `repository:${name}:pull,push,delete`,
      signal,
    });
    await answer.body?.cancel();
    if (answer.ok || answer.status === 404) return true;
    if (answer.status === 405) return false;
    throw unexpected(this.host, answer);
  }

  /** All tags of a repository, or at least the first 10,000 if it has more. Empty if the repository does not exist. */
  async tags(name: string, signal: AbortSignal): Promise<string[]> {
    const tags: string[] = [];
    let last = '';
    while (tags.length < MAX_TAGS) {
      const from = last === '' ? '' : `&last=${encodeURIComponent(last)}`;
      const answer = await this.#pull('GET', name, `tags/list?n=500${from}`, signal);
      if (answer.status === 404) return tags;
      if (!answer.ok) throw unexpected(this.host, answer);
      const page = z
        .object({ tags: z.array(z.string()).nullish() })
        .parse(JSON.parse(await this.#text(answer, signal)));
      const found = page.tags ?? [];
      tags.push(...found);
      const isMore = answer.headers.get('link')?.includes('rel="next"') ?? false;
      if (!isMore || found.length === 0) break;
      last = found.at(-1) ?? '';
    }
    return tags;
  }

  async #manifest(
    name: string,
    reference: string,
    signal: AbortSignal,
  ): Promise<{ digest: string; type: string; text: string } | null> {
    const answer = await this.#pull('GET', name, `manifests/${reference}`, signal);
    if (answer.status === 404) {
      await answer.body?.cancel();
      return null;
    }
    if (!answer.ok) throw unexpected(this.host, answer);
    const text = await this.#text(answer, signal);
    // The digest is computed from the text, because the header with the digest may be wrong.
    const digest = `sha256:${createHash('sha256').update(text).digest('hex')}`;
    if (reference.startsWith('sha256:') && digest !== reference) {
      throw new Error(`the registry ${this.host} gave something else for ${reference}`);
    }
    return { digest, type: (answer.headers.get('content-type') ?? '').replace(/;.*$/, ''), text };
  }

  async #ofThisMachine(name: string, text: string, signal: AbortSignal) {
    const architecture = process.arch === 'x64' ? 'amd64' : process.arch;
    const fitting = index
      .parse(JSON.parse(text))
      .manifests.find(({ platform }) => platform?.os === 'linux' && platform.architecture === architecture);
    return fitting === undefined ? null : await this.#manifest(name, fitting.digest, signal);
  }

  async #text(answer: Response, signal: AbortSignal): Promise<string> {
    let text = '';
    let isTooLarge = false;
    const decoder = new TextDecoder();
    try {
      for await (const chunk of answer.body ?? []) {
        text += decoder.decode(chunk, { stream: true });
        isTooLarge = text.length > MAX_BYTES;
        if (isTooLarge) break;
      }
    } catch (cause) {
      signal.throwIfAborted();
      throw registryUnavailable(this.host, 'its answer broke off', cause);
    }
    if (isTooLarge) throw new Error('an answer of the registry is larger than 4 MiB');
    return text + decoder.decode();
  }

  #pull(method: RegistryCall['method'], name: string, path: string, signal: AbortSignal): Promise<Response> {
    return this.#requests.send({
      method,
      path: `${name}/${path}`,
      scope: `repository:${name}:pull`,
      headers: { Accept: ACCEPT },
      signal,
    });
  }
}

function unexpected(host: string, { status }: Response): DeployError {
  return new DeployError(
    'REGISTRY_REFUSED',
    `the image registry ${host} gave an unexpected answer, status ${status}`,
    'This is not your tool’s fault: tell the operator.',
  );
}
