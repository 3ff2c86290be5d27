import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { PacedReading } from '../../core/fair-share/paced-reading.ts';

/**
 * How often the connections are checked. Within this time, clients and tools can fill a few hundred MB of kernel
 * memory.
 */
const CHECK_MS = 250;
/**
 * While the kernel's memory for connections is scarce, a connection ends if bytes wait on it and none of them moves for
 * this long.
 */
const SCARCE_MS = 10_000;
/**
 * While the kernel's memory for connections is scarce, one address or one tool may have this many connections on which
 * bytes wait. If some have more, each check ends all such connections of the address or tool with the most.
 */
const MAX_WAITING = 20;

interface Owner {
  /** The network of the client. */
  readonly network: string;
  readonly tool: string;
  readonly isWebSocket: boolean;
}

/** One of the two directions of a connection: to the client, or from the client to the tool. */
interface Direction {
  /** True if bytes wait that the receiver has not read yet. */
  readonly isWaiting: () => boolean;
  /** Returns how many bytes have moved in this direction so far. */
  readonly moved: () => number;
  seen: number;
  seenAt: number;
}

interface Watched extends Owner {
  readonly socket: Socket;
  readonly directions: readonly Direction[];
}

/**
 * Ends connections to tools on which bytes wait because the client or the tool does not read them. The kernel keeps
 * megabytes for each such connection, even if the client has left, because the server notices that a client has left
 * only when it reads from the connection.
 *
 * A WebSocket ends if bytes wait in one direction, and none of them moves for `unreadMs`. The kernel has one limit for
 * the memory of all connections. While much of that memory is in use, each connection to a tool ends if bytes wait and
 * none of them moves for `SCARCE_MS`. If an address or a tool then has more than `MAX_WAITING` connections on which
 * bytes wait, those of the address or tool with the most end.
 */
export class StalledConnections {
  readonly #options: StalledConnectionsOptions;
  readonly #all = new Map<Socket, Watched>();
  #timer: NodeJS.Timeout | null = null;

  constructor(options: StalledConnectionsOptions) {
    this.#options = options;
  }

  /**
   * Watches the connection of a request or a WebSocket to a tool.
   *
   * @returns a function to call when the request or the WebSocket has ended.
   */
  watch(request: IncomingMessage, owner: Owner): () => void {
    const { socket } = request;
    const watched = { socket, ...owner, directions: directionsOf(socket, request) };
    this.#all.set(socket, watched);
    this.#timer ??= setInterval(() => this.#check(), CHECK_MS).unref();
    return () => {
      // Delete nothing if the connection already has its next request, because `#all` then has the entry of that
      // request.
      if (this.#all.get(socket) === watched) this.#all.delete(socket);
      if (this.#all.size > 0 || this.#timer === null) return;
      clearInterval(this.#timer);
      this.#timer = null;
    };
  }

  #check(): void {
    const isScarce = this.#options.isScarce();
    const waiting: Watched[] = [];
    for (const watched of [...this.#all.values()]) {
      // `watchReader` and the time limit for the tool's answer limit how long the bytes of an ordinary request wait.
      const usualMs = watched.isWebSocket ? this.#options.unreadMs : Number.POSITIVE_INFINITY;
      const limitMs = isScarce ? SCARCE_MS : usualMs;
      const waitedMs = watched.directions.map(waitedMsOf);
      if (Math.max(...waitedMs) >= limitMs) this.#options.end(watched.socket);
      else if (watched.directions.some(({ isWaiting }) => isWaiting())) waiting.push(watched);
    }
    if (!isScarce) return;
    const groups = [
      ...Map.groupBy(waiting, ({ network }) => network).values(),
      ...Map.groupBy(waiting, ({ tool }) => tool).values(),
    ];
    const [most = []] = groups.sort((a, b) => b.length - a.length);
    if (most.length > MAX_WAITING) for (const { socket } of most) this.#options.end(socket);
  }
}

export interface StalledConnectionsOptions {
  /** How long bytes may wait on a WebSocket on which no byte moves. */
  readonly unreadMs: number;
  /** Whether the connections of the machine use much of the kernel's memory for connections. */
  readonly isScarce: () => boolean;
  /** Ends a connection without waiting until its bytes have been sent. */
  readonly end: (socket: Socket) => void;
}

function directionsOf(socket: Socket, request: IncomingMessage): Direction[] {
  const seenAt = performance.now();
  const isUnread = () => request.readableLength > 0 || socket.readableLength > 0;
  return [
    {
      isWaiting: () => socket.writableLength > 0,
      moved: () => socket.bytesWritten - socket.writableLength - queueOf(socket),
      ...{ seen: 0, seenAt },
    },
    {
      isWaiting: () => isUnread() || PacedReading.of(socket)?.isHolding === true,
      moved: () => socket.bytesRead,
      ...{ seen: 0, seenAt },
    },
  ];
}

/**
 * How many bytes of the current write of the socket the kernel has not taken yet. `writableLength` falls only after the
 * kernel has taken a whole write. Node.js also reads `writeQueueSize` for its own timeouts (`Socket._onTimeout`).
 */
function queueOf(socket: Socket): number {
  const { _handle } = socket as { _handle?: { readonly writeQueueSize?: number } | null };
  return _handle?.writeQueueSize ?? 0;
}

/** Returns for how many milliseconds bytes have waited in this direction while none of them moved. */
function waitedMsOf(direction: Direction): number {
  const now = performance.now();
  const moved = direction.moved();
  if (moved !== direction.seen || !direction.isWaiting()) {
    direction.seen = moved;
    direction.seenAt = now;
  }
  return now - direction.seenAt;
}
