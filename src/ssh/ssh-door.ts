import { createServer, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import ssh2, { type Connection } from 'ssh2';
import { LoginQueue } from '../auth/login-queue.ts';
import type { LoginThrottle } from '../auth/login-throttle.ts';
import type { Config } from '../config.ts';
import { PacedReading } from '../core/fair-share/paced-reading.ts';
import { Shares } from '../core/fair-share/shares.ts';
import { networkOf, plainAddress } from '../core/network/ip-address.ts';
import { cannotListen } from '../core/network/listen-error.ts';
import { Admission } from './admission.ts';
import { algorithms, hasNativeCiphers } from './protocol/algorithms.ts';
import { disconnect, disconnectUnmet, TOO_MANY_CONNECTIONS } from './protocol/messages.ts';
import { socketOf } from './protocol/ssh2-internals.ts';
import type { SessionServices } from './session/ssh-session.ts';
import { ServedConnection } from './ssh-connection.ts';

const GAVE_WAY =
  'Too many connections from your address, or to this server, are waiting to log in. Try again in a few seconds.';
/** The most logged-in connections that all people together may have. */
const MAX_LOGGED_IN = 1000;
/** How many commands of all people may run over SSH at the same time. Clones and pushes do not count. */
const MAX_COMMANDS = 500;
const KEEP_ALIVE = { keepaliveInterval: 15_000, keepaliveCountMax: 3 } as const;

export interface SshDoorOptions extends Omit<SessionServices, 'stallMs' | 'commands'> {
  readonly config: Pick<
    Config,
    'ssh' | 'ssh_grace_time' | 'ssh_startups' | 'ssh_per_address' | 'ssh_per_person'
  >;
  readonly hostKeys: readonly Buffer[];
  readonly throttle: LoginThrottle;
  /** How long running sessions may continue when the server closes, in milliseconds. */
  readonly drainMs?: number;
  /** How long a connection without a running session may stay open, in milliseconds. */
  readonly idleMs?: number;
  readonly stallMs?: number;
  /** The most logged-in connections that all people together may have. */
  readonly loggedIn?: number;
}

export interface SshDoor {
  /** Starts to listen for connections. @throws DeployError `CANNOT_LISTEN` if the address cannot be used. */
  listen(): Promise<{ readonly host: string; readonly port: number }>;
  /** Refuses new connections and sessions, waits a limited time for running sessions, then ends them. */
  close(): Promise<void>;
}

/** Creates the SSH server: git services and commands, with login by public key. */
export function createSshDoor(options: SshDoorOptions): SshDoor {
  const { config, log, throttle, directory, services } = options;
  const { drainMs = 10_000, idleMs = 5 * 60_000, stallMs = 10 * 60_000, loggedIn = MAX_LOGGED_IN } = options;
  const isNative = hasNativeCiphers();
  if (!isNative) log.warn('ssh runs without native ciphers');
  const sockets = new Set<Socket>();
  const connections = new Map<Socket, ServedConnection>();
  const clients = new Map<Socket, Connection>();
  const turns = new LoginQueue();
  const commands = new Shares(MAX_COMMANDS);
  const limits = {
    graceMs: config.ssh_grace_time,
    startups: config.ssh_startups,
    perAddress: config.ssh_per_address,
    perPerson: config.ssh_per_person,
    loggedIn,
  };
  const admission = new Admission(limits, (socket, step) => {
    log.debug(
      { address: plainAddress(socket.remoteAddress), step },
      'ssh connection gave way to a newer one',
    );
    const client = clients.get(socket);
    if (client === undefined) disconnectUnmet(socket, TOO_MANY_CONNECTIONS, GAVE_WAY);
    else disconnect(client, TOO_MANY_CONNECTIONS, GAVE_WAY);
  });

  const ssh = new ssh2.Server(
    {
      hostKeys: [...options.hostKeys],
      // The identification names no version, because a version would tell attackers what to try.
      ident: 'toolforge-push',
      algorithms: algorithms(isNative),
      ...KEEP_ALIVE,
    },
    (client, info) => {
      const socket = socketOf(client);
      if (socket === null || !sockets.has(socket)) {
        client.on('error', () => {});
        client.end();
        return;
      }
      clients.set(socket, client);
      client.on('handshake', () => admission.reach(socket, 'exchanged'));
      const served = new ServedConnection(client, socket, {
        ...options,
        stallMs,
        idleMs,
        commands,
        login: {
          directory,
          throttle,
          turns,
          audit: services.audit,
          log,
          address: plainAddress(info.ip),
          takePlace: (uid) => {
            const place = admission.logIn(socket, uid);
            // From here on, charge the time to read this connection to the person, and no longer to everybody at the
            // same address.
            if (place === 'taken') PacedReading.of(socket)?.becomeOpaque(`ssh person ${uid}`);
            return place;
          },
        },
      });
      connections.set(socket, served);
      socket.once('close', () => {
        connections.delete(socket);
        clients.delete(socket);
      });
      admission.reach(socket, 'introduced');
    },
  );

  // Do not use ssh2's own listener, because ssh2 reports a connection only after the client's identification. `noDelay`
  // turns off Nagle's algorithm, with which a small push would take 160 ms instead of 90.
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => {});
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    // Limit how fast the server reads from one network, because each key exchange blocks the server.
    PacedReading.begin(socket, `ssh ${networkOf(socket.remoteAddress ?? '')}`);
    PacedReading.of(socket)?.becomeOpaque();
    ssh.injectSocket(socket);
    admission.admit(socket);
  });
  // accept() can fail, for example because too many files are open. This is only logged, because the next call may
  // succeed.
  const onError = (error: Error) => log.error({ err: error }, 'the SSH server cannot accept a connection');

  return {
    listen: () =>
      new Promise((resolve, reject) => {
        const onRefused = (error: Error) => reject(cannotListen('SSH', config.ssh, error));
        server.once('error', onRefused);
        server.listen({ host: config.ssh.host, port: config.ssh.port }, () => {
          server.removeListener('error', onRefused);
          server.on('error', onError);
          const address = server.address();
          const port = typeof address === 'object' && address !== null ? address.port : config.ssh.port;
          resolve({ host: config.ssh.host, port });
        });
      }),
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      const ended = new AbortController();
      const all = [...connections.values()];
      const drained = Promise.all(all.map((connection) => connection.close()));
      await Promise.race([drained, delay(drainMs, undefined, { signal: ended.signal })]);
      ended.abort();
      for (const connection of connections.values()) connection.destroy();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
