import { Agent, type AgentOptions } from 'node:http';
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
