import type { Config } from '../../config.ts';
import { DeployError } from '../../core/errors.ts';
import { PacedReading } from '../../core/fair-share/paced-reading.ts';
import type { Log } from '../../core/log/log.ts';
import { SOURCE_PATH } from '../../core/network/addresses.ts';
import { answerError, answerText, type Exchange } from '../answer.ts';
import { watchBody } from '../body.ts';
import { Connections } from '../listener/connections.ts';
import { createListener, HTTP_LIMITS, type Listener } from '../listener/listener.ts';
import { TrustedProxies } from '../listener/trusted-proxies.ts';
import { pathOf, routeOf } from '../routes.ts';
import { type Sources, serveSource } from './serve-source.ts';

export interface SourceListenerOptions {
  readonly config: Pick<Config, 'sources_listen' | 'source_url'>;
  readonly sources: Sources;
  readonly log: Log;
}

/** A `Listener` at the address in `sources_listen`. */
export interface SourceListener {
  /** Starts to listen. @throws DeployError `CANNOT_LISTEN` if the address cannot be used. */
  listen(): ReturnType<Listener['listen']>;
  close(): Promise<void>;
}

const ANY = ['0.0.0.0', '::'];

/**
 * Creates a plain HTTP listener only for builds, so that they need not reach the listener that takes passwords. It
 * serves the source code of a build to requests with the build's token, and answers 404 to all other requests.
 *
 * @returns null if `sources_listen` is not set, because the HTTP server then serves the source code.
 * @throws DeployError `BAD_SETTING` if the settings do not give builds an address of this listener.
 */
export function createSourceListener({ config, sources, log }: SourceListenerOptions): SourceListener | null {
  const address = config.sources_listen;
  if (address === null) return null;
  if (ANY.includes(address.host) && config.source_url === '') {
    throw new DeployError(
      'BAD_SETTING',
      `the setting sources_listen is ${address.host}, which builds cannot use as an address, and source_url is not set`,
      'Set source_url to the address at which builds reach sources_listen, for example http://toolforge-push.toolforge-push.svc:8081.',
    );
  }
  const serve = async (exchange: Exchange): Promise<void> => {
    const { method = '', url = '' } = exchange.request;
    if (routeOf(method, url).kind === 'source') return await serveSource(exchange, sources);
    answerText(exchange, 404, `This port only serves ${SOURCE_PATH}, for builds.\n`);
  };
  const places = HTTP_LIMITS.connections;
  const connections = new Connections({ places, trustedProxies: new TrustedProxies([]), isTls: false });
  const listener = createListener({
    door: 'SOURCES_LISTEN',
    tls: null,
    limits: HTTP_LIMITS,
    connections,
    log,
    canUpgrade: () => false,
    onUpgrade: (_request, socket) => socket.destroy(),
    onRequest: (request, response) => {
      response.once('close', connections.occupy(request.socket));
      PacedReading.of(request.socket)?.begin(request);
      const gone = new AbortController();
      const { lingerMs, bodyIdleMs } = HTTP_LIMITS;
      const exchange: Exchange = { request, response, log, signal: gone.signal, lingerMs, leave: () => {} };
      const peer = request.socket.remoteAddress ?? '';
      response.on('error', () => {});
      watchBody(request, response, bodyIdleMs);
      response.once('close', () => {
        gone.abort();
        const status = response.headersSent ? response.statusCode : null;
        // A hostile build can send any number of wrong requests, so they leave no lines in the log.
        if (status === 404) return;
        const path = pathOf(request.url ?? '').slice(0, 200);
        const facts = { method: request.method, path, status, isWhole: response.writableFinished };
        log.info({ ...facts, address: peer }, 'source request');
      });
      serve(exchange).catch((error: unknown) => answerError(exchange, error));
    },
  });
  return { listen: () => listener.listen(address), close: () => listener.close() };
}
