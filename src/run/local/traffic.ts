import { EventEmitter, once } from 'node:events';
import type { Duplex } from 'node:stream';

/** The requests and WebSockets that a web process is busy with. */
export class Traffic {
  readonly #events = new EventEmitter();
  readonly #sockets = new Set<Duplex>();
  #requests = 0;

  get requests(): number {
    return this.#requests;
  }

  /** Counts a request. @returns what to call at its end; further calls do nothing. */
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

  /** Holds a WebSocket until it closes. */
  hold(socket: Duplex): void {
    if (socket.destroyed) return;
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
  }

  /** Waits for the requests under way, until the signal at the latest. */
  async untilIdle(signal: AbortSignal): Promise<void> {
    if (this.#requests === 0 || signal.aborted) return;
    // The rejection is the signal, and then the wait is over too.
    await once(this.#events, 'idle', { signal }).catch(() => {});
  }

  closeSockets(): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}
