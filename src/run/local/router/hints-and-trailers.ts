import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http';
import { isOrder } from './forwarded-headers.ts';

/** Matches one link of a Link field (RFC 8288 section 3). Commas separate links, except in the target and in quotes. */
const LINK = /<[^<>]*>(?:[^,"]|"[^"]*")*/g;

/**
 * Matches a link that Node.js accepts. Node.js's own check takes exponential time for some other links, so Node.js must
 * get only links that match.
 */
const PLAIN_LINK = /^<[^<>\s]*>(?:\s*;\s*[^;=",\s]+(?:=(?:"[^;"\s]*"|[^;=",\s]*))?)*$/;

/**
 * At most this many links of one `103 Early Hints` are passed on to the client. Each link takes time of the main
 * thread.
 */
const MAX_LINKS = 50;

/**
 * Matches fields that may not be trailers, because they frame or route a message, or control how the message is used
 * (RFC 9110 section 6.5.1).
 */
const NO_TRAILER =
  /^(transfer-encoding|content-.*|trailer|host|connection|keep-alive|te|upgrade|proxy-.*|www-authenticate|authorization|set-cookie|cookie|cache-control|expires|date|age|location|retry-after|vary|warning|pragma|expect|max-forwards|range|if-.*)$/;

/**
 * Passes `103 Early Hints` of a tool on to its client, with only the header field Link. A client of HTTP/1.0 gets no
 * hints.
 *
 * @see https://www.rfc-editor.org/rfc/rfc8297
 */
export function passEarlyHints(outgoing: ClientRequest, response: ServerResponse): void {
  outgoing.on('information', ({ statusCode, headers }) => {
    const links = String(headers['link'] ?? '')
      .matchAll(LINK)
      .take(MAX_LINKS)
      .map(([link]) => link.trim())
      .filter((link) => PLAIN_LINK.test(link))
      .toArray();
    if (statusCode !== 103 || links.length === 0) return;
    if (response.req.httpVersion !== '1.1' || response.headersSent || response.destroyed) return;
    try {
      response.writeEarlyHints({ link: links });
    } catch {
      // Ignore the error: Node.js refuses some values of the field Link, and the client does not need the hint.
    }
  });
}

/** Passes the trailers of a tool's answer on to its client. Must be called before the body is piped. */
export function passTrailers(answer: IncomingMessage, response: ServerResponse): void {
  answer.once('end', () => {
    const trailers = Object.entries(answer.trailersDistinct).flatMap(([name, values = []]) =>
      NO_TRAILER.test(name) || isOrder(name) ? [] : values.map((value): [string, string] => [name, value]),
    );
    try {
      response.addTrailers(trailers);
    } catch {
      // Ignore the error: Node.js reads some trailers that it refuses to write, and the answer is complete without
      // them.
    }
  });
}
