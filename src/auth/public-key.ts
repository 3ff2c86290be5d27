import { createHash } from 'node:crypto';

/** A public key for logins: one line of authorized_keys without options. */
export interface PublicKey {
  readonly algorithm: string;
  /** The bytes of the key, in the form of RFC 4253 section 6.6. */
  readonly blob: Buffer;
  readonly comment: string;
}

/** Why a text is not a key for logins. */
export type KeyProblem = 'not a key' | 'options' | 'hardware key' | 'algorithm' | 'short RSA key';

const NAMES: Readonly<Record<string, string>> = {
  'ssh-ed25519': 'ED25519',
  'ecdsa-sha2-nistp256': 'ECDSA',
  'ecdsa-sha2-nistp384': 'ECDSA',
  'ecdsa-sha2-nistp521': 'ECDSA',
  'ssh-rsa': 'RSA',
};
const RSA_BITS = { least: 2048, most: 16_384 } as const;
/** RSA keys with longer exponents are refused, because their signatures are slow to check. ssh-keygen uses 17 bits. */
const MAX_EXPONENT_BITS = 64;

/** Whether this is an algorithm of FIDO hardware keys. This server cannot check their signatures. */
export function isHardwareKey(algorithm: string): boolean {
  return algorithm.startsWith('sk-');
}

/** Reads a line as ssh-keygen writes it: `ssh-ed25519 AAAA… comment`. */
export function readKeyLine(line: string): PublicKey | KeyProblem {
  const [algorithm = '', base64 = '', ...comment] = line.trim().split(/[ \t]+/);
  if (isHardwareKey(algorithm)) return 'hardware key';
  if (!Object.hasOwn(NAMES, algorithm)) return problemOf(line, algorithm);
  const blob = decode(base64);
  if (blob === null) return 'not a key';
  const problem = checkBlob(algorithm, blob);
  return problem ?? { algorithm, blob, comment: printable(comment.join(' ')) };
}

/** Why the blob cannot be used for logins, or null if it is a key of this algorithm and strong enough. */
export function checkBlob(algorithm: string, blob: Buffer): KeyProblem | null {
  if (isHardwareKey(algorithm)) return 'hardware key';
  if (!Object.hasOwn(NAMES, algorithm)) return 'algorithm';
  const fields = readFields(blob);
  const expected = algorithm === 'ssh-ed25519' ? 2 : 3;
  if (fields === null || fields.length !== expected || fields[0]?.toString('latin1') !== algorithm) {
    return 'not a key';
  }
  if (algorithm !== 'ssh-rsa') return null;
  const bits = bitLength(fields[2] ?? Buffer.alloc(0));
  const exponentBits = bitLength(fields[1] ?? Buffer.alloc(0));
  if (bits > RSA_BITS.most || exponentBits > MAX_EXPONENT_BITS) return 'not a key';
  return bits < RSA_BITS.least ? 'short RSA key' : null;
}

/** The fingerprint of a key, as ssh-keygen -l prints it: `SHA256:…`. */
export function fingerprint(blob: Buffer): string {
  return `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`;
}

/** The kind of a key as people know it: `ED25519`, `ECDSA` or `RSA`. */
export function keyKind(algorithm: string): string {
  return NAMES[algorithm] ?? 'unknown';
}

/** The message and the hint of an error for the author of a key line: its problem, and how to correct the line. */
export function explain(problem: KeyProblem): { message: string; hint: string } {
  const another =
    'Make a key with ssh-keygen -t ed25519 and use the line in ~/.ssh/id_ed25519.pub. You can keep your other keys.';
  switch (problem) {
    case 'not a key':
      return { message: 'the line of the key file is not a public key', hint: another };
    case 'options':
      return {
        message: 'the line of the key file has options in front of the key',
        hint: 'Remove the options, so that the line begins with ssh-ed25519, ecdsa-sha2-nistp… or ssh-rsa.',
      };
    case 'hardware key':
      return {
        message: 'hardware (sk-) keys cannot be used here: this server cannot check their signatures',
        hint: another,
      };
    case 'algorithm':
      return { message: 'keys of this algorithm are not accepted', hint: another };
    case 'short RSA key':
      return { message: `the RSA key has fewer than ${RSA_BITS.least} bits`, hint: another };
  }
  problem satisfies never;
  throw new Error('unreachable');
}

function problemOf(line: string, algorithm: string): KeyProblem {
  if (/(^|[\s,"])(sk-)?(ssh|ecdsa)-[-a-z0-9@.]+[ \t]+AAAA/.test(line) && !/^(ssh|ecdsa)-/.test(algorithm)) {
    return 'options';
  }
  return /^(ssh|ecdsa)-[-a-z0-9@.]+$/.test(algorithm) ? 'algorithm' : 'not a key';
}

function decode(base64: string): Buffer | null {
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(base64)) return null;
  const blob = Buffer.from(base64, 'base64');
  return blob.toString('base64').replace(/=+$/, '') === base64.replace(/=+$/, '') ? blob : null;
}

function readFields(blob: Buffer): Buffer[] | null {
  const fields: Buffer[] = [];
  let at = 0;
  while (at < blob.length) {
    if (at + 4 > blob.length) return null;
    const end = at + 4 + blob.readUInt32BE(at);
    if (end > blob.length) return null;
    fields.push(blob.subarray(at + 4, end));
    at = end;
  }
  return fields;
}

function bitLength(number: Buffer): number {
  const first = number.findIndex((byte) => byte !== 0);
  return first < 0 ? 0 : (number.length - first) * 8 - Math.clz32(number[first] ?? 0) + 24;
}

function printable(text: string): string {
  return text.replace(/[^\p{L}\p{N}\p{P}\p{S} ]/gu, '').slice(0, 200);
}
