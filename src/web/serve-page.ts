import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type LandingFacts, landingHtml, landingText } from './landing-page.ts';
import { STYLE } from './style-sheet.ts';

/** Allows only the style sheet of this server: no script, no frame, no form. */
const CONTENT_SECURITY_POLICY =
  "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** Answers a GET or HEAD request for one of the public pages. */
export function servePage(
  { request, response }: { request: IncomingMessage; response: ServerResponse },
  page: 'landing' | 'style',
  facts: LandingFacts,
): void {
  const isHtml = prefersHtml(request.headers.accept);
  if (page === 'style') send(request, response, 'text/css; charset=utf-8', STYLE);
  else if (isHtml) send(request, response, 'text/html; charset=utf-8', landingHtml(facts));
  else send(request, response, 'text/plain; charset=utf-8', landingText(facts));
}

function send(request: IncomingMessage, response: ServerResponse, type: string, text: string): void {
  const body = Buffer.from(text);
  const tag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`;
  const isKnown = request.headers['if-none-match'] === tag;
  response.writeHead(isKnown ? 304 : 200, {
    ETag: tag,
    Vary: 'Accept',
    'Cache-Control': 'no-cache',
    'Content-Security-Policy': CONTENT_SECURITY_POLICY,
    'Referrer-Policy': 'no-referrer',
    'X-Content-Type-Options': 'nosniff',
    'X-Frame-Options': 'DENY',
    ...(isKnown ? {} : { 'Content-Type': type, 'Content-Length': body.length }),
    ...(request.complete ? {} : { Connection: 'close' }),
  });
  response.end(request.method === 'HEAD' || isKnown ? undefined : body);
}

/**
 * True if the client names text/html in `Accept`, as browsers do. curl and other programs accept anything, and get
 * plain text.
 */
function prefersHtml(accept: string | undefined): boolean {
  return /\btext\/html\b(?!\s*;\s*q=0(?:\.0*)?(?:\s*,|\s*$))/i.test(accept ?? '');
}
