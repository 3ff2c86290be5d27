import { once } from 'node:events';
import type { Socket } from 'node:net';
import type { Connection } from 'ssh2';
import { announceSignatureAlgorithms } from './protocol/algorithms.ts';
import { BY_APPLICATION, disconnect } from './protocol/messages.ts';
import { closeUnused, largestPacketOf } from './protocol/ssh2-internals.ts';
import type { ClientStreams } from './session/client-streams.ts';
import { type SessionServices, serveSession } from './session/ssh-session.ts';
import { Login, type LoginOptions } from './ssh-login.ts';

/** The most sessions of one connection: the default of OpenSSH's MaxSessions. */
const MAX_SESSIONS = 10;
/**
 * How many received bytes of one session may wait because the server has not read them yet. If there are more, the
 * server ends the connection. ssh2 does not enforce its window, which is 2 MiB. The same limit applies to the bytes of
 * all answers on one connection that wait because the client does not read them.
 */
const MAX_UNREAD_BYTES = 8 * 1024 * 1024;
/**
 * How many received bytes may wait in all sessions of a connection together. Honest clients reach at most 20 MiB: the
 * windows of ten sessions.
 */
const MAX_UNREAD_BYTES_OF_ALL = 24 * 1024 * 1024;
/**
 * The smallest packet size that a client may ask for. OpenSSH asks for 32 KiB, PuTTY for 16 KiB. Small packets cost
 * much CPU, and with a size of 0, ssh2 would loop for ever.
 */
const LEAST_PACKET_BYTES = 1024;
const LAST_WORDS_MS = 1000;
/**
 * How often a client may exchange keys in a minute. Honest clients do so after a gigabyte or an hour, and each exchange
 * blocks the server for a millisecond.
 */
const MAX_EXCHANGES_A_MINUTE = 30;
/**
 * A key exchange does not count for `MAX_EXCHANGES_A_MINUTE` if this many bytes have been transferred since the last
 * exchange, because encrypting the bytes has cost more than the exchange.
 */
const BYTES_FOR_AN_EXCHANGE = 8 * 1024 * 1024;
const MINUTE_MS = 60_000;

export interface ConnectionOptions extends SessionServices {
  readonly login: Omit<LoginOptions, 'gone'>;
  readonly idleMs: number;
}

/** One SSH connection of a client: its login, then its sessions. An error in it ends only this connection. */
export class ServedConnection {
  readonly #client: Connection;
  readonly #socket: Socket;
  readonly #options: ConnectionOptions;
  readonly #login: Login;
  readonly #gone = new AbortController();
  readonly #stop = new AbortController();
  readonly #running = new Map<ClientStreams, Promise<void>>();
  #sessions = 0;
  #exchangedAt: number[] = [];
  #bytesAtExchange = 0;
  #isClosing = false;
  #idle: NodeJS.Timeout | null = null;

