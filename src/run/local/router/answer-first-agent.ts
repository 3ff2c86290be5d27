import type { AgentOptions, ClientRequest } from 'node:http';
import { Socket, type TcpNetConnectOpts } from 'node:net';
import { systemCode } from '../../../core/errors.ts';
import { PacedReading } from '../../../core/fair-share/paced-reading.ts';
import { Agent } from '../../../core/network/node-http.ts';

/**
 * Opens a new connection to a tool for each request. A tool may answer and close the connection before it has read the
 * whole body of the request. In that case, this class ignores the failed write, so that the router gets the answer.
 * `PacedReading` limits the time that the server spends on reading the answers of one process, over all its connections
 * together.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-9.6
 */
export class AnswerFirstAgent extends Agent {
  constructor(options?: Omit<AgentOptions, 'keepAlive'>) {
    super({ ...options, keepAlive: false });
  }

  override createConnection(options: AgentOptions): Socket {
    const socket = new AnswerFirstSocket();
    PacedReading.begin(socket, `${options.host} ${options.port}`);
    return socket.connect(options as TcpNetConnectOpts);
  }

  /**
   * Tells `PacedReading`, which reads the connection, when the answer begins or the connection changes to another
   * protocol.
   */
  static watch(outgoing: ClientRequest): void {
    outgoing.once('response', (answer) => {
      const reading = PacedReading.of(answer.socket);
      reading?.countMessage();
      reading?.begin(answer);
    });
    outgoing.once('upgrade', (_answer, socket) => PacedReading.of(socket)?.becomeOpaque());
  }
}

type Done = (error?: Error | null) => void;

class AnswerFirstSocket extends Socket {
  #isReset = false;
  #cause: Error | undefined;

  /**
   * Closes the connection. If bytes wait that the tool does not read, also drops the bytes that the kernel keeps for
   * the tool. Otherwise the kernel would keep megabytes, and go on trying to send them for minutes.
   */
  override destroy(error?: Error): this {
    if (this.#isReset || this.destroyed || this.connecting || this.writableLength === 0)
      return super.destroy(error ?? this.#cause);
    this.#isReset = true;
    this.#cause = error;
    return this.resetAndDestroy();
  }

  override _write(chunk: unknown, encoding: BufferEncoding, done: Done): void {
    super._write(chunk, encoding, unlessClosed(done));
  }

  override _writev(chunks: { chunk: unknown; encoding: BufferEncoding }[], done: Done): void {
    super._writev?.(chunks, unlessClosed(done));
  }
}

/**
 * Ignores that a write failed because the tool has closed the connection. Reading from the connection reports the
 * reason.
 */
function unlessClosed(done: Done): Done {
  return (error) => {
    const code = systemCode(error);
    done(code === 'EPIPE' || code === 'ECONNRESET' ? null : error);
  };
}
