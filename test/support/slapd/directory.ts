import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Directory, OfferedKey } from '../../../src/auth/directory.ts';
import { openLdapDirectory } from '../../../src/auth/ldap/ldap-directory.ts';
import { environmentName, readConfig } from '../../../src/config.ts';
import { createLog, type Log } from '../../../src/core/log/log.ts';
import type { DirectoryDescription } from '../../contracts/directory.ts';
import { addAccount, addPerson, addTool, personDn } from './people.ts';
import type { Attributes, TestSlapd } from './slapd.ts';

/**
 * Opens a user directory that asks this slapd, by default without a cache. `settings` are named as in the configuration
 * file.
 */
export async function openOn(
  slapd: TestSlapd,
  settings: Readonly<Record<string, string>> = {},
  log: Log = createLog('silent'),
): Promise<Directory> {
  const given = { ldap_cache_time: '0', ...settings };
  const environment = Object.entries(given).map(([name, value]) => [environmentName(name), value]);
  const config = readConfig({ ...slapd.environment, ...Object.fromEntries(environment) });
  return await openLdapDirectory(config, log);
}

/** Replaces all people and tools in slapd by those of `description`. */
export async function hold(slapd: TestSlapd, description: DirectoryDescription): Promise<void> {
  await slapd.clear();
  const locked = { pwdAccountLockedTime: '000001010000Z', loginShell: '/bin/disabledtoolshell' };
  for (const { name, keys = [], password, isDisabled } of description.users) {
    const more: Attributes = isDisabled ? locked : {};
    await addPerson(slapd, name, { keys, ...more, ...(password === undefined ? {} : { password }) });
  }
  for (const { name, maintainers, isDisabled } of description.tools) {
    await addTool(slapd, name, maintainers.map(personDn));
    await addAccount(slapd, name, isDisabled ? locked : {});
  }
}

/** Makes a key pair. @returns the public key as one line. */
export function makeKey(folder: string, name: string): string {
  const file = join(folder, name);
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', `${name}@laptop`, '-f', file]);
  return readFileSync(`${file}.pub`, 'utf8').trim();
}

export function offered(line: string): OfferedKey {
  const [algorithm = '', base64 = ''] = line.split(' ');
  return { algorithm, blob: Buffer.from(base64, 'base64') };
}
