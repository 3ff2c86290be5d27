import type { Socket } from 'node:net';
import type { Connection } from 'ssh2';
import { sendMessage, sendTransportMessage, sshString, uint32 } from './ssh2-internals.ts';

const DISCONNECT = 1;
const USERAUTH_BANNER = 53;
export const TOO_MANY_CONNECTIONS = 12;
export const BY_APPLICATION = 11;
/** The length of an unencrypted packet is a multiple of this, with at least 4 bytes of padding (RFC 4253 section 6). */
const BLOCK_BYTES = 8;
const LEAST_PADDING_BYTES = 4;

/**
 * Tells a client why the server ends its connection. OpenSSH prints the text. May be called at any time, even during a
 * key exchange.
 *
 * @see https://www.rfc-editor.org/rfc/rfc4253#section-11.1
 */
export function disconnect(client: Connection, reason: number, text: string): void {
  sendTransportMessage(client, disconnectMessage(reason, text));
}

/**
 * Tells a client why the server ends its connection before the client's identification has arrived. Packets are not
 * encrypted yet.
 */
export function disconnectUnmet(socket: Socket, reason: number, text: string): void {
  const payload = disconnectMessage(reason, text);
  const bare = 4 + 1 + payload.length + LEAST_PADDING_BYTES;
  const padding = LEAST_PADDING_BYTES + ((BLOCK_BYTES - (bare % BLOCK_BYTES)) % BLOCK_BYTES);
  const length = uint32(1 + payload.length + padding);
  socket.write(Buffer.concat([length, Buffer.from([padding]), payload, Buffer.alloc(padding)]));
}

function disconnectMessage(reason: number, text: string): Buffer {
  return Buffer.concat([Buffer.from([DISCONNECT]), uint32(reason), sshString(text), sshString('')]);
}

/**
 * Shows a text to the person who is logging in, before the login succeeds. Sends nothing during a key exchange. Clients
 * print the text unless they run in quiet mode. The message of SSH that refuses a login has no room for a text. ssh2's
 * own banner cannot be used, because it is sent before the server knows the user name.
 *
 * @see https://www.rfc-editor.org/rfc/rfc4252#section-5.4
 */
export function sendBanner(client: Connection, text: string): void {
  const message = `${text.trimEnd().replaceAll(/\r?\n/g, '\r\n')}\r\n`;
  sendMessage(client, Buffer.concat([Buffer.from([USERAUTH_BANNER]), sshString(message), sshString('')]));
}
