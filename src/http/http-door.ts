import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Directory } from '../auth/directory.ts';
import type { CommandLine, Services } from '../cli/command.ts';
import type { Config } from '../config.ts';
import { DeployError } from '../core/errors.ts';
import { PacedReading } from '../core/fair-share/paced-reading.ts';
import { requestPace } from '../core/fair-share/request-pace.ts';
import type { Log } from '../core/log/log.ts';
import { httpCommand } from '../core/network/addresses.ts';
import { networkOf } from '../core/network/ip-address.ts';
import { isMemoryScarce } from '../core/network/socket-memory.ts';
import type { Principal } from '../core/types.ts';
import type { PackServices } from '../git/pack-services.ts';
import type { Gateway } from '../run/runtime.ts';
import { servePage } from '../web/serve-page.ts';
import { answerError, answerText, type Exchange, reportBug } from './answer.ts';
import { assertSameSite, CHALLENGE, createBasicAuth, type LoginThrottle } from './basic-auth.ts';
import { sendContinue, watchBody, watchReader } from './body.ts';
import { Advertisements, serveGit } from './git/serve-git.ts';
import { Connections } from './listener/connections.ts';
import { createListener, HTTP_LIMITS, type HttpLimits } from './listener/listener.ts';
import { createPeerReader, type Peer } from './listener/peer.ts';
import { rawRefusal, refuseForNow } from './listener/refusal.ts';
import { assertSafeListener, type ListenerConfig } from './listener/safe-listener.ts';
import { StalledConnections } from './listener/stalled-connections.ts';
import { TrustedProxies } from './listener/trusted-proxies.ts';
import { type Admitted, RequestShares } from './request-shares.ts';
import { pathOf, type Route, routeOf } from './routes.ts';
import { serveCommand } from './serve-command.ts';
import { type Sources, serveSource } from './sources/serve-source.ts';

/** How long the start waits for the addresses of the host names in `trusted_proxies`. */
const LOOKUP_MS = 5000;

export interface HttpDoorOptions {
  readonly config: ListenerConfig & Pick<Config, 'deploy_branch' | 'pack_size'>;
  readonly directory: Directory;
  readonly packServices: PackServices;
  readonly gateway: Gateway;
  /** The source code for builds in a cluster. Null if no build fetches it, or if `source-listener.ts` serves it. */
  readonly sources: Sources | null;
  readonly runCommand: (line: CommandLine) => Promise<number>;
  /** `services.addresses` is read at each request, so the addresses may be set after `listen`. */
  readonly services: Services;
  readonly throttle: LoginThrottle;
  readonly log: Log;
  readonly health: HealthQuestions;
  readonly limits?: Partial<HttpLimits>;
  /**
   * True if the TCP connections of this machine use much of the memory that the kernel allows them. By default, asks
   * the kernel.
   */
  readonly isTcpMemoryScarce?: () => boolean;
}

/** Each method returns in one line, without secrets, what is wrong with the server. Null if nothing is wrong. */
export interface HealthQuestions {
  /** Returns a fault only if it means that clients should not be sent to this server. */
  ready(): Promise<string | null>;
  /** Returns any fault that an operator must fix. */
  health(): Promise<string | null>;
}

export interface HttpDoor {
  /** Starts to listen. @throws DeployError `CANNOT_LISTEN` if the address cannot be used. */
  listen(): Promise<{ host: string; port: number }>;
  close(): Promise<void>;
}

/**
 * Creates the HTTP server. It serves the tools' web addresses, git's smart protocol, commands of logged-in users,
 * health checks and the landing page.
 *
 * @throws DeployError `PLAIN_HTTP` if passwords would cross a network in the clear; `BAD_SETTING` if a setting of TLS
 * or of proxies is wrong.
 */
