import { once } from 'node:events';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { BerReader, ExtendedRequest, ExtendedResponse, ProtocolOperation } from 'ldapts';
import type { LdapServer } from '../ldap-settings.ts';

const START_TLS = '1.3.6.1.4.1.1466.20037';
const MAX_ANSWER_BYTES = 4096;
const KEEPALIVE_MS = 30_000;

/**
 * Opens a connection to an LDAP server, protected as the settings say. Sends nothing that identifies a person. If TLS
 * is required, the connection uses TLS, and the LDAP server has shown a certificate for this host.
 *
 * StartTLS happens here and not in ldapts, for two reasons. If an attacker in the middle adds bytes behind the answer
 * to StartTLS, ldapts keeps them and reads them as if they had come over TLS. And after the upgrade, ldapts does not
 * notice that the connection has ended.
 *
 * @throws the signal's reason, or an Error that says why the connection failed.
 */
export async function openSocket(
  server: LdapServer,
  ca: string | null,
  signal: AbortSignal,
): Promise<Socket> {
  signal.throwIfAborted();
  const { host, port, security } = server;
  const plain = connectTcp({ host, port });
  // Ignore errors of this socket when nobody waits for it any more. Without a listener, such an error would end the
  // server.
  plain.on('error', () => undefined);
  try {
    await once(plain, 'connect', { signal });
    plain.setNoDelay(true).setKeepAlive(true, KEEPALIVE_MS);
    if (security === 'plain') return plain;
    if (security === 'starttls') await startTls(plain, signal);
    return await secure(plain, host, ca, signal);
  } catch (error) {
    plain.destroy();
    throw error;
  }
}

async function secure(
  plain: Socket,
  host: string,
  ca: string | null,
  signal: AbortSignal,
): Promise<TLSSocket> {
  const socket = connectTls({
    socket: plain,
    host,
    // Send no IP address as the server name: RFC 6066 section 3 forbids this. The certificate is then checked against
    // `host`.
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(ca === null ? {} : { ca }),
    rejectUnauthorized: true,
    minVersion: 'TLSv1.2',
  });
  socket.on('error', () => undefined);
  const ended = Promise.withResolvers<never>();
  const onClose = () => ended.reject(new Error('The server closed the connection before TLS began.'));
  socket.once('close', onClose);
  try {
    await Promise.race([once(socket, 'secureConnect', { signal }), ended.promise]);
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    socket.off('close', onClose);
  }
}

/** Asks the server to accept TLS on this connection (RFC 4511 section 4.14). @throws Error if the server refuses. */
async function startTls(socket: Socket, signal: AbortSignal): Promise<void> {
  const answer = readAnswer(socket, signal);
  socket.write(new ExtendedRequest({ messageId: 1, oid: START_TLS }).write());
  const { status, errorMessage } = parseAnswer(await answer);
  if (status !== 0) throw new Error(`The server refuses StartTLS (${status}): ${errorMessage}`);
}

/** Reads the whole answer to StartTLS. Refuses bytes that arrive behind the answer: they did not come over TLS. */
async function readAnswer(socket: Socket, signal: AbortSignal): Promise<Buffer> {
  let bytes = Buffer.alloc(0);
  const whole = Promise.withResolvers<void>();
  const onData = (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk]);
    try {
      if (bytes.length >= lengthOf(bytes)) whole.resolve();
    } catch (error) {
      whole.reject(error);
    }
  };
  const onClose = () => whole.reject(new Error('The server closed the connection when asked for StartTLS.'));
  const onAbort = () => whole.reject(signal.reason);
  socket.on('data', onData).once('close', onClose);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await whole.promise;
  } finally {
    socket.pause();
    socket.off('data', onData).off('close', onClose);
    signal.removeEventListener('abort', onAbort);
  }
  if (bytes.length > lengthOf(bytes))
    throw new Error('The server sent more bytes after its answer to StartTLS.');
  return bytes;
}

/** The length in bytes of the LDAP message at the start of `bytes`. Infinity if the message's header is incomplete. */
function lengthOf(bytes: Buffer): number {
  const reader = new BerReader(bytes);
  if (reader.readSequence(0x30) === null) return Number.POSITIVE_INFINITY;
  const length = reader.offset + reader.length;
  if (length < 0 || length > MAX_ANSWER_BYTES) throw new Error('The answer to StartTLS is too long.');
  return length;
}

function parseAnswer(bytes: Buffer): ExtendedResponse {
  const reader = new BerReader(bytes);
  reader.readSequence();
  const messageId = reader.readInt();
  const operation = reader.readSequence();
  if (messageId !== 1 || operation !== ProtocolOperation.LDAP_RES_EXTENSION) {
    throw new Error('The server did not answer the request for StartTLS, but sent another message.');
  }
  const response = new ExtendedResponse({ messageId });
  response.parse(reader, []);
  return response;
}
