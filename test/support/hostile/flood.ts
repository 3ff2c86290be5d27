import { connect } from 'node:net';

/**
 * A process that sends `first` and then `block` again and again over eight connections, from an address of its own. It
 * reopens connections that end. It sends its parent the message `begun` after a second, and ends after `seconds`.
 */
interface Flood {
  /** For example `127.0.0.1:8080`. */
  readonly address: string;
  readonly first: string;
  readonly block: string;
  readonly seconds: number;
}

const CONNECTIONS = 8;
const BLOCK_BYTES = 60_000;

const { address, first, block, seconds } = JSON.parse(process.env['FLOOD'] ?? '') as Flood;
const [host = '', port = ''] = address.split(':');
const bytes = Buffer.from(block.repeat(Math.ceil(BLOCK_BYTES / block.length)));

function open(): void {
  const socket = connect({ host, port: Number(port), localAddress: '127.0.0.9' });
  const send = () => {
    while (!socket.destroyed && socket.write(bytes));
  };
  socket.on('error', () => {});
  socket.on('drain', send);
  socket.once('close', () => setTimeout(open, 5));
  socket.resume();
  socket.once('connect', () => {
    socket.write(first);
    send();
  });
}

for (let count = 0; count < CONNECTIONS; count += 1) open();
setTimeout(() => process.send?.('begun'), 1_000);
setTimeout(() => process.exit(), seconds * 1_000);
