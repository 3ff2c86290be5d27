import type { IncomingHttpHeaders } from 'node:http';
import { DeployError } from '../core/errors.ts';

/**
 * Refuses requests that a page of another site made a browser send, because browsers add Basic credentials by
 * themselves. Tools are sub-domains of this server, so `same-site` is refused too.
 *
 * @throws DeployError `CROSS_SITE`
 * @see https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header
 */
export function assertSameSite(headers: IncomingHttpHeaders, publicUrl: string): void {
  const site = headers['sec-fetch-site'];
  const isSame = site === undefined || site === 'same-origin' || site === 'none';
  // DNS rebinding: the browser thinks that it is the same site, but the origin is not the public address.
  if (isSame && isOwn(headers.origin, publicUrl)) return;
  throw new DeployError(
    'CROSS_SITE',
    'This request comes from a page of another site.',
    'Use git, curl or a page of this server.',
  );
}

/** Programs send no Origin. Browsers send one with everything but a plain GET. */
function isOwn(origin: string | undefined, publicUrl: string): boolean {
  return origin === undefined || origin === URL.parse(publicUrl)?.origin;
}
