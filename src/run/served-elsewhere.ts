import type { ServerResponse } from 'node:http';

/**
 * Answers a web request that reached this server, although an ingress controller serves its tool elsewhere.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9110#name-421-misdirected-request
 */
export function servedElsewhere(address: string | null, response: ServerResponse): void {
  const where = address === null ? 'It has no web address.' : `It answers at ${address}`;
  response.writeHead(421, { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' });
  response.end(`This tool is not served here. ${where}\n`);
}
