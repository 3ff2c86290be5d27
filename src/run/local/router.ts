import type { IncomingMessage, ServerResponse } from 'node:http';
import type { BlockList, Socket } from 'node:net';
import { type Duplex, Readable } from 'node:stream';
import { ProxyServer } from 'httpxy';
import { systemCode } from '../../core/errors.ts';
import type { Log } from '../../core/log.ts';
import { type Obstacle, type Page, pageAbout, refuseUpgrade, sendPage } from '../pages.ts';
import { AnswerFirstAgent } from './answer-first.ts';
import { NoAnswer, watchAnswer } from './answer-watch.ts';
import { keepPlainNames, setForwarded, stripHopByHop } from './forwarded.ts';
import type { Fate } from './tool-process.ts';
import type { Traffic } from './traffic.ts';

/** A process that answers. */
export interface WayIn {
  readonly kind: 'up';
  readonly port: number;
  readonly traffic: Traffic;
  /** What has become of it since. */
  readonly fate: () => Fate;
}

export type Route = WayIn | Obstacle;

export interface RouterOptions {
  /** Where a tool's requests go at this moment. */
  readonly routeOf: (tool: string) => Route;
  /** What a maintainer types to see the tool's logs. */
  readonly logsCommand: (tool: string) => string;
  readonly trustedProxies: BlockList;
  /** How long a tool has until its answer begins. */
  readonly answerMs: number;
  readonly log: Log;
}

/** A request on its way. */
interface Forwarding {
  readonly tool: string;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Before each further attempt, in milliseconds. */
  readonly pauses: readonly number[];
  /** What had it and gave no answer; null = nobody yet. */
  readonly lostBy: WayIn | null;
}

// Many tools have a short queue of connections: one that was turned away gets in a moment later.
const RETRY_PAUSES_MS = [20, 100, 400];

/**
 * Hands web requests to tools, streaming both ways. Each request gets a connection of its own: a kept one may
 * be closed by the tool just when it is used again, and then a request would fail that nobody is to blame for.
 */
export class Router {
  readonly #options: RouterOptions;
  readonly #agent = new AnswerFirstAgent();

  constructor(options: RouterOptions) {
    this.#options = options;
  }

