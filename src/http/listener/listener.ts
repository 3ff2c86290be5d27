import { X509Certificate } from 'node:crypto';
import { readFileSync, unwatchFile, watchFile } from 'node:fs';
import type { RequestListener, ServerOptions, ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { DeployError } from '../../core/errors.ts';
import { PacedReading } from '../../core/fair-share/paced-reading.ts';
import { alarm, calm } from '../../core/log/alarms.ts';
import type { Log } from '../../core/log/log.ts';
import { networkOf, plainAddress } from '../../core/network/ip-address.ts';
import { cannotListen } from '../../core/network/listen-error.ts';
import { createServer, createTlsServer, IncomingMessage } from '../../core/network/node-http.ts';
import { expectContinue } from '../body.ts';
import type { Connections } from './connections.ts';
import { EncryptedBytes } from './encrypted-bytes.ts';
import type { TlsFiles } from './safe-listener.ts';

export interface HttpLimits {
  /**
   * The time limit for the headers of a request. For the first request, it begins with the connection, for later
   * requests with their first byte. It is also the limit for the TLS handshake.
   */
  readonly headersMs: number;
  /** The longest pause of a client that is sending a body. */
  readonly bodyIdleMs: number;
  /** How long a client may take no byte of an answer that has begun, from a tool, from git or from a command. */
  readonly unreadMs: number;
  /** How long a client may take no byte of a short answer, such as a page of this server. */
  readonly shortUnreadMs: number;
  /** How long the server still reads the body of a request that it has already answered, for example refused. */
  readonly lingerMs: number;
  /** How long answers in progress may take when the server closes. */
  readonly drainMs: number;
  /** The maximum number of connections. */
  readonly connections: number;
  /** How many requests to tools may be in progress. Git and commands get the rest of `connections`. */
  readonly toolRequests: number;
  /** How often the TLS files are checked for changes. */
  readonly tlsCheckMs: number;
}

export const HTTP_LIMITS: HttpLimits = {
  headersMs: 60_000,
  bodyIdleMs: 60_000,
  unreadMs: 10 * 60_000,
  shortUnreadMs: 60_000,
  lingerMs: 3_000,
  drainMs: 5_000,
  connections: 2_000,
  toolRequests: 1_500,
  tlsCheckMs: 60_000,
};

export interface ListenerOptions {
  /** What the error `CANNOT_LISTEN` calls this listener. By default HTTP. */
  readonly door?: Parameters<typeof cannotListen>[0];
  readonly tls: TlsFiles | null;
  readonly limits: HttpLimits;
  readonly connections: Connections;
  readonly log: Log;
  readonly onRequest: RequestListener;
  /** Whether a request may change protocols. If not, it is served as an ordinary request. */
  readonly canUpgrade: (request: IncomingMessage) => boolean;
  readonly onUpgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void;
}

export interface Listener {
  listen(address: { host: string; port: number }): Promise<{ host: string; port: number }>;
  /** Accepts no new connections, waits up to `drainMs` for answers in progress, then closes all connections. */
  close(): Promise<void>;
}

/** Creates an HTTP/1.1 server that limits its connections, and the size and the time of the headers of each request. */
export function createListener(options: ListenerOptions): Listener {
  const { tls, limits, connections, log } = options;
  /** The responses of each connection that are not complete yet. */
  const unanswered = new WeakMap<Socket, Set<ServerResponse>>();
  const settings: ServerOptions<typeof CountedRequest> = {
    IncomingMessage: CountedRequest,
    insecureHTTPParser: false,
    maxHeaderSize: 16 * 1024,
    headersTimeout: limits.headersMs,
    connectionsCheckingInterval: Math.min(5_000, limits.headersMs / 2),
    // No limit, because a push may take long. `watchBody` ends requests that make no progress.
    requestTimeout: 0,
    keepAliveTimeout: 75_000,
    keepAlive: true,
    keepAliveInitialDelay: 60_000,
    // Accept an upgrade only if `canUpgrade` returns true, because otherwise Node would emit `upgrade` for a request
    // that only offers HTTP/2. Also accept none while an earlier answer on the connection is unfinished: at an upgrade,
    // Node forgets the requests without a complete answer, and they would hold their places until the connection ends.
    shouldUpgradeCallback: (request) => !unanswered.get(request.socket)?.size && options.canUpgrade(request),
  };
  const tlsServer =
    tls === null
      ? null
      : createTlsServer({
          ...settings,
          ...readTls(tls),
          minVersion: 'TLSv1.2',
          handshakeTimeout: limits.headersMs,
        });
  const server = tlsServer ?? createServer(settings);
  const responsesOf = (socket: Socket): Set<ServerResponse> => {
    const known = unanswered.get(socket);
    if (known !== undefined) return known;
    const responses = new Set<ServerResponse>();
    unanswered.set(socket, responses);
    // Node closes a connection that asks for CONNECT, but forgets the responses that it has not sent there yet. So this
    // server destroys them itself.
    socket.once('close', () => {
      for (const response of responses) response.destroy();
    });
    return responses;
  };
  const serve: RequestListener = (request, response) => {
    const responses = responsesOf(request.socket);
    responses.add(response);
    response.once('close', () => responses.delete(response));
    options.onRequest(request, response);
  };
  server.on('request', serve);
  server.on('checkContinue', (request, response) => {
    expectContinue(response);
    serve(request, response);
  });
  // Without this listener, Node.js itself answers 417. The time that this takes would then count for a trusted proxy,
  // and not for the client behind the proxy.
  server.on('checkExpectation', serve);
  server.on('upgrade', (request, socket, head) => {
    PacedReading.of(request.socket)?.becomeOpaque();
    options.onUpgrade(request, socket, head);
  });
  server.on('connection', (socket) => connections.add(socket));
  server.on(tls === null ? 'connection' : 'secureConnection', (socket) => readAtPace(socket, connections));
  // Decryption takes time, too, and some TLS messages never become bytes of a request.
  if (tlsServer !== null) EncryptedBytes.readAll(tlsServer, (socket) => decryptAtPace(socket, connections));

  const watchEnd = () => {
    if (tls !== null) alarmIfOver(tls, log);
  };
  const watchingEnd = setInterval(watchEnd, END_CHECK_MS).unref();
  watchEnd();

  const reload = () => {
    if (tls === null) return;
    try {
      tlsServer?.setSecureContext({ ...readTls(tls), minVersion: 'TLSv1.2' });
      calm(log, [TLS_FILES]);
      watchEnd();
      log.info({ certificate: tls.certificate }, 'tls certificate reloaded');
    } catch (error) {
      // The certificate and its key may be replaced one after the other. Until they match, keep the old pair, and raise
      // an alarm.
      const facts = { err: error, certificate: tls.certificate };
      alarm(log, { key: TLS_FILES, message: 'tls certificate not reloaded', facts });
    }
  };
  const files = tls === null ? [] : [tls.certificate, tls.key];

  return {
    listen: ({ host, port }) =>
      new Promise((resolve, reject) => {
        server.once('error', (cause) => reject(cannotListen(options.door ?? 'HTTP', { host, port }, cause)));
        // By default, Node lets 511 connections wait while the server is busy. That is few, because the clients of all
        // addresses share these places.
        server.listen({ host, port, backlog: 4096 }, () => {
          for (const file of files) {
            watchFile(file, { interval: limits.tlsCheckMs, persistent: false }, reload);
          }
          const { address, port: bound } = server.address() as AddressInfo;
          resolve({ host: address, port: bound });
        });
      }),
    close: async () => {
      clearInterval(watchingEnd);
      for (const file of files) unwatchFile(file, reload);
      if (!server.listening) return;
      // `server.close` does not end upgraded connections, such as WebSockets, so they are closed after `drainMs`.
      const cut = setTimeout(() => connections.destroyAll(), limits.drainMs);
      await new Promise((resolve) => server.close(resolve));
      clearTimeout(cut);
    },
  };
}

/**
 * A request that `PacedReading` counts, even if Node.js answers it without an event, for example because it has no
 * Host.
 */
class CountedRequest extends IncomingMessage {
  constructor(socket: Socket) {
    super(socket);
    PacedReading.of(socket)?.countMessage();
  }
}

const LOOPBACK: ReadonlySet<string> = new Set(['127.0.0.1', '::1']);

/** A proxy on the same machine serves many people, even if no setting names it. */
function servesMany({ remoteAddress = '' }: Socket, connections: Connections): boolean {
  return LOOPBACK.has(plainAddress(remoteAddress)) || connections.isProxy(remoteAddress);
}

function decryptAtPace(socket: Socket, connections: Connections): void {
  if (servesMany(socket, connections)) return;
  PacedReading.begin(socket, networkOf(socket.remoteAddress ?? ''));
  PacedReading.of(socket)?.becomeOpaque();
}

function readAtPace(socket: Socket, connections: Connections): void {
  PacedReading.begin(socket, networkOf(socket.remoteAddress ?? ''), {
    hasTurns: !servesMany(socket, connections),
  });
  // Add and remove a `data` listener, so that PacedReading limits the reading from now on. Until one was added, Node's
  // HTTP parser reads directly from the operating system, past PacedReading.
  const nobody = () => {};
  socket.on('data', nobody).off('data', nobody);
}

/** The keys of two alarms: the TLS files cannot be reloaded, and the certificate has expired (alarms.ts). */
const TLS_FILES = 'TLS_FILES';
const TLS_END = 'TLS_END';
const END_CHECK_MS = 60 * 60_000;

/** Logs an alarm if the certificate has expired, because then all clients refuse this server. */
export function alarmIfOver(
  { certificate }: Pick<TlsFiles, 'certificate'>,
  log: Log,
  now: number = Date.now(),
): void {
  try {
    const { validTo } = new X509Certificate(readFileSync(certificate));
    if (new Date(validTo).getTime() > now) calm(log, [TLS_END]);
    else
      alarm(log, { key: TLS_END, message: 'tls certificate has expired', facts: { certificate, validTo } });
  } catch {
    // Raise no alarm here: `readTls` reports a certificate that cannot be read.
  }
}

/** Reads the certificate and its key. @throws DeployError `BAD_SETTING` if one of the files cannot be read. */
function readTls({ certificate, key }: TlsFiles): { cert: Buffer; key: Buffer } {
  try {
    return { cert: readFileSync(certificate), key: readFileSync(key) };
  } catch (cause) {
    throw new DeployError(
      'BAD_SETTING',
      `the file ${certificate} or the file ${key} cannot be read`,
      'Check the settings tls_certificate and tls_key, and whether this server may read the two files.',
      { cause },
    );
  }
}
