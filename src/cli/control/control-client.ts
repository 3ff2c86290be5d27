import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { DeployError, systemCode } from '../../core/errors.ts';
import { requestLine } from './control-protocol.ts';
import { decodeFrames } from './frames.ts';

export interface ControlCall {
  /** The path of the server's local socket: `run/server.sock` in the data folder. */
  readonly socketPath: string;
  readonly argv: readonly string[];
  /** Standard input for the command. Null if the command has none. */
  readonly input: AsyncIterable<Uint8Array> | null;
  readonly out: (bytes: Uint8Array) => Promise<void>;
  readonly err: (bytes: Uint8Array) => Promise<void>;
  /** When this signal fires, the connection ends. The server then ends the command if it still can. */
  readonly signal?: AbortSignal;
}

/**
 * Runs one command in the running server, as its operator.
 *
 * @returns the command's exit status.
 * @throws DeployError `NO_SERVER` if no server runs; `NOT_THE_OPERATOR` if the server runs as another user;
 * `SERVER_GONE` if the server ends before it answers; the reason of `call.signal` when it fires.
 */
export async function callControl(call: ControlCall): Promise<number> {
  const socket = await reach(call.socketPath);
  const leave = () => socket.destroy();
  call.signal?.addEventListener('abort', leave);
  // Ignore the error here, because `readAnswer` reports how the connection ended.
  socket.on('error', () => undefined);
  try {
    socket.write(requestLine(call.argv));
    if (call.input === null) socket.end();
    // The input is not awaited, because a command may answer without reading it.
    else void pipeline(call.input, socket).catch(() => undefined);
    const status = await readAnswer(socket, call);
    if (status === null) throw serverGone(null);
    return status;
  } catch (error) {
    call.signal?.throwIfAborted();
    throw error;
  } finally {
    call.signal?.removeEventListener('abort', leave);
    socket.destroy();
  }
}

async function readAnswer(socket: Socket, { out, err }: ControlCall): Promise<number | null> {
  const frames = decodeFrames(bytesOf(socket));
  for await (const { kind, payload } of frames) {
    if (kind === 'exit') return payload[0] ?? 1;
    await (kind === 'out' ? out(payload) : err(payload));
  }
  return null;
}

/** Yields the bytes of the socket. @throws DeployError `SERVER_GONE` if the connection breaks. */
async function* bytesOf(socket: Socket): AsyncGenerator<Uint8Array> {
  try {
    yield* socket as AsyncIterable<Uint8Array>;
  } catch (error) {
    throw serverGone(error);
  }
}

function serverGone(cause: unknown): DeployError {
  return new DeployError(
    'SERVER_GONE',
    'the server ended before it answered this command',
    'When the server runs again, `ps TOOL` shows whether a deployment still runs.',
    { cause },
  );
}

async function reach(socketPath: string): Promise<Socket> {
  const socket = connect({ path: socketPath, allowHalfOpen: true });
  try {
    await once(socket, 'connect');
    return socket;
  } catch (cause) {
    const code = systemCode(cause);
    if (code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'ENOTDIR') {
      throw new DeployError(
        'NO_SERVER',
        'no server runs on this data folder',
        'Start a server with `npm start`, or set TOOLFORGE_PUSH_DATA to the data folder of the running server.',
        { cause },
      );
    }
    if (code === 'EACCES' || code === 'EPERM') {
      throw new DeployError(
        'NOT_THE_OPERATOR',
        'only the user that the server runs as can use commands on this machine',
        'Run the command as the user of the server (sudo -u), or use it over SSH.',
        { cause },
      );
    }
    throw cause;
  }
}
