import type { Connection } from 'ssh2';
import { sendAsExtensions, sshString, uint32 } from './ssh2-internals.ts';

const EXT_INFO = 7;

/**
 * The signature algorithms that the server announces to clients. The server refuses the sk- algorithms but lists them.
 * Otherwise clients would not offer such keys, and their owners would see only “Permission denied” instead of the
 * server's advice.
 */
const ALGORITHMS = [
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'rsa-sha2-512',
  'rsa-sha2-256',
  'sk-ssh-ed25519@openssh.com',
  'sk-ecdsa-sha2-nistp256@openssh.com',
];

/**
 * Sends `ALGORITHMS` to the client instead of ssh2's own list. ssh2's list has SHA-1 and DSA and, because of a missing
 * comma, neither ecdsa-sha2-nistp521 nor rsa-sha2-512.
 *
 * @see https://www.rfc-editor.org/rfc/rfc8308#section-3.1
 */
export function announceSignatureAlgorithms(client: Connection): void {
  const extension = [sshString('server-sig-algs'), sshString(ALGORITHMS.join(','))];
  sendAsExtensions(client, Buffer.concat([Buffer.from([EXT_INFO]), uint32(1), ...extension]));
}
