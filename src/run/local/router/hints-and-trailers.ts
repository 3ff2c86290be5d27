import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http';

/** One link of a Link field (RFC 8288 section 3). Commas separate links, except in the target and in quotes. */
const LINK = /<[^<>]*>(?:[^,"]|"[^"]*")*/g;

/** A link that Node.js accepts. Its own check takes exponential time for some others, so it must never see them. */
const PLAIN_LINK = /^<[^<>\s]*>(?:\s*;\s*[^;=",\s]+(?:=(?:"[^;"\s]*"|[^;=",\s]*))?)*$/;

/** RFC 9110 section 6.5.1: fields that frame or route a message, or that control how it is used, are no trailers. */
const NO_TRAILER =
  /^(transfer-encoding|content-.*|trailer|host|connection|keep-alive|te|upgrade|proxy-.*|www-authenticate|authorization|set-cookie|cookie|cache-control|expires|date|age|location|retry-after|vary|warning|pragma|expect|max-forwards|range|if-.*)$/;

/**
 * Passes `103 Early Hints` of a tool on to its client, with the links and nothing else. A client of HTTP/1.0 gets none.
 *
 * @see https://www.rfc-editor.org/rfc/rfc8297
 */
export function passEarlyHints(outgoing: ClientRequest, response: ServerResponse): void {
  outgoing.on('information', ({ statusCode, headers }) => {
    const links = (String(headers['link'] ?? '').match(LINK) ?? [])
      .map((link) => link.trim())
      .filter((link) => PLAIN_LINK.test(link));
    if (statusCode !== 103 || links.length === 0) return;
    if (response.req.httpVersion !== '1.1' || response.headersSent || response.destroyed) return;
    try {
      response.writeEarlyHints({ link: links });
    } catch {
      // Node.js refuses a link that it does not understand. A hint may be lost.
    }
  });
}

/** Passes the trailers of a tool's answer on to its client. Must be called before the body is piped. */
export function passTrailers(answer: IncomingMessage, response: ServerResponse): void {
  answer.once('end', () => {
    const trailers = Object.entries(answer.trailersDistinct).flatMap(([name, values = []]) =>
      NO_TRAILER.test(name) ? [] : values.map((value): [string, string] => [name, value]),
    );
    try {
      response.addTrailers(trailers);
    } catch {
      // Node.js reads values that it refuses to write. The answer itself is complete.
    }
  });
}
