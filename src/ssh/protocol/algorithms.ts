import { createRequire } from 'node:module';
import type { Algorithms, Connection } from 'ssh2';
import { sendAsExtensions, sshString, uint32 } from './ssh2-internals.ts';

/** True if ssh2's native ciphers are loaded. Without them, chacha20 takes 2.4 times the CPU. */
export function hasNativeCiphers(): boolean {
  const require = createRequire(import.meta.url);
  const crypto: { bindingAvailable?: boolean } = require('ssh2/lib/protocol/crypto.js');
  return crypto.bindingAvailable === true;
}

/**
 * Returns the algorithms that this server offers: no SHA-1, no CBC, no compression. Of the key exchanges, it offers
 * only curve25519 and ecdh-sha2-nistp256. The others cost 5 to 14 times as much CPU and block the server, so strangers
 * must not choose them. ssh2 adds strict key exchange by itself (Terrapin, CVE-2023-48795). Without native ciphers, the
 * server offers only ciphers that Node computes fast, because the client chooses among the ciphers on offer.
 */
export function algorithms(isNative: boolean): Algorithms {
  return {
    kex: [
      'curve25519-sha256',
      'curve25519-sha256@libssh.org',
      // This exchange is for clients without curve25519. A client that supports longer NIST curves must support this
      // curve too (RFC 5656 section 10.1).
      'ecdh-sha2-nistp256',
    ],
    cipher: isNative
      ? [
          'chacha20-poly1305@openssh.com',
          'aes128-gcm@openssh.com',
          'aes256-gcm@openssh.com',
          'aes128-ctr',
          'aes256-ctr',
        ]
      : ['aes128-gcm@openssh.com', 'aes256-gcm@openssh.com'],
    hmac: [
      'hmac-sha2-256-etm@openssh.com',
      'hmac-sha2-512-etm@openssh.com',
      'hmac-sha2-256',
      'hmac-sha2-512',
    ],
    compress: ['none'],
  };
}

const EXT_INFO = 7;

/**
 * The signature algorithms that the server announces to clients. The server refuses the sk- algorithms of hardware keys
 * but lists them. Otherwise clients would not offer such keys, and their owners would see only “Permission denied”
 * instead of the server's advice.
 */
const SIGNATURE_ALGORITHMS = [
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
 * Sends `SIGNATURE_ALGORITHMS` to the client instead of ssh2's own list. That list has SHA-1 and DSA and, because of a
 * missing comma, neither ecdsa-sha2-nistp521 nor rsa-sha2-512.
 *
 * @see https://www.rfc-editor.org/rfc/rfc8308#section-3.1
 */
export function announceSignatureAlgorithms(client: Connection): void {
  const extension = [sshString('server-sig-algs'), sshString(SIGNATURE_ALGORITHMS.join(','))];
  sendAsExtensions(client, Buffer.concat([Buffer.from([EXT_INFO]), uint32(1), ...extension]));
}
