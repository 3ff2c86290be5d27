import type { ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';

/** Held output beyond this goes out although the body has not been read: else git and client would wait for each other. */
const HELD_BYTES = 1024 * 1024;

/**
 * What git says, on its way to the client. It is held until `release`, since an HTTP client that gets its
 * answer before it has sent everything misreads it; then it goes out at once, chunk by chunk. When the client
 * has gone, it is read on and forgotten, so that nothing behind `source` ever waits for somebody who left.
 */
export class Outlet {
  /** Settles when `source` has ended, with its error or null. */
  readonly ended: Promise<Error | null>;
  readonly #source: Readable;
  readonly #response: ServerResponse;
  readonly #begin: () => void;
  #state: 'holding' | 'sending' | 'discarding' = 'holding';
  #held: Buffer[] = [];
  #heldBytes = 0;

  /** `begin` writes the head of the answer; it is called once, before the first byte. */
  constructor(source: Readable, response: ServerResponse, begin: () => void) {
    this.#source = source;
    this.#response = response;
    this.#begin = begin;
    this.ended = new Promise((resolve) => {
      source.once('end', () => resolve(null));
      source.on('error', resolve);
      source.once('close', () => resolve(new Error('the output of git broke off')));
    });
    source.on('data', (chunk: Buffer) => this.#take(chunk));
    response.on('drain', () => source.resume());
    response.once('close', () => this.discard());
    if (response.destroyed) this.discard();
  }

  /** True where nothing has been sent and nothing is waiting to be. */
  get isSilent(): boolean {
    return this.#heldBytes === 0 && !this.#response.headersSent;
  }

  release(): void {
    if (this.#state !== 'holding') return;
    this.#state = 'sending';
    for (const chunk of this.#held) this.#send(chunk);
    this.#held = [];
  }

  discard(): void {
    this.#state = 'discarding';
    this.#held = [];
    this.#source.resume();
  }

  #take(chunk: Buffer): void {
    if (this.#state === 'sending') this.#send(chunk);
    if (this.#state !== 'holding') return;
    this.#held.push(chunk);
    this.#heldBytes += chunk.length;
    if (this.#heldBytes > HELD_BYTES) this.release();
  }

  #send(chunk: Buffer): void {
    if (!this.#response.headersSent) this.#begin();
    if (!this.#response.write(chunk)) this.#source.pause();
  }
}
