import { createHash } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { escapeHtml } from '../core/text/escape-html.ts';

/** The reason why a web request gets no answer from a tool. It decides which page the visitor sees. */
export type Obstacle =
  | { readonly kind: 'none' }
  /** `to`: the tool's new name. `address`: its new web address. Null if the new name cannot be a host name. */
  | { readonly kind: 'renamed'; readonly to: string; readonly address: string | null }
  | { readonly kind: 'no-web' }
  | { readonly kind: 'scaled-down' }
  | { readonly kind: 'starting' }
  | { readonly kind: 'stopped' }
  /** `page`: the tool's own page about maintenance, in HTML. Null if the tool has no such page. */
  | { readonly kind: 'maintenance'; readonly page: string | null }
  | { readonly kind: 'crashed'; readonly detail: string }
  | { readonly kind: 'no-answer' }
  | { readonly kind: 'too-late'; readonly seconds: number }
  | { readonly kind: 'only-interim' };

/**
 * The style is a part of the page, because this server serves no other files at a tool's address. The page's
 * Content-Security-Policy allows the style by its hash.
 */
const STYLE = `:root{color-scheme:light dark}
body{margin:0;padding:0 1.5rem;background:light-dark(#fff,#101418);color:light-dark(#202122,#eaecf0);font:1rem/1.6 system-ui,sans-serif}
main{max-width:36rem;margin:12vh auto 0}
h1{margin:0 0 1rem;font-size:1.6rem;line-height:1.25;overflow-wrap:anywhere}
p{overflow-wrap:anywhere}
.status{margin:0;color:light-dark(#54595d,#a2a9b1);font-weight:600}`;
const STYLE_HASH = `sha256-${createHash('sha256').update(STYLE).digest('base64')}`;

export interface Page {
  readonly status: number;
  readonly title: string;
  readonly sentences: readonly string[];
  readonly retryAfterSeconds: number | null;
  /** The tool's own page, in HTML, which browsers get instead of the title and the sentences. */
  readonly ownHtml?: string;
}

/** Returns the page that explains why a tool does not answer. Maintainers type `logsCommand` to learn more. */
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
    case 'renamed':
      return {
        status: 404,
        title: `${tool} is now called ${obstacle.to}`,
        sentences: obstacle.address === null ? [] : [`Its address is now ${obstacle.address}`],
        retryAfterSeconds: null,
      };
    case 'no-web':
      return {
        status: 404,
        title: `${tool} has no web process`,
        sentences: ['The tool is live, but no line of a Procfile begins with “web:”.'],
        retryAfterSeconds: null,
      };
    case 'scaled-down':
      return {
        status: 503,
        title: `${tool} has no web process running`,
        sentences: [
          'Its maintainers have scaled it to 0 web processes. It answers again when they scale it up.',
        ],
        retryAfterSeconds: 300,
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
    case 'maintenance':
      return {
        status: 503,
        title: `${tool} is in maintenance`,
        sentences: ['Its maintainers are working on it. Try again later.'],
        retryAfterSeconds: 300,
        ...(obstacle.page === null ? {} : { ownHtml: obstacle.page }),
      };
    case 'crashed':
      return {
        status: 502,
        title: `${tool} is not running`,
        sentences: [`${obstacle.detail}.`, maintainers],
        retryAfterSeconds: null,
      };
    case 'no-answer':
      return {
        status: 502,
        title: `${tool} gave no answer`,
        sentences: ['The tool refused or closed the connection without an answer.', maintainers],
        retryAfterSeconds: null,
      };
    case 'too-late':
      return {
        status: 504,
        title: `${tool} did not answer in time`,
        sentences: [`The tool took the request and gave no answer for ${obstacle.seconds} s.`, maintainers],
        retryAfterSeconds: null,
      };
    case 'only-interim':
      return {
        status: 502,
        title: `${tool} gave no answer`,
        sentences: ['The tool sent many interim answers (status 1xx), but no final answer.', maintainers],
        retryAfterSeconds: null,
      };
    default:
      return obstacle satisfies never;
  }
}

/**
 * Sends the page instead of the tool's answer. Removes the header fields and the status text of the tool's answer from
 * the response. If the head of the response has been sent already, closes the connection and sends no page.
 */
export function sendPage(page: Page, response: ServerResponse): void {
  if (response.headersSent) return void response.destroy();
  const body = htmlOf(page);
  for (const name of response.getHeaderNames()) response.removeHeader(name);
  response.statusMessage = '';
  response.writeHead(page.status, { ...headersOf(page), 'content-length': Buffer.byteLength(body) });
  response.end(body);
}

/** Returns the HTML of a page: the tool's own HTML if there is any, otherwise the title and the sentences. */
export function htmlOf(page: Page): string {
  return page.ownHtml ?? html(page);
}

/** Returns the header fields for this page, except Content-Length. */
export function headersOf(page: Page): Record<string, string> {
  const policy = `default-src 'none'; style-src '${STYLE_HASH}'; frame-ancestors 'none'`;
  return {
    'content-type': 'text/html; charset=utf-8',
    // The tool's own page gets no policy, because at the tool's address the page may do everything that the tool may
    // do.
    ...(page.ownHtml === undefined ? { 'content-security-policy': policy } : {}),
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store',
    ...(page.retryAfterSeconds === null ? {} : { 'retry-after': String(page.retryAfterSeconds) }),
  };
}

/**
 * Sends the page as plain text to a client that asked for a WebSocket or another protocol, and closes the connection.
 */
export function refuseUpgrade(page: Page, socket: Duplex): void {
  const body = `${[page.title, ...page.sentences].join('\n')}\n`;
  const head = [
    `HTTP/1.1 ${page.status} ${page.status === 404 ? 'Not Found' : 'Unavailable'}`,
    'Content-Type: text/plain; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Cache-Control: no-store',
    'Connection: close',
  ];
  socket.write(`${head.join('\r\n')}\r\n\r\n${body}`);
  // `end()` would leave the connection open as long as the client keeps its side open. `destroySoon()` closes both
  // sides when the page has been sent.
  (socket as Socket).destroySoon();
}

function html({ status, title, sentences }: Page): string {
  const paragraphs = sentences.map((sentence) => `<p>${escapeHtml(sentence)}</p>`);
  return [
    '<!doctype html>',
    '<html lang="en">',
    '<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
    `<title>${escapeHtml(title)}</title><style>${STYLE}</style></head>`,
    `<body><main><p class="status">${status}</p><h1>${escapeHtml(title)}</h1>`,
    ...paragraphs,
    '</main></body></html>',
    '',
  ].join('\n');
}

/**
 * Answers a web request for a tool with status 421: in a cluster, the ingress controller and not this server passes
 * requests to tools.
 *
 * @param address - The tool's web address. Null if the tool has none.
 * @see https://www.rfc-editor.org/rfc/rfc9110#name-421-misdirected-request
 */
export function servedElsewhere(address: string | null, response: ServerResponse): void {
  const where = address === null ? 'It has no web address.' : `It answers at ${address}`;
  response.writeHead(421, { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' });
  response.end(`This tool is not served here. ${where}\n`);
}
