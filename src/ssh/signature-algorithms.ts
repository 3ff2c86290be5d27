import type { Connection } from 'ssh2';
import { sendAsExtensions, sshString, uint32 } from './ssh2-inner.ts';

const EXT_INFO = 7;

/**
 * What clients are told that they may sign with. The sk- algorithms are among them though they are refused: a
 * client offers no key of an algorithm that is missing here, and its owner would read “Permission denied” and
 * not the way out.
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
 * Tells the client our list in place of ssh2's own, which names SHA-1 and DSA, and for a missing comma neither
 * ecdsa-sha2-nistp521 nor rsa-sha2-512.
 *
 * @see https://www.rfc-editor.org/rfc/rfc8308#section-3.1
 */
export function announceSignatureAlgorithms(client: Connection): void {
  const extension = [sshString('server-sig-algs'), sshString(ALGORITHMS.join(','))];
  sendAsExtensions(client, Buffer.concat([Buffer.from([EXT_INFO]), uint32(1), ...extension]));
}