  constructor(client: Connection, socket: Socket, options: ConnectionOptions) {
    this.#client = client;
    this.#socket = socket;
    this.#options = options;
    announceSignatureAlgorithms(client);
    this.#login = new Login(client, { ...options.login, gone: this.#gone.signal });
    client.on('error', (error) => {
      options.log.debug({ address: options.login.address, err: error }, 'ssh connection broke');
      this.#leave();
      // Destroy the socket, because ssh2 only ends the server's side of the connection, and ssh2's keep-alive timer
      // would continue.
      socket.destroy();
    });
    client.on('end', () => this.#leave());
    client.on('close', () => this.#leave());
    client.on('ready', () => this.#onReady());
    client.on('rekey', () => this.#onRekey());
    // Allow more listeners, because each session may add one while it waits for the end of a key exchange.
    client.setMaxListeners(MAX_SESSIONS * 2);
    client.on('session', (accept, reject) => {
      const { principal } = this.#login;
      if (principal === null || this.#isClosing || this.#sessions >= MAX_SESSIONS) return reject();
      const session = accept();
      if (largestPacketOf(session) < LEAST_PACKET_BYTES)
        return this.#cut('ssh connection ended: the client asks for packets that are too small');
      this.#sessions += 1;
      // Use `once`, because a client may close the same session again and again.
      session.once('close', () => {
        this.#sessions -= 1;
        closeUnused(client, session);
      });
      serveSession(session, {
        ...options,
        principal,
        connection: { client, socket },
        signal: this.#stop.signal,
        drop: (streams, why) => this.#drop(streams, why),
        onRun: (streams, done) => this.#onRun(streams, done),
      });
    });
    socket.on('data', () => this.#checkFlood());
  }

  /** Resolves when no session of this connection runs. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running.values());
  }

  /** Refuses new sessions, and ends the connection after the running ones. */
  async close(): Promise<void> {
    this.#isClosing = true;
    const isBusy = this.#running.size > 0;
    await this.idle();
    // Give the client time to receive the last output and to disconnect.
    if (isBusy && !this.#socket.destroyed) {
      const limit = AbortSignal.timeout(LAST_WORDS_MS);
      await once(this.#socket, 'close', { signal: limit }).catch(() => undefined);
    }
    this.#client.end();
  }

  /** Ends the connection now. Pushes that git has already accepted continue. */
  destroy(): void {
    this.#stop.abort();
    this.#leave();
    this.#socket.destroy();
  }

  /**
   * Ends a session whose client reads nothing. If no other session runs, also ends the connection and says why. Clients
   * print this reason even if they accept no output.
   */
  #drop(streams: ClientStreams, why: string): void {
    const { log, login } = this.#options;
    log.info(
      { uid: this.#login.principal?.uid, address: login.address },
      'ssh client dropped: it reads nothing',
    );
    if (this.#running.size === 1) {
      disconnect(this.#client, BY_APPLICATION, why);
      this.#socket.end();
      setTimeout(() => this.#socket.destroy(), LAST_WORDS_MS).unref();
    }
    streams.leave();
  }

  #onReady(): void {
    const { log, login } = this.#options;
    log.info(
      {
        uid: this.#login.principal?.uid,
        credential: this.#login.principal?.credential,
        address: login.address,
      },
      'ssh login',
    );
    this.#restIfIdle();
  }

  #onRun(streams: ClientStreams, done: Promise<void>): void {
    if (this.#idle !== null) clearTimeout(this.#idle);
    if (this.#gone.signal.aborted) streams.leave();
    const ended = done.finally(() => {
      this.#running.delete(streams);
      this.#restIfIdle();
    });
    this.#running.set(streams, ended);
  }

  #restIfIdle(): void {
    if (this.#running.size > 0 || this.#gone.signal.aborted) return;
    this.#idle = setTimeout(() => this.#client.end(), this.#options.idleMs).unref();
  }

  /**
   * Ends the connection if the client exchanges keys too often. Before the login, no client has a reason to exchange
   * them again.
   */
  #onRekey(): void {
    const bytes = this.#socket.bytesRead + this.#socket.bytesWritten;
    const isPaid = this.#login.principal !== null && bytes - this.#bytesAtExchange >= BYTES_FOR_AN_EXCHANGE;
    this.#bytesAtExchange = bytes;
    if (isPaid) return;
    const now = performance.now();
    this.#exchangedAt = [...this.#exchangedAt.filter((at) => now - at < MINUTE_MS), now];
    const most = this.#login.principal === null ? 0 : MAX_EXCHANGES_A_MINUTE;
    if (this.#exchangedAt.length > most)
      this.#cut('ssh connection ended: the client exchanges keys too often');
  }

  #checkFlood(): void {
    const unread = [...this.#running.keys()].map((streams) => streams.waitingBytes);
    const isFlood =
      unread.some((bytes) => bytes > MAX_UNREAD_BYTES) ||
      unread.reduce((sum, bytes) => sum + bytes, 0) > MAX_UNREAD_BYTES_OF_ALL ||
      this.#socket.writableLength > MAX_UNREAD_BYTES;
    if (!isFlood) return;
    this.#cut('ssh connection ended: too many unread bytes are waiting');
  }

  #cut(why: string): void {
    this.#options.log.warn({ address: this.#options.login.address }, why);
    this.#leave();
    this.#socket.destroy();
  }

  #leave(): void {
    if (this.#gone.signal.aborted) return;
    this.#gone.abort();
    if (this.#idle !== null) clearTimeout(this.#idle);
    for (const streams of this.#running.keys()) streams.leave();
  }
}
