import type { IncomingHttpHeaders } from 'node:http';
import { DeployError } from '../core/errors.ts';

/**
 * Refuses what a page of another site made a browser send: browsers add Basic credentials by themselves.
 * Tools live under sub-domains of this server, so even `same-site` is a stranger.
 *
 * @throws DeployError `CROSS_SITE`
 * @see https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header
 */
export function assertSameSite(headers: IncomingHttpHeaders, publicUrl: string): void {
  const site = headers['sec-fetch-site'];
  const isSame = site === undefined || site === 'same-origin' || site === 'none';
  // A name that was bound anew to this address is the same site for a browser, and never the public address.
  if (isSame && isOwn(headers.origin, publicUrl)) return;
  throw new DeployError(
    'CROSS_SITE',
    'This request comes from a page of another site.',
    'Use git, curl or a page of this server.',
  );
}

/** Programs send no Origin; browsers do, with everything but a plain GET. */
function isOwn(origin: string | undefined, publicUrl: string): boolean {
  return origin === undefined || origin === URL.parse(publicUrl)?.origin;
}
