import { DeployError } from '../../../core/errors.ts';
import { byDigest, type ImageReference, parseReference } from '../../registry/image-reference.ts';
import type { Registry } from '../../registry/registry.ts';

/** The image that a build runs in. */
export interface BuilderImage {
  /** Names the image by digest, so that all containers of a build run the same image. */
  readonly reference: string;
  /** The user that builds run as, from the image's variables `CNB_USER_ID` and `CNB_GROUP_ID`. */
  readonly user: { readonly uid: number; readonly gid: number };
}

const freshMs = 60_000;

/**
 * Looks up the builder image in its registry. Uses the registry's answer for a minute, and then asks again. If the
 * registry does not answer then, uses its old answer.
 *
 * @see https://github.com/buildpacks/spec/blob/main/platform.md#build-image
 */
export class BuilderImages {
  readonly #open: (host: string) => Registry;
  #known: { readonly text: string; readonly image: BuilderImage; readonly atMs: number } | null = null;

  constructor(open: (host: string) => Registry) {
    this.#open = open;
  }

  /**
   * Returns the facts about the builder image.
   *
   * @param text - A reference to an image, as in the setting builder_image.
   * @throws DeployError `BAD_IMAGE` if the text is no reference; `BUILDER_IMAGE` if the image does not exist or is no
   * builder image; `REGISTRY_UNAVAILABLE` if the registry does not answer and there is no earlier answer;
   * `REGISTRY_REFUSED` if the registry refuses the request.
   */
  async find(text: string, signal: AbortSignal): Promise<BuilderImage> {
    const known = this.#known?.text === text ? this.#known : null;
    if (known !== null && performance.now() - known.atMs < freshMs) return known.image;
    const reference = parseReference(text);
    try {
      const image = await this.#ask(reference, text, signal);
      this.#known = { text, image, atMs: performance.now() };
      return image;
    } catch (error) {
      const isAway = error instanceof DeployError && error.code === 'REGISTRY_UNAVAILABLE';
      if (isAway && known !== null) return known.image;
      throw error;
    }
  }

  async #ask(reference: ImageReference, text: string, signal: AbortSignal): Promise<BuilderImage> {
    const registry = this.#open(reference.host);
    const facts = await registry.facts(reference.name, reference.digest ?? reference.tag ?? 'latest', signal);
    if (facts === null) throw unusable(text, 'its registry does not have it');
    const [uid, gid] = [facts.environment['CNB_USER_ID'], facts.environment['CNB_GROUP_ID']].map(Number);
    // Also refuse 0, because builds must not run as root.
    if (!uid || !gid) {
      throw unusable(text, 'it does not set CNB_USER_ID and CNB_GROUP_ID, so it is not a builder image');
    }
    return { reference: byDigest(reference, facts.digest), user: { uid, gid } };
  }
}

function unusable(text: string, why: string): DeployError {
  return new DeployError(
    'BUILDER_IMAGE',
    `the builder image ${text} cannot be used: ${why}`,
    'This is not your tool’s fault. Operators: check the setting builder_image; deploy/builder/build-images makes such an image.',
  );
}
