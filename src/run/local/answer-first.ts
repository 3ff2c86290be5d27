import { Agent, type AgentOptions, type ClientRequest } from 'node:http';
import { Socket, type TcpNetConnectOpts } from 'node:net';
import { systemCode } from '../../core/errors.ts';
import { PacedReading } from '../../core/paced-reading.ts';

/**
 * Makes a connection for each request. A tool may answer before it has read the request, and close: that the rest of a
 * body cannot be sent then is no error, and the answer is read. All connections to one process are read at its pace.
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

  /** Reads the answer to this request, or what takes its place, as what it is. */
  static watch(outgoing: ClientRequest): void {
    outgoing.once('response', (answer) => PacedReading.of(answer.socket)?.begin(answer));
    outgoing.once('upgrade', (_answer, socket) => PacedReading.of(socket)?.becomeOpaque());
  }
}

type Done = (error?: Error | null) => void;

class AnswerFirstSocket extends Socket {
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
