import { execFileSync } from 'node:child_process';
import { appendFileSync, copyFileSync, existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

/**
 * Starts the server under a user who is not root and has subordinate ids. Tests name this file as the script that
 * `TestServer.start` runs. It mounts changed copies of /etc/passwd, /etc/subuid and /etc/subgid for the server alone,
 * so these files of the machine do not change.
 */
export const PLAIN_UID = 64_777;
/** The first subordinate id of the user. */
export const FIRST_UID = 3_000_000;
const LINES = {
  passwd: `push-test:x:${PLAIN_UID}:${PLAIN_UID}::/:/bin/sh\n`,
  subuid: `push-test:${FIRST_UID}:1000\n`,
  subgid: `push-test:${FIRST_UID}:1000\n`,
};

if (import.meta.main) {
  const folder = dirname(process.env['TOOLFORGE_PUSH_DATA'] ?? '');
  // Only at the first start: later, tools own files in the folder.
  if (!existsSync(join(folder, 'subuid'))) {
    execFileSync('chown', ['-R', `${PLAIN_UID}:${PLAIN_UID}`, folder]);
    for (const [name, line] of Object.entries(LINES)) {
      copyFileSync(join('/etc', name), join(folder, name));
      appendFileSync(join(folder, name), line);
    }
  }
  const binds = Object.keys(LINES).map((name) => `mount --bind ${join(folder, name)} /etc/${name} && `);
  const user = `setpriv --reuid ${PLAIN_UID} --regid ${PLAIN_UID} --clear-groups`;
  const argv = [
    'unshare',
    '--mount',
    'sh',
    '-c',
    `${binds.join('')} exec ${user} "$@"`,
    'sh',
    process.execPath,
  ];
  process.execve?.('/usr/bin/env', ['env', ...argv, resolve(import.meta.dirname, '../../../src/main.ts')]);
}