export function createHttpDoor(options: HttpDoorOptions): HttpDoor {
  const { config, gateway, log } = options;
  const tls = assertSafeListener(config);
  const limits = { ...HTTP_LIMITS, ...options.limits };
  const trustedProxies = new TrustedProxies(config.trusted_proxies);
  const readPeer = createPeerReader(trustedProxies);
  const connections = new Connections({ places: limits.connections, trustedProxies, isTls: tls !== null });
  const stalled = new StalledConnections({
    unreadMs: limits.unreadMs,
    isScarce: options.isTcpMemoryScarce ?? (() => isMemoryScarce('TCP')),
    end: (socket) => connections.reset(socket),
  });
  const { toolRequests } = limits;
  const ownRequests = limits.connections - toolRequests;
  const shares = new RequestShares({ toolRequests, ownRequests, log });
  const serveOwn = createOwnHost(options, limits, { shares, connections });

  // Runs `serve`. If an error is thrown, only logs it and ends this connection, so that all others continue.
  const guarded = (connection: { destroy(): unknown }, serve: () => void) => {
    try {
      serve();
    } catch (error) {
      reportBug(log, error);
      connection.destroy();
    }
  };
  const serveRequest = (request: IncomingMessage, response: ServerResponse) => {
    const peer = readPeer(request);
    response.on('error', () => {});
    watchBody(request, response, limits.bodyIdleMs);
    PacedReading.of(request.socket)?.begin(request, networkOf(peer.address));
    if (hasTooManyFields(request) || hasTwoHosts(request)) {
      response.writeHead(hasTooManyFields(request) ? 431 : 400, { Connection: 'close' }).end();
      return;
    }
    if (hasUnknownExpectation(request)) {
      response.writeHead(417).end();
      return;
    }
    const tool = gateway.toolOf(request.headers.host);
    const route = routeOf(request.method ?? '', request.url ?? '');
    // True if the request takes no place of `shares` now. A request that needs a login takes its place after the login.
    const isFree = tool === null && (isPage(route) || needsLogin(route));
    const admitted = isFree ? FREE : shares.enter(tool, peer.address);
    if (admitted.kind === 'refused') {
      refuseForNow(response, admitted.sentence);
      return;
    }
    const rest = connections.occupy(request.socket);
    // This connection only gets a page, or waits for a login. So it may be closed if there are too many connections.
    if (admitted === FREE) rest();
    const leave = () => {
      admitted.leave();
      rest();
    };
    response.once('close', leave);
    if (tool === null) {
      serveOwn({ request, response, leave }, route, peer);
      return;
    }
    const owner = { network: networkOf(peer.address), tool, isWebSocket: false };
    response.once('close', stalled.watch(request, owner));
    watchReader(response, limits.unreadMs);
    sendContinue(response);
    gateway.serve(tool, request, response);
  };
  const serveUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    const peer = readPeer(request);
    socket.on('error', () => socket.destroy());
    PacedReading.of(request.socket)?.becomeOpaque(networkOf(peer.address));
    const isRefused = hasTooManyFields(request) || hasTwoHosts(request);
    const tool = isRefused ? null : gateway.toolOf(request.headers.host);
    if (tool === null) return void socket.destroy();
    const admitted = shares.enter(tool, peer.address);
    if (admitted.kind === 'refused') {
      socket.write(rawRefusal(admitted.sentence));
      request.socket.destroySoon();
      return;
    }
    // Do not call the function that `occupy` returns, because the connection of a WebSocket stays busy until it closes.
    connections.occupy(request.socket);
    socket.once('close', admitted.leave);
    const owner = { network: networkOf(peer.address), tool, isWebSocket: true };
    socket.once('close', stalled.watch(request, owner));
    gateway.upgrade(tool, request, socket, head);
  };
  // Only requests for a WebSocket to a tool are upgraded. Requests that offer another protocol, such as HTTP/2, or that
  // ask this server itself for a WebSocket, are served as ordinary requests.
  const canUpgrade = ({ headers }: IncomingMessage) =>
    headers.upgrade?.toLowerCase() === 'websocket' && gateway.toolOf(headers.host) !== null;
  const listener = createListener({
    ...{ tls, limits, connections, log, canUpgrade },
    onRequest: (request, response) => guarded(response, () => serveRequest(request, response)),
    onUpgrade: (request, socket, head) => guarded(socket, () => serveUpgrade(request, socket, head)),
  });
  const closing = new AbortController();
  return {
    listen: async () => {
      trustedProxies.watch(closing.signal, log).catch((error) => reportBug(log, error));
      await trustedProxies.known(LOOKUP_MS);
      return await listener.listen(config.http);
    },
    close: () => {
      closing.abort();
      return listener.close();
    },
  };
}

