import type { IncomingMessage, ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import type { BlockList, Socket } from 'node:net';
import { type Duplex, Readable } from 'node:stream';
import type * as Httpxy from 'httpxy';
import { systemCode } from '../../../core/errors.ts';
import type { Log } from '../../../core/log/log.ts';
import { type Obstacle, type Page, pageAbout, refuseUpgrade, sendPage } from '../../error-pages.ts';
import type { Fate } from '../processes/tool-process.ts';
import { AnswerFirstAgent } from './answer-first-agent.ts';
import { NoAnswer, watchAnswer } from './answer-timeout.ts';
import { endIfClientLeaves } from './client-leaves.ts';
import { dropOrders, keepPlainNames, setForwarded, stripHopByHop } from './forwarded-headers.ts';
import { passEarlyHints, passTrailers } from './hints-and-trailers.ts';
import type { OpenRequests } from './open-requests.ts';

/** A web process that can answer a request. */
export interface WayIn {
  readonly kind: 'up';
  readonly port: number;
  readonly traffic: OpenRequests;
  /** Tells what has happened to the process since the route was chosen. */
  readonly fate: () => Fate;
}

export type Route = WayIn | Obstacle;

export interface RouterOptions {
  /** Returns the process that gets a tool's requests now, or the reason why no process gets them. */
  readonly routeOf: (tool: string) => Route;
  /** Returns the command that a maintainer types to see the tool's logs. */
  readonly logsCommand: (tool: string) => string;
  readonly trustedProxies: BlockList;
  /**
   * How many milliseconds a tool has until its answer must begin. The time starts again whenever the tool reads more of
   * the request's body.
   */
  readonly answerMs: number;
  readonly log: Log;
}

/** A request that is being forwarded. */
interface Forwarding {
  readonly tool: string;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** The pauses before the next attempts to forward the request, in milliseconds. */
  readonly pauses: readonly number[];
  /** The process that got the request but did not answer it. Null if no process has got the request yet. */
  readonly lostBy: WayIn | null;
}

// Many tools have a short queue for connections. So after a refusal, a new connection may succeed a moment later.
const RETRY_PAUSES_MS = [20, 100, 400];

/**
 * Forwards web requests to tools, streaming both ways. Each request gets its own connection, because a tool may close a
 * kept connection just when the router sends the next request on it.
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
    const takesTrailers = /\btrailers\b/i.test(String(request.headers['te'] ?? ''));
    this.#prepare(request);
    if (takesTrailers) request.headers['te'] = 'trailers';
    if (wantsClose) request.headers.connection = 'close';

    // Each attempt to forward the request adds listeners to the response. So allow more than the usual ten.
    response.setMaxListeners(50);
    // A client that gets an early answer may still be sending its body. Read and drop the rest of that body.
    response.once('finish', () => request.resume());
    const pauses = isRepeatable(request) ? RETRY_PAUSES_MS : [];
    this.#forward({ tool, request, response, pauses, lostBy: null }, route);
  }

  #forward(forwarding: Forwarding, route: WayIn): void {
    const { tool, request, response } = forwarding;
    const { port, traffic } = route;
    // Count the request before this function waits for anything, so that draining waits for the end of this request.
    const leave = traffic.enter();
    response.once('close', leave);
    const proxy = proxyTo(port, this.#agent);
    proxy.on('proxyRes', (answer) => {
      const { trailer } = answer.headers;
      stripHopByHop(answer.headers);
      dropOrders(answer.headers);
      if (trailer !== undefined && isChunked(request, answer)) answer.headers.trailer = trailer;
      passTrailers(answer, response);
      makeSendable(answer);
      // Send the head of the answer early, because the body may come much later, as with Server-Sent Events. A body
      // that came with the head is sent together with it.
      setImmediate(() =>
        this.#only(forwarding, () => {
          if (!response.headersSent && !response.destroyed) response.flushHeaders();
        }),
      );
    });
    const fail = (error: Error): void => {
      this.#options.log.debug({ tool, error: error.message }, 'tool request failed');
      leave();
      const lostBy = systemCode(error) === 'ECONNREFUSED' ? forwarding.lostBy : (forwarding.lostBy ?? route);
      // If the answer has been sent, only the rest of the request's body failed, so there is nothing to do.
      if (response.writableEnded) return;
      if (response.headersSent || response.destroyed) response.destroy();
      else if (error instanceof NoAnswer) sendPage(this.#page(tool, this.#about(error)), response);
      else this.#again({ ...forwarding, lostBy });
    };
    proxy.on('error', (error) => this.#only(forwarding, () => fail(error)));
    // A tool that switches to another protocol without being asked sends no answer. So this attempt has failed: the
    // request is sent again, or the client gets an error page.
    proxy.on('proxyReq', (outgoing) => {
      watchAnswer(outgoing, this.#options.answerMs);
      passEarlyHints(outgoing, response);
      outgoing.once('upgrade', (_answer, socket) => {
        socket.destroy();
        this.#only(forwarding, () => fail(new Error('101 without being asked')));
      });
    });
    // A request that may be repeated has an empty body. Send a new empty stream each time, because the request's own
    // stream can be read only once.
    const options = isRepeatable(request) ? { buffer: Readable.from([]) } : {};
    // Because `proxy` has a listener for errors, `web` rejects only if the proxy itself has a fault.
    proxy.web(request, response, options).catch((error: unknown) => {
      this.#options.log.error({ tool, err: error }, 'proxy failed');
      response.destroy();
    });
  }

  /**
   * Retries a request whose connection was refused or ended before an answer came, if repeating is harmless. A process
   * that has got the request gets it again after a pause, if it is still up. If that process has crashed, no other
   * process gets the request. If the server is ending that process, or no process has got the request, a live process
   * gets it.
   */
  #again(forwarding: Forwarding): void {
    const { tool, response, pauses, lostBy } = forwarding;
    const [pause, ...later] = pauses;
    if (pause === undefined) {
      sendPage(this.#page(tool, this.#reason(tool)), response);
      return;
    }
    const again = () => {
      // Do not retry if the client has left. Do not retry either if the client is getting the tool's answer: the
      // connection to the tool can fail after the whole answer has arrived.
      if (response.destroyed || response.headersSent) return;
      const fate = lostBy?.fate() ?? 'leaving';
      const route = lostBy !== null && fate === 'up' ? lostBy : this.#options.routeOf(tool);
      if (fate === 'crashed') sendPage(this.#page(tool, this.#reason(tool)), response);
      else if (route.kind === 'up') this.#forward({ ...forwarding, pauses: later }, route);
      else sendPage(this.#page(tool, route), response);
    };
    setTimeout(() => this.#only(forwarding, again), pause);
  }

  /**
   * Runs a step in the handling of a request, such as a listener. If the step throws, only the connection of this
   * request ends. Without this, the error would end the server, because no code waits for the step.
   */
  #only({ tool, response }: Pick<Forwarding, 'tool' | 'response'>, step: () => void): void {
    try {
      step();
    } catch (error) {
      this.#options.log.error({ tool, err: error }, 'proxy failed');
      response.destroy();
    }
  }

  upgrade(tool: string, request: IncomingMessage, socket: Duplex, head: Buffer): void {
    // Ignore errors of the connection, because 'close' follows each error.
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
    request.headers.connection = 'Upgrade';
    request.headers.upgrade = 'websocket';
    // The router forwards no body of a request for a WebSocket, so no header field may announce one.
    delete request.headers['content-length'];
    delete request.headers['transfer-encoding'];

    const proxy = proxyTo(route.port, this.#agent);
    let hasAnswer = false;
    proxy.on('proxyReqWs', (outgoing) => {
      watchAnswer(outgoing, this.#options.answerMs);
      endIfClientLeaves(socket, outgoing);
      outgoing.once('response', ({ headers }) => {
        hasAnswer = true;
        dropOrders(headers);
      });
      outgoing.once('upgrade', ({ headers }) => dropOrders(headers));
    });
    let isOpen = false;
    // If the client gets a page instead of a WebSocket, read and drop what the client sends. Otherwise the server would
    // not notice that the client has left, and the connection would never close.
    socket.once('finish', () => {
      if (!isOpen) socket.resume();
    });
    proxy.on('open', (toolSocket) => {
      isOpen = true;
      route.traffic.hold(socket);
      // From here on, do not count the WebSocket as a request. Otherwise draining would wait until the WebSocket
      // closes.
      leave();
      // When the tool has closed the WebSocket, close the client's connection too, but only after a slow client has
      // received the tool's last data.
      toolSocket.once('close', () => request.socket.destroySoon());
      // If the client's connection was cut off, cut off the tool's connection too. Otherwise the kernel would keep what
      // the client has sent until the tool reads it.
      socket.once('close', () => {
        if (socket.readableEnded) toolSocket.destroy();
        else (toolSocket as Socket).resetAndDestroy();
      });
    });
    proxy.on('error', (error) => {
      this.#options.log.debug({ tool, error: error.message }, 'tool upgrade failed');
      const obstacle = error instanceof NoAnswer ? this.#about(error) : this.#reason(tool);
      if (isOpen || socket.destroyed || !socket.writable) socket.destroy();
      // The client has got a part of the tool's answer. So send no error page, which would look like a second answer.
      else if (hasAnswer) request.socket.destroySoon();
      else refuseUpgrade(this.#page(tool, obstacle), socket);
    });
    proxy.ws(request, socket as Socket, {}, head).catch((error: unknown) => {
      this.#options.log.error({ tool, err: error }, 'proxy failed');
      socket.destroy();
    });
  }

  /**
   * Changes the header fields and the path of a request, whether for a WebSocket or not, to those that the tool gets.
   */
  #prepare(request: IncomingMessage): void {
    // Strip these fields before the server sets its own, because a client can remove any field by naming it in
    // Connection.
    stripHopByHop(request.headers);
    // The field Expect is for this server, not for the tool. If the request has a body, this server has already
    // answered “100 Continue”.
    delete request.headers.expect;
    keepPlainNames(request.headers);
    setForwarded(request, this.#options.trustedProxies);
    // RFC 9112 section 3.2.2: the request line may have the whole URL. The tool gets only the path and the query.
    request.url = (request.url ?? '/').replace(/^[a-z][-+.a-z0-9]*:\/\/[^/?#]*/i, '') || '/';
  }

  /**
   * Returns the reason why no process of the tool gets requests now, such as a crash. If a process gets requests,
   * returns `no-answer`.
   */
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

/**
 * True if a request may be repeated (RFC 9110 section 9.2.2): its method is GET, HEAD or OPTIONS, and it has no body.
 */
function isRepeatable({ method, headers }: IncomingMessage): boolean {
  const isSafe = method === 'GET' || method === 'HEAD' || method === 'OPTIONS';
  const isEmpty = headers['transfer-encoding'] === undefined && (headers['content-length'] ?? '0') === '0';
  return isSafe && isEmpty;
}

/**
 * True if Node.js sends the body of the answer in chunks. If trailers are announced for a body that is not in chunks,
 * Node.js throws an error that nobody can catch.
 */
function isChunked(
  { method, httpVersion }: IncomingMessage,
  { headers, statusCode }: IncomingMessage,
): boolean {
  const hasBody = method !== 'HEAD' && statusCode !== 204 && statusCode !== 304;
  return hasBody && httpVersion === '1.1' && headers['content-length'] === undefined;
}

/**
 * Changes an answer of a tool so that Node.js can send it. Node.js accepts some status lines that it refuses to write,
 * and then throws an error that nobody can catch. Node.js also writes any Transfer-Encoding, so any other than
 * `chunked` is removed.
 */
function makeSendable(answer: IncomingMessage): void {
  if ((answer.statusCode ?? 0) < 200) answer.statusCode = 502;
  if (/[^\t\x20-\x7e\x80-\xff]/.test(answer.statusMessage ?? '')) answer.statusMessage = '';
  // Remove any transfer encoding other than `chunked`. With such an encoding, clients and proxies disagree about where
  // the body ends, and could take the rest of the body for the next answer.
  const hasBody = answer.statusCode !== 204 && answer.statusCode !== 304;
  if (answer.headers['transfer-encoding']?.toLowerCase() !== 'chunked' || !hasBody)
    delete answer.headers['transfer-encoding'];
  // RFC 9110 section 8.6 forbids a length in an answer with status 204, because some programs would wait for a body.
  if (answer.statusCode === 204) delete answer.headers['content-length'];
}

const load = createRequire(import.meta.url);

/** Loads httpxy at the first request, because loading takes 60 ms, and the start of the server does not need httpxy. */
function proxyTo(port: number, agent: AnswerFirstAgent): Httpxy.ProxyServer {
  const { ProxyServer } = load('httpxy') as typeof Httpxy;
  return new ProxyServer({ target: { protocol: 'http:', host: '127.0.0.1', port }, agent });
}
