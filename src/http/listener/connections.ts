import type { Socket } from 'node:net';
import { networkOf, plainAddress } from '../../core/network/ip-address.ts';
import { rawRefusal } from './refusal.ts';
import type { TrustedProxies } from './trusted-proxies.ts';

interface Connection {
  readonly socket: Socket;
  /** The client's network. Null for a trusted proxy, because a proxy serves many clients. */
  readonly network: string | null;
  /** Requests in progress. A WebSocket counts as one until it closes. */
  requests: number;
  hasSpoken: boolean;
}

export interface ConnectionsOptions {
  /** The maximum number of connections of the listener. */
  readonly places: number;
  readonly trustedProxies: Pick<TrustedProxies, 'check'>;
  /**
   * True if the listener uses TLS. If the server then closes a connection before its first request, it cannot tell the
   * client why.
   */
  readonly isTls: boolean;
}

/**
 * The connections of one listener. A connection with a request in progress stays. All others are idle: they have not
 * sent a whole request yet, or are kept alive. If the network of a new connection has more idle connections than places
 * are free, the network's oldest idle connection is closed. If no place is left, the oldest idle connection of the
 * network with the most idle connections is closed. So silent clients cannot fill the listener.
 */
export class Connections {
  readonly #options: ConnectionsOptions;
  readonly #all = new Map<string, Connection>();
  /** The idle connections, in the order in which they became idle. */
  readonly #idle = new Set<Connection>();
  readonly #idleOf = new Map<string, number>();

  constructor(options: ConnectionsOptions) {
    this.#options = options;
  }

  add(socket: Socket): void {
    const { remoteAddress } = socket;
    // Without an address, the client has already disconnected.
    if (remoteAddress === undefined) return void socket.destroy();
    const name = nameOf(socket);
    const network = this.isProxy(remoteAddress) ? null : networkOf(remoteAddress);
    const connection: Connection = { socket, network, requests: 0, hasSpoken: false };
    this.#all.set(name, connection);
    this.#setIdle(connection, true);
    socket.once('close', () => this.#forget(name, connection));
    this.#makeRoom(connection);
  }

  /**
   * Marks the connection of a request as busy, so that it is not closed to make room for a new connection.
   *
   * @returns a function to call when the request has ended; only its first call counts.
   */
  occupy(socket: Socket): () => void {
    const connection = this.#all.get(nameOf(socket));
    if (connection === undefined) return () => {};
    connection.requests += 1;
    connection.hasSpoken = true;
    this.#setIdle(connection, false);
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      connection.requests -= 1;
      if (connection.requests === 0 && this.#all.get(nameOf(socket)) === connection) {
        this.#setIdle(connection, true);
      }
    };
  }

  /**
   * Ends a connection, and drops the bytes that the kernel still keeps for the client. After `destroy`, the kernel
   * would go on trying to send them for minutes.
   */
  reset(socket: Socket): void {
    // With TLS, `socket` lies on top of the accepted socket, and only the accepted socket can be reset.
    this.#all.get(nameOf(socket))?.socket.resetAndDestroy();
    socket.destroy();
  }

  destroyAll(): void {
    for (const { socket } of this.#all.values()) socket.destroy();
  }

  #makeRoom(newcomer: Connection): void {
    const free = this.#options.places - this.#all.size;
    const { network } = newcomer;
    if (network !== null && (this.#idleOf.get(network) ?? 0) > Math.max(free, 1)) {
      this.#pushOut((idle) => idle.network === network);
    } else if (free < 0) {
      const most = Math.max(...this.#idleOf.values());
      const isOfMost = (idle: Connection) => idle.network !== null && this.#idleOf.get(idle.network) === most;
      // The idle connections of proxies are closed last, because they may carry the next request of any client.
      if (!this.#pushOut(isOfMost)) this.#pushOut(() => true);
    }
  }

  #pushOut(isMeant: (idle: Connection) => boolean): boolean {
    for (const connection of this.#idle) {
      if (!isMeant(connection)) continue;
      const { socket, hasSpoken } = connection;
      this.#forget(nameOf(socket), connection);
      // Send no refusal to a client that has already sent a request, because the client would take it for the answer to
      // its next request.
      if (hasSpoken || this.#options.isTls) socket.destroy();
      else {
        socket.write(rawRefusal('This server has too many open connections that send no request.'));
        socket.destroySoon();
      }
      return true;
    }
    return false;
  }

  #setIdle(connection: Connection, isIdle: boolean): void {
    if (this.#idle.has(connection) === isIdle) return;
    if (isIdle) this.#idle.add(connection);
    else this.#idle.delete(connection);
    const { network } = connection;
    if (network === null) return;
    const count = (this.#idleOf.get(network) ?? 0) + (isIdle ? 1 : -1);
    if (count === 0) this.#idleOf.delete(network);
    else this.#idleOf.set(network, count);
  }

  #forget(name: string, connection: Connection): void {
    this.#setIdle(connection, false);
    if (this.#all.get(name) === connection) this.#all.delete(name);
  }

  /** Whether this is the address of a trusted proxy, which serves many clients. */
  isProxy(remoteAddress: string): boolean {
    return this.#options.trustedProxies.check(plainAddress(remoteAddress));
  }
}

/** Returns a name of the connection, the same for the accepted socket and for the TLS socket on top of it. */
function nameOf({ localAddress, remoteAddress, remotePort }: Socket): string {
  return `${localAddress} ${remoteAddress} ${remotePort}`;
}
