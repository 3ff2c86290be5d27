import { createCipheriv, createDecipheriv, randomBytes, scrypt } from 'node:crypto';
import { DeployError } from '../../core/errors.ts';

/**
 * A passphrase needs at least this many characters, because somebody who finds the exported file can try many
 * passphrases.
 */
const MIN_CHARACTERS = 12;
// The first settings for scrypt in OWASP's Password Storage Cheat Sheet. They need 128 MiB for a moment. An exported
// file does not contain these settings, so a hostile file cannot ask for more memory.
const COST = { cost: 2 ** 17, blockSize: 8, parallelization: 1, maxmem: 160 * 2 ** 20 } as const;
const [SALT_BYTES, KEY_BYTES, NONCE_BYTES, TAG_BYTES] = [16, 32, 12, 16];

/** Checks the passphrase of a new export of a tool. @throws DeployError `BAD_PASSPHRASE` if it is too short. */
export function assertStrong(passphrase: string): void {
  const { length } = [...passphrase];
  if (length >= MIN_CHARACTERS) return;
  throw new DeployError(
    'BAD_PASSPHRASE',
    `the passphrase has ${length} characters, and it needs at least ${MIN_CHARACTERS}`,
    'Choose a longer passphrase: anybody who has the file can try as many passphrases as they like.',
  );
}

/**
 * Encrypts a text under a passphrase (scrypt, then AES-256-GCM).
 *
 * @param bound - Other bytes that nobody may change, such as the manifest beside the text. They are not encrypted, but
 *   `openText` fails unless it gets the same bytes.
 */
export async function sealText(text: string, bound: Uint8Array, passphrase: string): Promise<Buffer> {
  const [salt, nonce] = [randomBytes(SALT_BYTES), randomBytes(NONCE_BYTES)];
  const cipher = createCipheriv('aes-256-gcm', await keyOf(passphrase, salt), nonce);
  cipher.setAAD(bound);
  const encrypted = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
  return Buffer.concat([salt, nonce, encrypted, cipher.getAuthTag()]);
}

/** The text that `sealText` encrypted. Null if the passphrase is wrong, or if `sealed` or `bound` has changed. */
export async function openText(
  sealed: Buffer,
  bound: Uint8Array,
  passphrase: string,
): Promise<string | null> {
  if (sealed.length < SALT_BYTES + NONCE_BYTES + TAG_BYTES) return null;
  const salt = sealed.subarray(0, SALT_BYTES);
  const nonce = sealed.subarray(SALT_BYTES, SALT_BYTES + NONCE_BYTES);
  const decipher = createDecipheriv('aes-256-gcm', await keyOf(passphrase, salt), nonce, {
    authTagLength: TAG_BYTES,
  });
  decipher.setAAD(bound);
  decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
  const encrypted = sealed.subarray(SALT_BYTES + NONCE_BYTES, -TAG_BYTES);
  try {
    return Buffer.concat([decipher.update(encrypted), decipher.final()]).toString('utf8');
  } catch {
    return null;
  }
}

/** Keyboards produce one character as different Unicode sequences, so the passphrase is normalised. */
function keyOf(passphrase: string, salt: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(passphrase.normalize('NFC'), salt, KEY_BYTES, COST, (error, key) =>
      error === null ? resolve(key) : reject(error),
    );
  });
}
