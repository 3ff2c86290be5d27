import { connect, type Socket } from 'node:net';

/** The bytes that a server sent over one connection, and whether the server closed the connection. */
export interface RawAnswer {
  readonly text: string;
  readonly isClosed: boolean;
}

/** Sends pieces, each with a write of its own, `pauseMs` apart. Meanwhile, reads as `collect` does. */
export async function sendRaw(
  port: number,
  pieces: readonly (string | Buffer)[],
  { limitMs = 5_000, pauseMs = 20 } = {},
): Promise<RawAnswer> {
  const socket = connect(port, '127.0.0.1');
  socket.setNoDelay(true);
  const answer = collect(socket, limitMs);
  for (const piece of pieces) {
    socket.write(piece);
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
  return answer;
}

/** Reads until the server closes the connection, but at most for `limitMs`. */
export function collect(socket: Socket, limitMs: number): Promise<RawAnswer> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const settle = (isClosed: boolean) => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ text: Buffer.concat(chunks).toString('latin1'), isClosed });
    };
    const timer = setTimeout(settle, limitMs, false);
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('error', () => settle(true));
    socket.on('close', () => settle(true));
  });
}
