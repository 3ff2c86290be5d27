import { chmod, mkdir, open } from 'node:fs/promises';
import { basename, join } from 'node:path';
import ssh2 from 'ssh2';
import { createFile } from '../../auth/file/atomic-file.ts';
import { fingerprint } from '../../auth/public-key.ts';
import { DeployError, systemCode } from '../../core/errors.ts';

const FILES = [
  { name: 'ssh_host_ed25519_key', make: () => ssh2.utils.generateKeyPairSync('ed25519') },
  // This key is for clients without ed25519. OpenSSH has supported ECDSA since 2011 (RFC 5656).
  { name: 'ssh_host_ecdsa_key', make: () => ssh2.utils.generateKeyPairSync('ecdsa', { bits: 256 }) },
] as const;

/**
 * Reads the server's host keys from the folder, or creates them at the first start. Servers that start at the same time
 * get the same keys.
 *
 * @throws DeployError `HOST_KEY_EXPOSED` if other users have any right to a key; `HOST_KEY_BROKEN` if a file is not a private
 * key.
 */
export async function loadOrMakeHostKeys(folder: string): Promise<Buffer[]> {
  await makeFolder(folder);
  const keys: Buffer[] = [];
  for (const { name, make } of FILES) {
    const path = join(folder, name);
    const there = await load(path);
    if (there === null) await createFile(path, readableKey(make));
    keys.push(there ?? (await load(path)) ?? Buffer.alloc(0));
  }
  return keys;
}

/** Generates keys until ssh2 can read one: ssh2 1.17.0 drops the zero byte with which one ed25519 key in 256 begins. */
export function readableKey(make: () => { readonly private: string }): string {
  for (;;) {
    const key = make().private;
    if (!(ssh2.utils.parseKey(key) instanceof Error)) return key;
  }
}

/**
 * Returns the fingerprint of the key that most clients use, as clients show it at their first connection: `SHA256:…`.
 */
export function hostKeyFingerprint(keys: readonly Buffer[]): string {
  const key = ssh2.utils.parseKey(keys[0] ?? '');
  if (key instanceof Error) throw key;
  return fingerprint(key.getPublicSSH());
}

async function makeFolder(folder: string): Promise<void> {
  const made = await mkdir(folder, { recursive: true, mode: 0o700 });
  if (made !== undefined) await chmod(folder, 0o700);
}

/** What a new host key means for people. ssh writes a port other than 22 as `[HOST]:PORT`. */
const REFUSED =
  'Clients that know the old key then refuse to connect until each person has typed: ssh-keygen -R HOST (or -R [HOST]:PORT)';

/** Reads the host key in the file `path`. Returns null if the file is missing. */
async function load(path: string): Promise<Buffer | null> {
  try {
    await using file = await open(path, 'r');
    const { mode } = await file.stat();
    if ((mode & 0o077) !== 0) {
      throw new DeployError(
        'HOST_KEY_EXPOSED',
        `the host key ${basename(path)} is not closed to other accounts (mode ${(mode & 0o777).toString(8)})`,
        `Run chmod 600 ${path}. If others may have read the key, remove the file instead: the next start creates a new key. ${REFUSED}`,
      );
    }
    const text = await file.readFile();
    const key = ssh2.utils.parseKey(text);
    if (!(key instanceof Error) && key.isPrivateKey()) return text;
    throw new DeployError(
      'HOST_KEY_BROKEN',
      `the host key ${basename(path)} cannot be used: it is damaged, has a passphrase, or is not a private key`,
      `Restore ${path} from a backup, or remove the file: the next start creates a new key. ${REFUSED}`,
    );
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return null;
    throw error;
  }
}