  serve(tool: string, request: IncomingMessage, response: ServerResponse): void {
    const route = this.#options.routeOf(tool);
    if (route.kind !== 'up') {
      sendPage(this.#page(tool, route), response);
      return;
    }
    const wantsClose = /\bclose\b/i.test(request.headers.connection ?? '');
    // Before ours are set: a client may name any header in Connection, and so has it removed.
    stripHopByHop(request.headers);
    this.#prepare(request);
    if (wantsClose) request.headers.connection = 'close';
    // The server has answered “100 Continue” itself.
    delete request.headers.expect;

    // Each attempt listens.
    response.setMaxListeners(50);
    // A client that is answered early may still be sending.
    response.once('finish', () => request.resume());
    const pauses = isRepeatable(request) ? RETRY_PAUSES_MS : [];
    this.#forward({ tool, request, response, pauses, lostBy: null }, route);
  }

  #forward(forwarding: Forwarding, route: WayIn): void {
    const { tool, request, response } = forwarding;
    const { port, traffic } = route;
    // Counted before anything can wait, so that a process that is drained knows of it.
    const leave = traffic.enter();
    response.once('close', leave);
    const proxy = new ProxyServer({ target: targetOf(port), agent: this.#agent });
    proxy.on('proxyRes', (answer) => {
      stripHopByHop(answer.headers);
      makeSendable(answer);
      // Its body may come much later, as with Server-Sent Events; what has come with the head goes out with it.
      setImmediate(() => {
        if (!response.headersSent && !response.destroyed) response.flushHeaders();
      });
    });
    const fail = (error: Error): void => {
      this.#options.log.debug({ tool, error: error.message }, 'tool request failed');
      leave();
      const lostBy = systemCode(error) === 'ECONNREFUSED' ? forwarding.lostBy : (forwarding.lostBy ?? route);
      // The rest of a request that was answered before its end.
      if (response.writableEnded) return;
      if (response.headersSent || response.destroyed) response.destroy();
      else if (error instanceof NoAnswer) sendPage(this.#page(tool, this.#about(error)), response);
      else this.#again({ ...forwarding, lostBy });
    };
    proxy.on('error', fail);
    // A tool that goes over to another protocol unasked will give no answer.
    proxy.on('proxyReq', (outgoing) => {
      watchAnswer(outgoing, this.#options.answerMs);
      outgoing.once('upgrade', (_answer, socket) => {
        socket.destroy();
        fail(new Error('101 without being asked'));
      });
    });
    // A body that may be sent twice is an empty one; the request's own stream can be read only once.
    const options = isRepeatable(request) ? { buffer: Readable.from([]) } : {};
    // With a listener for errors nothing rejects but a fault of the proxy's own.
    proxy.web(request, response, options).catch((error: unknown) => {
      this.#options.log.error({ tool, err: error }, 'proxy failed');
      response.destroy();
    });
  }

  /**
   * A connection that ended before an answer is tried anew, with what is live by then, where repeating does no harm:
   * a request that may have brought down one process is not handed to the next.
   */
  #again(forwarding: Forwarding): void {
    const { tool, response, pauses, lostBy } = forwarding;
    const [pause, ...later] = pauses;
    if (pause === undefined) {
      sendPage(this.#page(tool, this.#reason(tool)), response);
      return;
    }
    setTimeout(() => {
      if (response.destroyed) return;
      const fate = lostBy?.fate() ?? 'leaving';
      const route = lostBy !== null && fate === 'up' ? lostBy : this.#options.routeOf(tool);
      if (fate === 'crashed') sendPage(this.#page(tool, this.#reason(tool)), response);
      else if (route.kind === 'up') this.#forward({ ...forwarding, pauses: later }, route);
      else sendPage(this.#page(tool, route), response);
    }, pause);
  }

  upgrade(tool: string, request: IncomingMessage, socket: Duplex, head: Buffer): void {
    // A reset is the end of this connection, which 'close' tells of.
    socket.on('error', () => {});
    const route = this.#options.routeOf(tool);
    if (route.kind !== 'up') {
      refuseUpgrade(this.#page(tool, route), socket);
      return;
    }
    if (request.method !== 'GET' || request.headers.upgrade?.toLowerCase() !== 'websocket') {
      refuseUpgrade(onlyWebSocket, socket);
      return;
    }
    const leave = route.traffic.enter();
    socket.once('close', leave);
    this.#prepare(request);

    const proxy = new ProxyServer({ target: targetOf(route.port), agent: this.#agent });
    proxy.on('proxyReqWs', (outgoing) => watchAnswer(outgoing, this.#options.answerMs));
    let isOpen = false;
    proxy.on('open', (toolSocket) => {
      isOpen = true;
      route.traffic.hold(socket);
      // An open WebSocket is no request under way: it would hold up the drain for as long as it lives.
      leave();
      // What the tool sent last may still be on its way to a client that reads slowly.
      toolSocket.once('close', () => request.socket.destroySoon());
      socket.once('close', () => toolSocket.destroy());
    });
    proxy.on('error', (error) => {
      this.#options.log.debug({ tool, error: error.message }, 'tool upgrade failed');
      const obstacle = error instanceof NoAnswer ? this.#about(error) : this.#reason(tool);
      if (isOpen || socket.destroyed || !socket.writable) socket.destroy();
      else refuseUpgrade(this.#page(tool, obstacle), socket);
    });
    proxy.ws(request, socket as Socket, {}, head).catch((error: unknown) => {
      this.#options.log.error({ tool, err: error }, 'proxy failed');
      socket.destroy();
    });
  }

  #prepare(request: IncomingMessage): void {
    keepPlainNames(request.headers);
    setForwarded(request, this.#options.trustedProxies);
    // RFC 9112 section 3.2.2: a request to a proxy may name the whole address; a tool gets the path.
    request.url = (request.url ?? '/').replace(/^[a-z][-+.a-z0-9]*:\/\/[^/?#]*/i, '') || '/';
  }

  /** Why there was no answer: the process may just have ended. */
  #reason(tool: string): Obstacle {
    const route = this.#options.routeOf(tool);
    return route.kind === 'up' ? { kind: 'no-answer' } : route;
  }

  #about({ reason }: NoAnswer): Obstacle {
    return reason === 'too-late'
      ? { kind: 'too-late', seconds: this.#options.answerMs / 1000 }
      : { kind: 'only-interim' };
  }

  #page(tool: string, obstacle: Obstacle): Page {
    return pageAbout(tool, obstacle, this.#options.logsCommand(tool));
  }
}

const onlyWebSocket: Page = {
  status: 400,
  title: 'Only WebSocket connections can be upgraded here',
  sentences: [],
  retryAfterSeconds: null,
};

/** RFC 9110 section 9.2.2: safe methods, and nothing sent that would be missing the second time. */
function isRepeatable({ method, headers }: IncomingMessage): boolean {
  const isSafe = method === 'GET' || method === 'HEAD' || method === 'OPTIONS';
  const isEmpty = headers['transfer-encoding'] === undefined && (headers['content-length'] ?? '0') === '0';
  return isSafe && isEmpty;
}

/** Node reads status lines that it refuses to write, and throws where nobody catches. */
function makeSendable(answer: IncomingMessage): void {
  if ((answer.statusCode ?? 0) < 200) answer.statusCode = 502;
  if (/[^\t\x20-\x7e\x80-\xff]/.test(answer.statusMessage ?? '')) answer.statusMessage = '';
}

function targetOf(port: number) {
  return { protocol: 'http:', host: '127.0.0.1', port };
}
