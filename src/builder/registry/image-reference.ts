import { DeployError } from '../../core/errors.ts';

/** A reference to an image: `host/name:tag@sha256:…`. */
export interface ImageReference {
  /** The host as written, or `docker.io` if the reference names no host. */
  readonly host: string;
  readonly name: string;
  /** The tag as written, or `latest` if the reference has neither tag nor digest. Null if it has only a digest. */
  readonly tag: string | null;
  readonly digest: string | null;
}

// https://github.com/distribution/reference: the first part is a host if it has a dot or a colon, or is localhost.
const HOST =
  /^(localhost(:\d+)?|[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+(:\d+)?|[A-Za-z0-9-]+:\d+|\[[0-9a-fA-F:]+\](:\d+)?)$/;
const PART = '[a-z0-9]+(?:(?:\\.|_{1,2}|-+)[a-z0-9]+)*';
const NAME = new RegExp(`^${PART}(/${PART})*$`);
const DIGEST = /^sha256:[0-9a-f]{64}$/;
const TAG = /^\w[\w.-]{0,127}$/;

/** Parses a reference to an image. @throws DeployError `BAD_IMAGE` if the text is not a reference to an image. */
export function parseReference(text: string): ImageReference {
  const [path = '', digest = null] = text.split('@');
  const slash = path.indexOf('/');
  const first = slash < 0 ? '' : path.slice(0, slash);
  const hasHost = HOST.test(first);
  const rest = hasHost ? path.slice(slash + 1) : path;
  const colon = rest.lastIndexOf(':');
  const name = colon < 0 ? rest : rest.slice(0, colon);
  const tag = colon < 0 ? null : rest.slice(colon + 1);
  const isWell =
    NAME.test(name) && (tag === null || TAG.test(tag)) && (digest === null || DIGEST.test(digest));
  if (!isWell || text.split('@').length > 2) {
    throw new DeployError(
      'BAD_IMAGE',
      `${JSON.stringify(text.slice(0, 200))} is not the name of an image`,
      'Write the image as registry.example.org/name:tag, or with @sha256:DIGEST.',
    );
  }
  return {
    host: hasHost ? first : 'docker.io',
    name: hasHost || name.includes('/') ? name : `library/${name}`,
    tag: tag ?? (digest === null ? 'latest' : null),
    digest,
  };
}

/** `host/name@sha256:…`, which names the same image even after its tags have moved. */
export function byDigest({ host, name }: Pick<ImageReference, 'host' | 'name'>, digest: string): string {
  return `${host}/${name}@${digest}`;
}
