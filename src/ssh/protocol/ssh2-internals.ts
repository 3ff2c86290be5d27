import type { Socket } from 'node:net';
import type { Connection, ServerChannel, Session } from 'ssh2';

/** The private parts of ssh2 1.17.0 that this file uses. */
interface Protocol {
  /** Set while keys are being exchanged. During an exchange, only messages of the transport layer may be sent. */
  readonly _kexinit?: Buffer;
  readonly _kex?: { remoteExtInfoEnabled: boolean };
  readonly _cipher: { encrypt(packet: Buffer): void };
  readonly _packetRW: {
    readonly write: {
      /**
       * The offset of the payload in an ordinary packet (`allocStart`), and in a packet that may be sent during a key
       * exchange (`allocStartKEX`).
       */
      readonly allocStart: number;
      readonly allocStartKEX: number;
      alloc(payloadBytes: number, isDuringExchange?: boolean): Buffer;
      finalize(packet: Buffer, isDuringExchange?: boolean): Buffer;
    };
  };
  _onHandshakeComplete(...negotiated: unknown[]): void;
  channelClose(channel: number): void;
}

/**
 * Sends a message for which ssh2 has no method. Does nothing during a key exchange, or if another version of ssh2 lacks
 * the needed parts.
 */
export function sendMessage(client: Connection, payload: Buffer): void {
  const protocol = protocolOf(client);
  const writer = protocol?._packetRW?.write;
  if (protocol === null || typeof writer?.alloc !== 'function' || protocol._kexinit !== undefined) return;
  const packet = writer.alloc(payload.length);
  payload.copy(packet, writer.allocStart);
  protocol._cipher.encrypt(writer.finalize(packet));
}

/**
 * Sends a message of the transport layer (RFC 4253 section 11), even during a key exchange. Does nothing if another
 * version of ssh2 lacks the needed parts.
 */
export function sendTransportMessage(client: Connection, payload: Buffer): void {
  const protocol = protocolOf(client);
  const writer = protocol?._packetRW?.write;
  if (protocol === null || typeof writer?.alloc !== 'function') return;
  const packet = writer.alloc(payload.length, true);
  payload.copy(packet, writer.allocStartKEX);
  protocol._cipher.encrypt(writer.finalize(packet, true));
}

/**
 * Sends `payload` right after the first key exchange instead of ssh2's own list of extensions, if the client asked for
 * extensions.
 */
export function sendAsExtensions(client: Connection, payload: Buffer): void {
  const protocol = protocolOf(client);
  if (typeof protocol?._onHandshakeComplete !== 'function') return;
  const proceed = protocol._onHandshakeComplete;
  protocol._onHandshakeComplete = (...negotiated) => {
    protocol._onHandshakeComplete = proceed;
    if (protocol._kex?.remoteExtInfoEnabled === true) {
      protocol._kex.remoteExtInfoEnabled = false;
      sendMessage(client, payload);
    }
    proceed(...negotiated);
  };
}

/**
 * True if a key exchange is in progress. Output waits in memory until the exchange ends, and a hostile client may never
 * finish it.
 */
export function isExchangingKeys(client: Connection): boolean {
  return protocolOf(client)?._kexinit !== undefined;
}

/**
 * Returns the socket of a connection, which identifies the connection. The remote address and port do not identify the
 * connection if the server has several addresses. Null if another version of ssh2 lacks the private field.
 */
export function socketOf(client: Connection): Socket | null {
  return (client as unknown as { readonly _sock?: Socket })._sock ?? null;
}

/**
 * Returns the size in bytes of the largest data packet that the client accepts in this session (RFC 4254 section 5.1).
 * If the client asks for 0, the caller must end the connection, because ssh2 would loop for ever. Also returns 0 if
 * another version of ssh2 lacks the private field.
 */
export function largestPacketOf(session: Session): number {
  const inner = session as unknown as { readonly _chanInfo?: { readonly outgoing: { packetSize: number } } };
  return inner._chanInfo?.outgoing.packetSize ?? 0;
}

/**
 * Answers the client that has closed a session without a command, and forgets the session. ssh2 does this only for
 * sessions with a command, and keeps all other sessions in memory until the connection ends.
 */
export function closeUnused(client: Connection, session: Session): void {
  const { _channel: channel, _chanInfo: ends } = session as unknown as {
    readonly _channel?: ServerChannel;
    readonly _chanInfo?: { readonly incoming: { id: number }; readonly outgoing: { id: number } };
  };
  if (channel !== undefined || ends === undefined) return;
  const { _chanMgr: known } = client as unknown as { readonly _chanMgr?: { remove(id: number): void } };
  known?.remove(ends.incoming.id);
  protocolOf(client)?.channelClose(ends.outgoing.id);
}

/**
 * Lets the client send more on this channel only after the server has read its input. By default, ssh2 renews the
 * client's window while ssh2's buffer has room. That buffer is as large as a window, so a client could send two windows
 * before anything is read.
 */
export function renewWindowOnRead(channel: ServerChannel): void {
  (
    channel as unknown as { readonly _readableState: { highWaterMark: number } }
  )._readableState.highWaterMark = 1;
}

/** Encodes a text as a `string` of RFC 4251 section 5. */
export function sshString(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([uint32(bytes.length), bytes]);
}

/** Encodes a number as a `uint32` of RFC 4251 section 5. */
export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function protocolOf(client: Connection): Protocol | null {
  return (client as unknown as { readonly _protocol?: Protocol })._protocol ?? null;
}
