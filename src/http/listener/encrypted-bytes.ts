import type { Server } from 'node:https';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';

/**
 * If a client has sent this many bytes and its TLS handshake is not complete, its next bytes end the connection. The
 * handshakes of ordinary clients are shorter than 3 KiB. A long one can name thousands of key exchanges, which takes
 * OpenSSL tens of milliseconds.
 */
const HANDSHAKE_BYTES = 8 * 1024;

/**
 * The encrypted bytes of a TLS connection. If Node.js gets the accepted socket itself, it reads and decrypts without
 * calling any JavaScript, so that `PacedReading` cannot limit this. From this stream, Node.js gets the bytes that
 * `PacedReading` passes on.
 */
export class EncryptedBytes extends Duplex {
  readonly #socket: Socket;
  #handshakeBytes = 0;

  /**
   * Makes a server read each of its TLS connections through an `EncryptedBytes`.
   *
   * @param begin - Called with each accepted socket before any of its bytes are read.
   */
  static readAll(server: Server, begin: (socket: Socket) => void): void {
    const [startTls] = server.listeners('connection') as ((bytes: Duplex) => void)[];
    if (startTls === undefined) throw new Error('the server does not accept connections');
    server.off('connection', startTls);
    server.on('connection', (socket: Socket) => {
      begin(socket);
      startTls.call(server, new EncryptedBytes(socket));
    });
    server.prependListener('secureConnection', (tls) => EncryptedBytes.#under(tls).#beSecure(tls));
  }

  /** Node.js keeps the stream under a TLS socket here, and has no public name for it. */
  static #under(tls: TLSSocket): EncryptedBytes {
    return (tls as unknown as { _handle: { _parentWrap: { stream: EncryptedBytes } } })._handle._parentWrap
      .stream;
  }

  private constructor(socket: Socket) {
    super({ allowHalfOpen: socket.allowHalfOpen });
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.once('end', () => this.push(null));
    socket.once('error', (error) => this.destroy(error));
    socket.once('close', () => this.destroy());
  }

  #receive(chunk: Buffer): void {
    if (this.#handshakeBytes >= HANDSHAKE_BYTES) return void this.destroy();
    this.#handshakeBytes += chunk.length;
    if (!this.push(chunk)) this.#socket.pause();
  }

  /** The handshake is complete. Gives the TLS socket the addresses, which Node.js does not know behind a stream. */
  #beSecure(tls: TLSSocket): void {
    this.#handshakeBytes = Number.NEGATIVE_INFINITY;
    const { remoteAddress, remotePort, remoteFamily, localAddress, localPort } = this.#socket;
    for (const [name, value] of Object.entries({
      remoteAddress,
      remotePort,
      remoteFamily,
      localAddress,
      localPort,
    })) {
      Object.defineProperty(tls, name, { value });
    }
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#socket.write(chunk, done);
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this.#socket.cork();
    for (const [index, { chunk }] of chunks.entries()) {
      this.#socket.write(chunk, index === chunks.length - 1 ? done : undefined);
    }
    this.#socket.uncork();
  }

  override _final(done: () => void): void {
    this.#socket.end(done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy();
    done(error);
  }
}
