import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { syncFolderSync } from '../core/disk/sync-folder.ts';
import { DeployError, systemCode } from '../core/errors.ts';

const keyBytes = 32;
const idBytes = 8;
// NIST SP 800-38D section 8.2.2: a random nonce of 96 bits, good for 2^32 values under one key.
const nonceBytes = 12;
const tagBytes = 16;
const format = 1;

/**
 * The key that encrypts config vars at rest (AES-256-GCM). A sealed value consists of one format byte, the key's id,
 * the nonce, the tag and the ciphertext. The tag also authenticates the format byte, the id, and the names of the
 * value's owner (`context`), such as its tool and release.
 */
export class SecretsKey {
  readonly #key: Buffer;
  /** Identifies the key without revealing it: 16 hexadecimal digits. */
  readonly id: string;

  /** @param key - 32 random bytes. */
  constructor(key: Buffer) {
    this.#key = key;
    this.id = createHash('sha256')
      .update('toolforge-push secrets key\0')
      .update(key)
      .digest('hex')
      .slice(0, 16);
  }

  /**
   * Encrypts a text.
   *
   * @param context - Names the owner of the value, such as a tool and its release. `decrypt` needs the same names, so
   * nobody can use the value in the row of another owner.
   */
  encrypt(plaintext: string, context: readonly string[]): Buffer {
    const head = Buffer.concat([Buffer.from([format]), Buffer.from(this.id, 'hex')]);
    const nonce = randomBytes(nonceBytes);
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce, { authTagLength: tagBytes });
    cipher.setAAD(associated(head, context));
    const ciphertext = Buffer.concat([cipher.update(plaintext, 'utf8'), cipher.final()]);
    return Buffer.concat([head, nonce, cipher.getAuthTag(), ciphertext]);
  }

  /**
   * Decrypts a value that `encrypt` made.
   *
   * @param context - The same names as for `encrypt`.
   * @throws DeployError `STORE_KEY` if another key encrypted the value; Error if the value was changed, or belongs to
   * another owner.
   */
  decrypt(sealed: Uint8Array, context: readonly string[]): string {
    const bytes = Buffer.from(sealed);
    const head = bytes.subarray(0, 1 + idBytes);
    if (head[0] !== format) throw new Error('A sealed value is in no known format.');
    if (head.toString('hex', 1) !== this.id) throw wrongKey(head.toString('hex', 1), this.id);
    const nonce = bytes.subarray(head.length, head.length + nonceBytes);
    const tag = bytes.subarray(head.length + nonceBytes, head.length + nonceBytes + tagBytes);
    const decipher = createDecipheriv('aes-256-gcm', this.#key, nonce, { authTagLength: tagBytes });
    decipher.setAAD(associated(head, context));
    decipher.setAuthTag(tag);
    const ciphertext = bytes.subarray(head.length + nonceBytes + tagBytes);
    return Buffer.concat([decipher.update(ciphertext), decipher.final()]).toString('utf8');
  }
}

function associated(head: Buffer, context: readonly string[]): Buffer {
  return Buffer.concat([head, Buffer.from(JSON.stringify(context))]);
}

/** The error if a store or a value was encrypted with the key `wanted`, but secrets.key contains the key `given`. */
export function wrongKey(wanted: string, given: string): DeployError {
  return new DeployError(
    'STORE_KEY',
    `the store is encrypted with the key ${wanted}, but secrets.key contains the key ${given}`,
    'Restore the secrets.key of this data folder (setting `keys`) from its backup. Without a backup, only the config vars are lost: npx toolforge-push start-over config-vars',
  );
}

/**
 * Reads the key in `folder`/secrets.key. If the file is missing, makes it with mode 0600. Two processes that make
 * the file at the same time get the same key, and a crash leaves a whole file or none.
 *
 * @throws DeployError `STORE_KEY` if the file is not a key, or every user can open it.
 */
export function loadOrMakeSecretsKey(folder: string): SecretsKey {
  const path = join(folder, 'secrets.key');
  const bytes = readKey(path) ?? makeKey(folder, path);
  if (bytes.length !== keyBytes) {
    throw new DeployError(
      'STORE_KEY',
      `secrets.key has ${bytes.length} bytes, but a key has ${keyBytes}`,
      'Restore secrets.key from its backup. If the data folder is empty, delete secrets.key: the next start makes a new key.',
    );
  }
  return new SecretsKey(bytes);
}

/**
 * The id of the key in `folder`/secrets.key. Null if the file is missing or is not a key, `unreadable` if this process
 * cannot read the file or every user can open it.
 */
export function secretsKeyId(folder: string): string | 'unreadable' | null {
  try {
    const bytes = readKey(join(folder, 'secrets.key'));
    return bytes?.length === keyBytes ? new SecretsKey(bytes).id : null;
  } catch (error) {
    if (systemCode(error) === null) throw error;
    return 'unreadable';
  }
}

function readKey(path: string): Buffer | null {
  try {
    if ((statSync(path).mode & 0o007) !== 0) {
      throw new DeployError(
        'STORE_KEY',
        'other users of this machine can read secrets.key, the key of all config vars',
        'Run `chmod 600` on secrets.key. If somebody may have read the key, change the values of all config vars.',
      );
    }
    return readFileSync(path);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return null;
    throw error;
  }
}

function makeKey(folder: string, path: string): Buffer {
  mkdirSync(folder, { recursive: true });
  const draft = `${path}.${randomBytes(6).toString('hex')}`;
  const file = openSync(draft, 'wx', 0o600);
  try {
    writeSync(file, randomBytes(keyBytes));
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  try {
    // Use link(2), because it never replaces a key that another process has just made, as rename(2) would.
    linkSync(draft, path);
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
  } finally {
    rmSync(draft, { force: true });
  }
  syncFolderSync(folder);
  return readFileSync(path);
}
