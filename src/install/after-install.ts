// Run by `npm ci` and `npm install`, under the Node of package.json.
import { execFileSync } from 'node:child_process';
import { existsSync, rmSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');

/**
 * npm builds ssh2's native ciphers for the Node that runs npm; this server runs under its own, so they are built once
 * more, with that Node's headers. Without a compiler ssh2 works all the same, more slowly.
 */
function rebuildNatives(): void {
  const headers = join(root, `node_modules/node/node_modules/node-${process.platform}-${process.arch}`);
  const isHere = existsSync(join(headers, 'include/node/node.h'));
  try {
    execFileSync('npm', ['rebuild', 'ssh2', 'cpu-features'], {
      cwd: root,
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, ...(isHere ? { npm_config_nodedir: headers } : {}) },
    });
  } catch {
    process.stderr.write(
      'toolforge-push: ssh2 runs without its native ciphers, which is slower. To have them: apt-get install g++ make python3, then npm rebuild ssh2 cpu-features.\n',
    );
  }
}

/**
 * Makes `npx toolforge-push` run the command of this folder. With a `bin` field npm would first install the whole
 * package a second time into its cache.
 */
function linkCommand(): void {
  const link = join(root, 'node_modules/.bin/toolforge-push');
  rmSync(link, { force: true });
  symlinkSync('../../src/cli/toolforge-push.js', link);
}

rebuildNatives();
linkCommand();
