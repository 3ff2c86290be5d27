import { connect } from 'node:net';
import { until } from '../../test/support/server.ts';

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
