import { mkdir } from 'node:fs/promises';
import { DeployError, systemCode } from './core/errors.ts';
import { loadOrMakeHostKeys } from './ssh/protocol/host-keys.ts';
import { loadOrMakeSecretsKey, type SecretsKey } from './store/secrets.ts';

/**
 * Makes the folder for the server’s own keys (the setting `keys`) if it does not exist.
 *
 * @throws DeployError `KEYS_FOLDER` if it cannot be made.
 */
export async function makeKeysFolder(folder: string): Promise<void> {
  await inFolder(folder, () => mkdir(folder, { recursive: true, mode: 0o700 }));
}

/**
 * Reads secrets.key and the SSH host keys. Makes those that do not exist.
 *
 * @throws DeployError `KEYS_FOLDER` if the folder or a file in it cannot be made, read or written; another DeployError
 * if a key is broken or if other users can read it.
 */
export async function openKeys(folder: string): Promise<{ secretsKey: SecretsKey; hostKeys: Buffer[] }> {
  return await inFolder(folder, async () => ({
    secretsKey: loadOrMakeSecretsKey(folder),
    hostKeys: await loadOrMakeHostKeys(folder),
  }));
}

async function inFolder<Result>(folder: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (cause) {
    const code = systemCode(cause);
    if (cause instanceof DeployError || code === null) throw cause;
    throw new DeployError(
      'KEYS_FOLDER',
      `the keys folder ${folder} cannot be made, read or written (${code})`,
      'Set TOOLFORGE_PUSH_KEYS to a folder that belongs to the user of this server.',
      { cause },
    );
  }
}