/** For requests that take no place in RequestShares, or that take a place only after the login. */
const FREE: Admitted = { kind: 'admitted', leave: () => {} };

/**
 * True for a health check or a page of this server. Such a request needs no place in `RequestShares`, because the
 * answer takes hardly any work.
 */
function isPage({ kind }: Route): boolean {
  return ['live', 'ready', 'health', 'landing', 'style'].includes(kind);
}

function needsLogin({ kind }: Route): boolean {
  return ['command', 'git', 'advertisement'].includes(kind);
}

/**
 * The maximum number of header fields of a request. Apache accepts 100. Several copies of each field stay in memory
 * until the tool has answered.
 */
const MAX_FIELDS = 200;

function hasTooManyFields({ rawHeaders }: IncomingMessage): boolean {
  return rawHeaders.length > 2 * MAX_FIELDS;
}

/** True if the client expects something other than `100-continue` (RFC 9110 section 10.1.1). HTTP/1.0 has no Expect. */
function hasUnknownExpectation({ headers, httpVersion }: IncomingMessage): boolean {
  return headers.expect !== undefined && httpVersion !== '1.0' && !/\b100-continue\b/i.test(headers.expect);
}

/** True if a proxy could read another host from the request than this server (RFC 9112 sections 3.2 and 3.2.2). */
function hasTwoHosts({ rawHeaders, headers, url = '' }: IncomingMessage): boolean {
  const ofTarget = /^[a-z][-+.a-z0-9]*:\/\/([^/?#]*)/i.exec(url)?.[1];
  if (ofTarget !== undefined && ofTarget.toLowerCase() !== headers.host?.toLowerCase()) return true;
  return rawHeaders.filter((name, index) => index % 2 === 0 && /^host$/i.test(name)).length > 1;
}

/** Serves requests to the server's own host, and logs each request. */
function createOwnHost(
  options: HttpDoorOptions,
  limits: HttpLimits,
  { shares, connections }: { readonly shares: RequestShares; readonly connections: Connections },
): (given: Pick<Exchange, 'request' | 'response' | 'leave'>, route: Route, peer: Peer) => void {
  const { services, log } = options;
  const logIn = createBasicAuth(options.directory, options.throttle, services);
  const advertisements = new Advertisements();

  const serve = async (
    exchange: Exchange,
    route: Route,
    peer: Peer,
    onLogin: (principal: Principal) => void,
  ): Promise<void> => {
    const { request, signal } = exchange;
    switch (route.kind) {
      case 'live':
        answerText(exchange, 200, 'ok\n');
        return;
      case 'ready':
      case 'health': {
        const complaint = await options.health[route.kind]();
        answerText(exchange, complaint === null ? 200 : 503, `${complaint ?? 'ok'}\n`);
        return;
      }
      case 'landing':
      case 'style':
        servePage(exchange, route.kind, {
          addresses: services.addresses,
          deployBranch: options.config.deploy_branch,
        });
        return;
      case 'source':
        // This request needs no TLS within a cluster, because the build's token can be used only once.
        if (options.sources !== null) return await serveSource(exchange, options.sources);
        answerText(exchange, 404, 'No sources of builds are handed out here.\n');
        return;
      case 'nothing':
        answerText(exchange, 404, 'There is nothing here.\nGit repositories are at /TOOL.git.\n');
        return;
      case 'repository':
        // Give this answer for every name, so that it does not reveal whether the tool exists.
        answerText(exchange, 404, forGit(services.addresses.http, route.name));
        return;
      case 'wrong-method':
        answerText(exchange, 405, `This address takes ${route.allow}.\n`, { Allow: route.allow });
        return;
      case 'command':
      case 'git':
      case 'advertisement': {
        assertConfidential(peer);
        assertSameSite(request.headers, services.addresses.http);
        const login = await logIn(request.headers.authorization, peer.address, signal);
        if (login.kind === 'throttled') return refuseGuessing(exchange, login.waitMs);
        if (login.kind === 'expired') return askForLogin(exchange, expired(login, services.addresses));
        if (login.kind === 'unknown') return askForLogin(exchange);
        onLogin(login.principal);
        // Stop if the client has left while its password was checked.
        if (signal.aborted) return;
        const admitted = shares.enterAs(login.principal, peer.address);
        if (admitted.kind === 'refused') {
          const { sentence, status = 503 } = admitted;
          const text = `${sentence}\nTry again when some requests have ended.\n`;
          return answerText(exchange, status, text, status === 503 ? { 'Retry-After': '5' } : {});
        }
        const rest = connections.occupy(request.socket);
        const leave = () => {
          admitted.leave();
          rest();
          exchange.leave();
        };
        exchange.response.once('close', leave);
        await requestPace.turn(login.principal.uid, signal);
        const inside = { ...exchange, leave };
        if (route.kind === 'command') await serveCommand(inside, login.principal, options);
        else await serveGit(inside, route, login.principal, { ...options, advertisements });
        return;
      }
      default:
        return route satisfies never;
    }
  };

  return ({ request, response, leave }, route, peer) => {
    const startedAt = performance.now();
    const gone = new AbortController();
    const exchange = { request, response, log, signal: gone.signal, lingerMs: limits.lingerMs, leave };
    watchReader(response, needsLogin(route) ? limits.unreadMs : limits.shortUnreadMs);
    let uid: string | null = null;
    response.once('close', () => {
      gone.abort();
      const isProbe = route.kind === 'live' || route.kind === 'ready' || route.kind === 'health';
      const level = isProbe ? 'debug' : 'info';
      const facts = {
        method: request.method,
        path: pathOf(request.url ?? '').slice(0, 200),
        status: response.headersSent ? response.statusCode : null,
        isWhole: response.writableFinished,
        ms: Math.round(performance.now() - startedAt),
        address: peer.address,
      };
      log[level]({ ...facts, uid }, 'http request');
    });
    const onLogin = (principal: Principal) => {
      uid = principal.uid;
    };
    serve(exchange, route, peer, onLogin).catch((error: unknown) => answerError(exchange, error));
  };
}

/**
 * Refuses a login over plain HTTP, unless it comes directly from this machine. @throws DeployError `NOT_CONFIDENTIAL`
 * for such a login.
 */
function assertConfidential(peer: Peer): void {
  if (peer.isConfidential) return;
  throw new DeployError(
    'NOT_CONFIDENTIAL',
    'this request came over plain HTTP, where others can read the password',
    'Use the https address. (Operators: the reverse proxy must be in trusted_proxies and set X-Forwarded-Proto.)',
  );
}

/** Answers 401. The default text reveals neither what was wrong nor whether the tool exists. */
function askForLogin(
  exchange: Exchange,
  text: string = 'Log in with your user name and password, or with a deploy token as the password.\nIf you did: the user name or password is wrong, or the token was revoked or has expired.\n',
): void {
  answerText(exchange, 401, text, { 'WWW-Authenticate': CHALLENGE });
  return;
}

function forGit(address: string, name: string): string {
  return `This address is for git, and a browser sees nothing here. With git:\n    git clone ${address}/${name}.git\n`;
}

function expired(
  { token, at }: { readonly token: string; readonly at: number },
  addresses: Services['addresses'],
): string {
  const day = new Date(at).toISOString().slice(0, 10);
  return `The deploy token ${token} expired on ${day}.\nA maintainer can make another: ${httpCommand(addresses, 'USER', 'token create TOOL NAME')}\n`;
}

function refuseGuessing(exchange: Exchange, waitMs: number): void {
  const seconds = Math.ceil(waitMs / 1000);
  const text = `Too many failed logins.\nTry again in ${seconds} s.\n`;
  answerText(exchange, 429, text, { 'Retry-After': seconds });
  return;
}
