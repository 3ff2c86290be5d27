import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { dataInUse } from '../core/disk/data-folder.ts';
import { DeployError, systemCode } from '../core/errors.ts';
import { alarm, calm } from '../core/log/alarms.ts';
import type { Log } from '../core/log/log.ts';

/** A connection to the local socket, after its first line was read. */
export interface LocalConnection {
  readonly socket: Socket;
  /** The first line that the client has sent, without its newline. */
  readonly firstLine: string;
  /** The bytes that have already arrived after the first line. */
  readonly rest: Buffer;
}

export interface LocalSocketOptions {
  readonly path: string;
  readonly log: Log;
  readonly serve: (connection: LocalConnection) => Promise<void>;
}

// sun_path of unix(7) has 108 bytes, of which the last is a NUL.
const MAX_PATH = 107;
const MAX_FIRST_LINE = 1024 * 1024;
/** How often the server checks that the file of the socket still exists. */
const LOOK_MS = 2000;
/** The key of the alarm for a socket that does not work. */
const TROUBLE = 'LOCAL_SOCKET';

/**
 * The socket in the data folder, for git hooks and the local binary. Only the server's own user, and root, can connect.
 */
export class LocalSocket {
  readonly #options: LocalSocketOptions;
  #server: Server;
  readonly #open = new Set<Socket>();
  #watch: NodeJS.Timeout | null = null;
  #binding: Promise<void> | null = null;
  #isClosed = false;

  constructor(options: LocalSocketOptions) {
    this.#options = options;
    this.#server = this.#make();
  }

  /** Makes the socket. @throws DeployError `DATA_PATH_TOO_LONG` if its path is too long for a socket. */
  async listen(): Promise<void> {
    const { path } = this.#options;
    if (Buffer.byteLength(path) > MAX_PATH) {
      const spare = Buffer.byteLength(path) - MAX_PATH;
      throw new DeployError(
        'DATA_PATH_TOO_LONG',
        `the path of the data folder is ${spare} bytes too long for the socket ${path}`,
        'Set TOOLFORGE_PUSH_DATA to a shorter path.',
      );
    }
    this.#isClosed = false;
    await this.#bind();
    this.#watch = setInterval(() => this.#look(), LOOK_MS).unref();
  }

  /** Makes the socket again if its file was deleted, because without the file every push would be refused. */
  #look(): void {
    if (this.#isClosed || existsSync(this.#options.path)) return;
    this.#binding ??= this.#bindAgain().finally(() => {
      this.#binding = null;
    });
  }

  async #bindAgain(): Promise<void> {
    const { path, log } = this.#options;
    // Closing `#server` keeps its connections open, but deletes the file of the socket. So close it now, before the
    // server that replaces it makes this file again.
    this.#server.close();
    this.#server = this.#make();
    try {
      await this.#bind();
    } catch (err) {
      const message = 'the socket was deleted, and cannot be made again yet';
      alarm(log, { key: TROUBLE, message, facts: { err, path } });
      return;
    }
    if (this.#isClosed) return;
    log.warn({ path }, 'the socket was deleted, and is made again');
    calm(log, [TROUBLE]);
  }

  #make(): Server {
    const { path, log } = this.#options;
    const server = createServer({ allowHalfOpen: true }, (socket) => void this.#serve(socket));
    // Report a failure of accept(2). Without this listener, such a failure would end the process. If the server cannot
    // listen at all, `#bind` reports that.
    server.on('error', (err) => {
      const message = 'the socket cannot take a connection';
      if (server.listening) alarm(log, { key: TROUBLE, message, facts: { err, path } });
    });
    return server;
  }

  async #bind(): Promise<void> {
    const { path } = this.#options;
    await mkdir(dirname(path), { recursive: true, mode: 0o711 });
    if (this.#isClosed) return;
    await rm(path, { force: true });
    // Do not listen again after `close`, because nobody would close this socket, and the next server may already use
    // the path.
    if (this.#isClosed) return;
    // Only the user of the server may connect. `listen` creates the file of the socket before it returns. If another
    // thread creates a file or folder at the same moment, this mask applies to it, too. That does no harm, because the
    // server may also be started with this mask.
    const mask = process.umask(0o077);
    this.#server.listen(path);
    process.umask(mask);
    await once(this.#server, 'listening');
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#watch !== null) clearInterval(this.#watch);
    for (const socket of this.#open) socket.destroy();
    // `#bind` may be about to delete the file of the socket. Wait until `#bind` has ended, so that it does not delete
    // the file that the next server makes.
    await this.#binding;
    if (this.#server.listening) {
      this.#server.close();
      await once(this.#server, 'close');
    }
  }

  async #serve(socket: Socket): Promise<void> {
    calm(this.#options.log, [TROUBLE]);
    this.#open.add(socket);
    socket.on('close', () => this.#open.delete(socket));
    // Ignore errors of the connection, because a client may leave at any time.
    socket.on('error', () => undefined);
    try {
      const first = await readFirstLine(socket);
      // The first line is too long, or the client has left. End the connection, because a client that still sends must
      // not stay connected.
      if (first === null) socket.destroy();
      else await this.#options.serve({ socket, ...first });
    } catch (err) {
      this.#options.log.error({ err }, 'local connection failed');
    } finally {
      socket.end();
    }
  }
}

/**
 * Checks that no other server listens on the socket. Called by a server that has just taken the lock of its data
 * folder: if somebody deleted the file of the lock, another server may still be at work in the folder.
 *
 * @throws DeployError `DATA_IN_USE` if another server listens.
 */
export async function assertNobodyListens(path: string): Promise<void> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
  } catch (error) {
    // With EAGAIN, a server listens, but cannot take the connection now (unix(7)). Any other error means that no server
    // listens.
    if (systemCode(error) !== 'EAGAIN') return;
  } finally {
    socket.destroy();
  }
  throw dataInUse('another server, and its lock, server.lock, was deleted');
}

async function readFirstLine(socket: Socket): Promise<{ firstLine: string; rest: Buffer } | null> {
  let bytes = Buffer.alloc(0);
  while (bytes.length <= MAX_FIRST_LINE) {
    const chunk = (socket.read() as Buffer | null) ?? (await nextChunk(socket));
    if (chunk === null) return null;
    bytes = Buffer.concat([bytes, chunk]);
    const end = bytes.indexOf(10);
    if (end >= 0) return { firstLine: bytes.toString('utf8', 0, end), rest: bytes.subarray(end + 1) };
  }
  return null;
}

async function nextChunk(socket: Socket): Promise<Buffer | null> {
  while (!socket.readableEnded && !socket.destroyed) {
    const gone = Promise.race([once(socket, 'readable'), once(socket, 'end'), once(socket, 'close')]);
    await gone.catch(() => undefined);
    const chunk = socket.read() as Buffer | null;
    if (chunk !== null) return chunk;
  }
  return null;
}
