import type { ClientRequest } from 'node:http';
import type { Duplex } from 'node:stream';

/**
 * Usually, a client sends nothing between its request for a WebSocket and the tool's answer. If a client sends more
 * bytes than this, the server reads no more from it until the tool has answered.
 */
const MAX_EARLY_BYTES = 16 * 1024;

/**
 * Ends a request for a WebSocket if its client leaves before the tool has answered. Only reading shows that a client
 * has left. So this function reads what the client sends, and puts it back into the connection when the WebSocket
 * opens.
 */
export function endIfClientLeaves(client: Duplex, outgoing: ClientRequest): void {
  const early: Buffer[] = [];
  let bytes = 0;
  const keep = (chunk: Buffer): void => {
    early.push(chunk);
    bytes += chunk.length;
    if (bytes > MAX_EARLY_BYTES) client.pause();
  };
  const leave = (): void => void client.destroy();
  client.on('data', keep).once('end', leave);
  client.once('close', () => outgoing.destroy());
  outgoing.once('upgrade', () => {
    client.off('data', keep).off('end', leave).pause();
    if (bytes > 0) client.unshift(Buffer.concat(early));
  });
  // If the tool refuses the WebSocket or fails, nobody gets what the client sends, so drop it.
  const drop = (): void => void client.off('data', keep).resume();
  outgoing.once('response', drop).once('error', drop);
}
