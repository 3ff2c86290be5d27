import { EventEmitter, once } from 'node:events';
import type { Duplex } from 'node:stream';

/** Counts the open requests of a web process, and keeps its open WebSockets. */
export class OpenRequests {
  readonly #events = new EventEmitter();
  readonly #sockets = new Set<Duplex>();
  #requests = 0;

  get requests(): number {
    return this.#requests;
  }

  /** Counts a new request. @returns a function to call when the request ends; further calls do nothing. */
  enter(): () => void {
    let isOver = false;
    this.#requests += 1;
    return () => {
      if (isOver) return;
      isOver = true;
      this.#requests -= 1;
      if (this.#requests === 0) this.#events.emit('idle');
    };
  }

  /** Keeps a WebSocket until it closes, so that `closeSockets` can close it. */
  hold(socket: Duplex): void {
    if (socket.destroyed) return;
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
  }

  /** Waits until no request is open or the signal fires. */
  async untilIdle(signal: AbortSignal): Promise<void> {
    if (this.#requests === 0 || signal.aborted) return;
    // If the signal fires, `once` rejects. That is no error here: the wait is over.
    await once(this.#events, 'idle', { signal }).catch(() => {});
  }

  closeSockets(): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}
