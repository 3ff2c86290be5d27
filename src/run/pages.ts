import type { ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { escapeHtml } from '../core/escape-html.ts';

/** What stands between a web request and a tool. */
export type Obstacle =
  | { readonly kind: 'none' }
  | { readonly kind: 'no-web' }
  | { readonly kind: 'starting' }
  | { readonly kind: 'stopped' }
  | { readonly kind: 'crashed'; readonly detail: string }
  | { readonly kind: 'no-answer' };

export interface Page {
  readonly status: number;
  readonly title: string;
  readonly sentences: readonly string[];
  readonly retryAfterSeconds: number | null;
}

/** The page about an obstacle; `logsCommand` is what maintainers type to learn more. */
export function pageAbout(tool: string, obstacle: Obstacle, logsCommand: string): Page {
  const maintainers = `Maintainers see more with: ${logsCommand}`;
  switch (obstacle.kind) {
    case 'none':
      return {
        status: 404,
        title: `Nothing answers for ${tool}`,
        sentences: ['There is no tool by this name here, or nothing has been deployed to it yet.'],
        retryAfterSeconds: null,
      };
    case 'no-web':
      return {
        status: 404,
        title: `${tool} has no web process`,
        sentences: ['The tool runs, but its Procfile has no line that begins with “web:”.'],
        retryAfterSeconds: null,
      };
    case 'starting':
      return {
        status: 503,
        title: `${tool} is starting`,
        sentences: ['It will answer in a moment. Try again in a few seconds.'],
        retryAfterSeconds: 3,
      };
    case 'stopped':
      return {
        status: 503,
        title: `${tool} is stopped`,
        sentences: [
          'Its maintainers have stopped it. It answers again after the next deployment or restart.',
        ],
        retryAfterSeconds: 300,
      };
    case 'crashed':
      return {
        status: 502,
        title: `${tool} is not running`,
        sentences: [`The process ${obstacle.detail}. It is started again after a pause.`, maintainers],
        retryAfterSeconds: null,
      };
    case 'no-answer':
      return {
        status: 502,
        title: `${tool} gave no answer`,
        sentences: ['The tool closed the connection before it answered.', maintainers],
        retryAfterSeconds: null,
      };
    default:
      return obstacle satisfies never;
  }
}

export function sendPage(page: Page, response: ServerResponse): void {
  const body = html(page);
  response.writeHead(page.status, {
    'content-type': 'text/html; charset=utf-8',
    'content-length': Buffer.byteLength(body),
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store',
    ...(page.retryAfterSeconds === null ? {} : { 'retry-after': String(page.retryAfterSeconds) }),
  });
  response.end(body);
}

/** The same on a connection that asked for a WebSocket. */
export function refuseUpgrade(page: Page, socket: Duplex): void {
  const body = `${[page.title, ...page.sentences].join('\n')}\n`;
  const head = [
    `HTTP/1.1 ${page.status} ${page.status === 404 ? 'Not Found' : 'Unavailable'}`,
    'Content-Type: text/plain; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Cache-Control: no-store',
    'Connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
}

function html({ title, sentences }: Page): string {
  const paragraphs = sentences.map((sentence) => `<p>${escapeHtml(sentence)}</p>`);
  return [
    '<!doctype html>',
    '<html lang="en">',
    `<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escapeHtml(title)}</title></head>`,
    `<body><h1>${escapeHtml(title)}</h1>`,
    ...paragraphs,
    '</body></html>',
    '',
  ].join('\n');
}
