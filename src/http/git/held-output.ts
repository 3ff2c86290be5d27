import type { ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';

/**
 * How much of git's output is held at most. If git prints more, the output is sent before the whole body of the request
 * has been read. Otherwise git and the client would wait for each other.
 */
const HELD_BYTES = 1024 * 1024;

/**
 * Sends git's output to an HTTP client. Holds the output until the caller has read the whole body and calls `release`,
 * because clients misread an answer that comes while they still send. If git prints more than 1 MiB (`HELD_BYTES`),
 * sends the output without waiting for `release`. If the client disconnects, reads and discards the rest of the output.
 * Otherwise git, which writes to `source`, would wait for ever.
 */
export class HeldOutput {
  /** Settles when `source` has ended, with its error or null. */
  readonly ended: Promise<Error | null>;
  readonly #source: Readable;
  readonly #response: ServerResponse;
  readonly #begin: () => void;
  #state: 'holding' | 'sending' | 'discarding' = 'holding';
  #held: Buffer[] = [];
  #heldBytes = 0;

  /** @param begin - Writes the head of the answer. Called once, before the first byte. */
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

  /** True if git has printed nothing yet: no output is held, and none was sent. */
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
