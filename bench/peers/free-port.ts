import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { until } from '../../test/support/server.ts';

/** A port of 127.0.0.1 that nobody listens on just now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** Waits until a program accepts connections on this port of 127.0.0.1. */
export async function untilListening(port: number, what: string): Promise<void> {
  const canConnect = () =>
    new Promise<boolean>((resolve) => {
      const socket = connect({ host: '127.0.0.1', port });
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
      socket.once('connect', () => socket.destroy());
    });
  await until(canConnect, `${what} does not listen`);
}
