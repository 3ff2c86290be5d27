import { Agent, type AgentOptions, type ClientRequest } from 'node:http';
import { Socket, type TcpNetConnectOpts } from 'node:net';
import { systemCode } from '../../core/errors.ts';

/**
 * Makes a connection for each request. A tool may answer before it has read the request, and close: that the rest of a
 * body cannot be sent then is no error, and the answer is read.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-9.6
 */
export class AnswerFirstAgent extends Agent {
  constructor(options?: Omit<AgentOptions, 'keepAlive'>) {
    super({ ...options, keepAlive: false });
  }

  override createConnection(options: AgentOptions): Socket {
    return new AnswerFirstSocket().connect(options as TcpNetConnectOpts);
  }

  /** Tells the connection of a request that its answer has begun. */
  static watch(outgoing: ClientRequest): void {
    outgoing.once('response', ({ socket }) => {
      if (socket instanceof AnswerFirstSocket) socket.answered();
    });
  }
}

/** Until the answer begins, what the tool sends is read in pieces of this size. */
const PIECE_BYTES = 1024;

type Done = (error?: Error | null) => void;

class AnswerFirstSocket extends Socket {
  #hasAnswer = false;

  /** The answer has begun. */
  answered(): void {
    this.#hasAnswer = true;
  }

  /** A packet can hold thousands of interim answers: whoever counts them can end the connection after each piece. */
  override push(chunk: Buffer | null, encoding?: BufferEncoding): boolean {
    let rest = chunk;
    while (rest !== null && rest.length > PIECE_BYTES && !this.#hasAnswer && !this.destroyed) {
      super.push(rest.subarray(0, PIECE_BYTES), encoding);
      rest = rest.subarray(PIECE_BYTES);
    }
    return this.destroyed ? false : super.push(rest, encoding);
  }

  override _write(chunk: unknown, encoding: BufferEncoding, done: Done): void {
    super._write(chunk, encoding, unlessClosed(done));
  }

  override _writev(chunks: { chunk: unknown; encoding: BufferEncoding }[], done: Done): void {
    super._writev?.(chunks, unlessClosed(done));
  }
}

/** What reads the connection comes to its end, and to why, by itself. */
function unlessClosed(done: Done): Done {
  return (error) => {
    const code = systemCode(error);
    done(code === 'EPIPE' || code === 'ECONNRESET' ? null : error);
  };
}
