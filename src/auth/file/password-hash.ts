import { randomBytes, randomInt, type ScryptOptions, scrypt, timingSafeEqual } from 'node:crypto';

/**
 * A stored password. As text, it is `scrypt$N$r$p$salt$hash`: N is the cost, r the block size, p the parallelization,
 * and salt and hash are in base64.
 */
export interface PasswordHash {
  readonly cost: number;
  readonly blockSize: number;
  readonly parallelization: number;
  readonly salt: Buffer;
  readonly hash: Buffer;
}

// One of the choices for scrypt that OWASP's Password Storage Cheat Sheet calls equally strong. A check needs 32 MiB.
const COST = { cost: 2 ** 15, blockSize: 8, parallelization: 1 } as const;
const HASH_BYTES = 32;
const FORM =
  /^scrypt\$(\d{1,7})\$(\d{1,2})\$(\d{1,2})\$([A-Za-z0-9+/]{16,128}={0,2})\$([A-Za-z0-9+/]{22,128}={0,2})$/;
// The 32 characters of new passwords, five bits each. They do not include i, l, o and 1, because these look like other
// characters.
const ALPHABET = 'abcdefghjkmnpqrstuvwxyz023456789';

/** Returns the text that is stored for a password. @throws RangeError for an empty password. */
export async function hashPassword(password: string): Promise<string> {
  if (password === '') throw new RangeError('an empty password');
  const salt = randomBytes(16);
  const hash = await derive(password, { ...COST, salt, hash: Buffer.alloc(HASH_BYTES) });
  const { cost, blockSize, parallelization } = COST;
  return `scrypt$${cost}$${blockSize}$${parallelization}$${salt.toString('base64')}$${hash.toString('base64')}`;
}

/** Reads a stored password. Null if the text is not one, or if a check would take too long or more than 256 MiB. */
export function readPasswordHash(text: string): PasswordHash | null {
  const [, n, r, p, salt, hash] = FORM.exec(text) ?? [];
  if (salt === undefined || hash === undefined) return null;
  const [cost, blockSize, parallelization] = [Number(n), Number(r), Number(p)];
  const isPower = cost > 1 && (cost & (cost - 1)) === 0;
  const isBounded = blockSize > 0 && parallelization > 0 && parallelization <= 16;
  if (!isPower || !isBounded || 128 * cost * blockSize > 2 ** 28) return null;
  return {
    cost,
    blockSize,
    parallelization,
    salt: Buffer.from(salt, 'base64'),
    hash: Buffer.from(hash, 'base64'),
  };
}

/**
 * Makes a stored password for logins of users who have none. To check a password against it takes as long as against a
 * password from `hashPassword`, and always fails.
 */
export function decoy(): PasswordHash {
  return { ...COST, salt: randomBytes(16), hash: randomBytes(HASH_BYTES) };
}

/** Whether the password is the stored one. The comparison takes constant time. */
export async function isPassword(password: string, stored: PasswordHash): Promise<boolean> {
  return timingSafeEqual(await derive(password, stored), stored.hash);
}

/** A new password of 100 bits, in four groups that can be typed: `k3mxa-…`. */
export function generatePassword(): string {
  const group = () => Array.from({ length: 5 }, () => ALPHABET[randomInt(ALPHABET.length)]).join('');
  return [group(), group(), group(), group()].join('-');
}

function derive(password: string, stored: PasswordHash): Promise<Buffer> {
  const { cost, blockSize, parallelization, salt, hash } = stored;
  const options: ScryptOptions = {
    cost,
    blockSize,
    parallelization,
    maxmem: 128 * cost * blockSize + 128 * blockSize * (parallelization + 2) + 2 ** 20,
  };
  return new Promise((resolve, reject) => {
    scrypt(password.normalize('NFC'), salt, hash.length, options, (error, key) =>
      error === null ? resolve(key) : reject(error),
    );
  });
}
