import { EventEmitter, once } from 'node:events';
import type { Duplex } from 'node:stream';

/** The open requests and WebSockets of a web process. */
export class OpenRequests {
  readonly #events = new EventEmitter();
  readonly #sockets = new Set<Duplex>();
  #requests = 0;

  get requests(): number {
    return this.#requests;
  }

  /** Counts a request. @returns a function to call at its end; further calls do nothing. */
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

  /** Tracks a WebSocket until it closes. */
  hold(socket: Duplex): void {
    if (socket.destroyed) return;
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
  }

  /** Waits until no request is open, or until the signal fires. */
  async untilIdle(signal: AbortSignal): Promise<void> {
    if (this.#requests === 0 || signal.aborted) return;
    // Rejects when the signal fires, which ends the wait too.
    await once(this.#events, 'idle', { signal }).catch(() => {});
  }

  closeSockets(): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}
