import type { Duplex } from 'node:stream';
import { z } from 'zod';
import type { CommandLine, Output } from '../command.ts';
import { warning } from '../command-line/printing.ts';
import { encodeFrames, type FrameKind } from './frames.ts';

const request = z.strictObject({ argv: z.array(z.string()) });

/**
 * The first line of the request for a command: on the local socket, and over HTTP if the client wants the answer in
 * frames. Ends in a newline.
 */
export function requestLine(argv: readonly string[]): string {
  return `${JSON.stringify({ argv })}\n`;
}

/** The command line in the first line of a request (`requestLine`). Null if the line does not have this form. */
export function readRequest(firstLine: string): string[] | null {
  try {
    return request.parse(JSON.parse(firstLine)).argv;
  } catch {
    return null;
  }
}

/**
 * Serves one command over the local socket. The client sends a line of JSON `{"argv":[…]}`, then the command's
 * standard input, and then half-closes the connection. The client gets frames (frames.ts), of which the last is `exit`.
 * The command's signal fires when the client has disconnected.
 *
 * If `run` rejects, tells the client that the server has a fault, and then rejects with the same error.
 *
 * @param rest - The bytes that have already arrived after the first line.
 * @param heartbeatMs - How often an empty frame is sent, to notice that the client of a quiet command has left.
 */
export async function serveControl(
  socket: Duplex,
  firstLine: string,
  rest: Uint8Array,
  run: (line: Omit<CommandLine, 'services' | 'principal'>) => Promise<number>,
  heartbeatMs = 10_000,
): Promise<void> {
  const gone = new AbortController();
  const leave = () => gone.abort();
  socket.on('error', leave).on('close', leave);
  if (socket.destroyed) leave();
  const say = (kind: FrameKind, payload: Uint8Array) => send(socket, kind, payload, gone.signal);
  const heartbeat = setInterval(() => void say('out', new Uint8Array()), heartbeatMs);
  try {
    await say('exit', Uint8Array.of(await answer(firstLine)));
  } finally {
    clearInterval(heartbeat);
    socket.off('close', leave).end();
    // Drop unread input, which would prevent the socket from closing.
    socket.resume();
  }

  async function answer(line: string): Promise<number> {
    const err = (text: Output) => say('err', Buffer.from(text));
    const argv = readRequest(line);
    if (argv === null) {
      await err(
        warning(
          'The server does not understand the request of this command.',
          'Use the same version of toolforge-push for the command and the server.',
        ),
      );
      return 2;
    }
    try {
      const out = (text: Output) => say('out', Buffer.from(text));
      return await run({ argv, input: inputOf(socket, rest), out, err, signal: gone.signal });
    } catch (error) {
      await err(warning('This is a fault of the server. The log of the server says more.'));
      await say('exit', Uint8Array.of(1));
      throw error;
    }
  }
}

async function* inputOf(socket: Duplex, rest: Uint8Array): AsyncGenerator<Uint8Array> {
  if (rest.length > 0) yield rest;
  // Keep the socket open when a command stops reading, because the command still answers over this socket.
  yield* socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>;
}

/** Sends a frame. Resolves when the socket has room for more, or when the client has left. */
async function send(socket: Duplex, kind: FrameKind, payload: Uint8Array, gone: AbortSignal): Promise<void> {
  if (gone.aborted || socket.writableEnded || socket.destroyed) return;
  if (socket.write(encodeFrames(kind, payload))) return;
  await new Promise<void>((resolve) => {
    const settle = () => {
      socket.off('drain', settle);
      gone.removeEventListener('abort', settle);
      resolve();
    };
    socket.on('drain', settle);
    gone.addEventListener('abort', settle);
  });
}
