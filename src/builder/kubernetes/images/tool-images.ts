import type { Log } from '../../../core/log/log.ts';
import type { ToolName } from '../../../core/names.ts';
import { mebibytes } from '../../../core/text/mebibytes.ts';
import type { Artifact } from '../../../core/types.ts';
import { artifactTooLarge, promotedGone } from '../../build-failures.ts';
import { byDigest } from '../../registry/image-reference.ts';
import type { Registry } from '../../registry/registry.ts';
import { assertRunnable, type ProcessRequests, requestedProcesses } from '../../source/components.ts';
import { repositoriesOf, type ToolRepositories } from '../job/build-names.ts';
import { readLabels, topLayerOf } from './exported-image.ts';

/** The tag of the newest image of a tool. */
export const NEWEST = 'latest';
/** Matches the tags of releases, such as `v42`. */
const VERSION = /^v[0-9]+$/;

export interface ImagesOptions {
  /** Where images of tools are stored: `host[:port][/path]`. */
  readonly registry: string;
  /** True if the registry is a Harbor, in which the first part of a repository's name is the name of a project. */
  readonly isHarbor: boolean;
  readonly open: (host: string) => Registry;
  readonly maxBytes: number;
  readonly mostProcesses: number;
  readonly log: Log;
}

/**
 * The images of tools in the registry. Each build has one image, named by its digest. People and this server find the
 * image by its tags: the id of the build, `vN` for the release vN, and `latest` for the tool's newest image.
 */
export class ToolImages {
  readonly #options: ImagesOptions;

  constructor(options: ImagesOptions) {
    this.#options = options;
  }

