import type { ServerResponse } from 'node:http';

const RETRY_SECONDS = 5;

/** Answers 503 because there is no room for the request now, and closes its connection. */
export function refuseForNow(response: ServerResponse, sentence: string): void {
  const body = bodyOf(sentence);
  response.writeHead(503, {
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    'Retry-After': RETRY_SECONDS,
    Connection: 'close',
  });
  response.end(response.req.method === 'HEAD' ? undefined : body);
}

/** Returns the whole refusal, status line and headers included, for a connection that has no response object. */
export function rawRefusal(sentence: string): string {
  const body = bodyOf(sentence);
  return [
    'HTTP/1.1 503 Service Unavailable',
    'Content-Type: text/plain; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Cache-Control: no-store',
    `Retry-After: ${RETRY_SECONDS}`,
    'Connection: close',
    '',
    body,
  ].join('\r\n');
}

function bodyOf(sentence: string): string {
  return `${sentence}\nTry again in ${RETRY_SECONDS} seconds.\n`;
}
