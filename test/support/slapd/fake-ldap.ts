import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';

/** The answer that allows StartTLS to the first request of a connection (RFC 4511, 4.14.2). */
export const TLS_MAY_BEGIN = Buffer.from('300c02010178070a010004000400', 'hex');
/** The answer with which a server without StartTLS refuses it (protocolError) as the first request of a connection. */
export const NO_TLS = Buffer.from('300c02010178070a010204000400', 'hex');

export interface FakeLdap extends AsyncDisposable {
  readonly port: number;
  /** All bytes that clients have sent. */
  readonly received: Buffer[];
  /** The open connections. */
  readonly open: ReadonlySet<Socket>;
}

/** A server for answers that no real LDAP server would give. `onData` gets each chunk that a client sends. */
export async function startFakeLdap(onData: (socket: Socket, chunk: Buffer) => void): Promise<FakeLdap> {
  const received: Buffer[] = [];
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on('error', () => undefined).once('close', () => open.delete(socket));
    socket.on('data', (chunk) => {
      received.push(chunk);
      onData(socket, chunk);
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    received,
    open,
    [Symbol.asyncDispose]: async () => {
      for (const socket of open) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