  repositories(tool: ToolName): ToolRepositories {
    return repositoriesOf(this.#options.registry, tool, this.#options.isHarbor);
  }

  registry(tool: ToolName): Registry {
    return this.#options.open(this.repositories(tool).host);
  }

  /**
   * Makes an artifact of the image that a build exported. If this throws, the caller removes the image.
   *
   * @throws DeployError `NO_PROCESS`, `TOO_MANY_PROCESSES` or `COMMANDS_TOO_LONG`, see `assertRunnable`;
   * `BUILD_TOO_LARGE` if the image is larger than `artifact_size`; `BUILD_FAILED` if a buildpack defined an invalid
   * process type.
   */
  async artifactOf(
    tool: ToolName,
    made: {
      readonly id: string;
      readonly digest: string;
      readonly source: ProcessRequests;
      readonly warn: (text: string) => void;
    },
    signal: AbortSignal,
  ): Promise<Artifact> {
    const { id, digest, source } = made;
    const repositories = this.repositories(tool);
    const facts = await this.registry(tool).facts(repositories.image, digest, signal);
    if (facts === null) throw new Error(`the registry has lost the image ${digest} of build ${id}`);
    const { processes: built, buildpacks } = readLabels(facts.labels);
    const requested = requestedProcesses(built, source, made.warn);
    assertRunnable(requested.processes, this.#options.mostProcesses);
    if (facts.bytes > this.#options.maxBytes) {
      const largest = facts.largest.map((bytes) => `a layer of ${mebibytes(bytes)}`).join(', ');
      throw artifactTooLarge(this.#options.maxBytes, facts.bytes, largest);
    }
    const reference = byDigest({ host: repositories.host, name: repositories.image }, digest);
    return { id, kind: 'image', reference, ...requested, buildpacks, bytes: facts.bytes };
  }

  /** Whether the images of the tool with these digests were built on the same run image. */
  async haveSameBase(tool: ToolName, digests: readonly string[], signal: AbortSignal): Promise<boolean> {
    const { image } = this.repositories(tool);
    const facts = digests.map((digest) => this.registry(tool).facts(image, digest, signal));
    const layers = (await Promise.all(facts)).map((known) => topLayerOf(known?.labels ?? {}));
    return layers.every((layer) => layer !== null && layer === layers[0]);
  }

  /**
   * Copies the image of an artifact of the tool `from` into the repository of `tool`, with the tag `id`. The copy has
   * the same digest.
   *
   * @throws DeployError `ARTIFACT_GONE` if the image was deleted.
   */
  async adopt(
    { id, tool, from }: { readonly id: string; readonly tool: ToolName; readonly from: ToolName },
    artifact: Artifact,
    signal: AbortSignal,
  ): Promise<Artifact> {
    const digest = artifact.reference.slice(artifact.reference.indexOf('@') + 1);
    const { host, image } = this.repositories(tool);
    const source = this.repositories(from).image;
    if (!(await this.registry(tool).copy(source, digest, { to: image, tag: id }, signal)))
      throw promotedGone(from, tool);
    return { ...artifact, id, reference: byDigest({ host, name: image }, digest) };
  }

  /** Gives the image of an artifact the tag of a release, such as `v42` for version 42. */
  async tag(tool: ToolName, artifact: Artifact, version: number, signal: AbortSignal): Promise<void> {
    const digest = artifact.reference.slice(artifact.reference.indexOf('@') + 1);
    await this.registry(tool).tag(this.repositories(tool).image, digest, `v${version}`, signal);
  }

  /**
   * Deletes the image of a build with all its tags. Does nothing if the image does not exist, or if it is also the
   * image of another build that is kept: two rebases onto one run image make the same image, and so do two promotions
   * of a release.
   */
  async remove(
    tool: ToolName,
    id: string,
    isKept: (build: string) => boolean,
    signal: AbortSignal,
  ): Promise<void> {
    const { image } = this.repositories(tool);
    const registry = this.registry(tool);
    const digest = await registry.digestOf(image, id, signal);
    if (digest === null) return;
    for (const tag of await registry.tags(image, signal)) {
      if (tag === id || tag === NEWEST || VERSION.test(tag) || !isKept(tag)) continue;
      if ((await registry.digestOf(image, tag, signal)) === digest) return;
    }
    await this.#delete(tool, image, digest, signal);
  }

  /** Deletes the images of builds for which `isForgotten` returns true, unless another build needs the same image. */
  async removeForgotten(
    tool: ToolName,
    isForgotten: (build: string) => boolean,
    signal: AbortSignal,
  ): Promise<void> {
    const { image } = this.repositories(tool);
    const tags = await this.registry(tool).tags(image, signal);
    for (const tag of tags) {
      if (tag !== NEWEST && !VERSION.test(tag) && isForgotten(tag))
        await this.remove(tool, tag, (other) => !isForgotten(other), signal);
    }
  }

  /** Deletes all images and the cache of a tool. */
  async forget(tool: ToolName, signal: AbortSignal): Promise<void> {
    const { image, cache } = this.repositories(tool);
    const registry = this.registry(tool);
    for (const name of [image, cache]) {
      const tags = await registry.tags(name, signal);
      const digests = await Promise.all(tags.map((tag) => registry.digestOf(name, tag, signal)));
      for (const digest of new Set(digests)) {
        if (digest !== null) await this.#delete(tool, name, digest, signal);
      }
    }
  }

  async cacheDigest(tool: ToolName, signal: AbortSignal): Promise<string | null> {
    return await this.registry(tool).digestOf(this.repositories(tool).cache, NEWEST, signal);
  }

  /**
   * Deletes the cache image of the tool that has this digest. Does nothing if the digest is null, or if this image is
   * still the newest: the tag `latest` names it.
   */
  async removeOldCache(tool: ToolName, digest: string | null, signal: AbortSignal): Promise<void> {
    if (digest === null || digest === (await this.cacheDigest(tool, signal))) return;
    await this.#delete(tool, this.repositories(tool).cache, digest, signal);
  }

  async #delete(tool: ToolName, name: string, digest: string, signal: AbortSignal): Promise<void> {
    const isDone = await this.registry(tool).delete(name, digest, signal);
    if (!isDone) this.#options.log.warn({ tool, digest }, 'the registry does not allow images to be deleted');
  }
}
