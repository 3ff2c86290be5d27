import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { noneIfGone } from '../core/errors.ts';
import { KEYRING } from './debian-packages.ts';
import { PROGRAMS, stackNotMade } from './stack-faults.ts';

/** The programs that make trees, each with the Debian package that contains it. */
const NEEDED = {
  'apt-get': 'apt',
  dpkg: 'dpkg',
  mmdebstrap: 'mmdebstrap',
  setpriv: 'util-linux',
  tar: 'tar',
  unshare: 'util-linux',
};
/**
 * Programs that make user namespaces, each with the Debian package that contains it. A user who is not root needs these
 * too.
 */
const NEEDED_BY_USERS = { newuidmap: 'uidmap', newgidmap: 'uidmap' };

/**
 * Checks that this machine can make a stack.
 *
 * @throws DeployError `STACK_NOT_MADE` that names the missing packages or rights.
 */
export async function assertCanMake(isRoot = process.getuid?.() === 0): Promise<void> {
  const programs = Object.entries({ ...NEEDED, ...(isRoot ? {} : NEEDED_BY_USERS) });
  const missing = programs.filter(([program]) => !isInstalled(program));
  const packages = new Set(missing.map(([, name]) => name));
  if (!existsSync(KEYRING)) packages.add('debian-archive-keyring');
  if (packages.has('apt') || packages.has('dpkg'))
    throw stackNotMade(
      'this machine has no apt',
      'A stack can be made only on Debian, Ubuntu and other systems with apt and mmdebstrap.',
    );
  if (packages.size > 0) {
    const names = [...packages].join(' ');
    throw stackNotMade(
      `this machine lacks ${[...packages].join(', ')}`,
      `Install what is missing as root: apt-get install ${names}`,
    );
  }
  if (isRoot) return;
  const { username, uid } = userInfo();
  for (const file of ['/etc/subuid', '/etc/subgid']) {
    const text = (await readFile(file, 'utf8').catch(noneIfGone)) ?? '';
    const owners = text.split('\n').map((line) => line.split(':')[0]);
    if (owners.includes(username) || owners.includes(String(uid))) continue;
    throw stackNotMade(
      `the user ${username} has no further ids in ${file}, which a stack needs unless root makes it`,
      `Give ids to the user as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ${username}`,
    );
  }
}

function isInstalled(program: string): boolean {
  return PROGRAMS.env.PATH.split(':').some((folder) => existsSync(join(folder, program)));
}
