// Run by `npm ci` and `npm install`, under the Node of package.json.
import { execFileSync } from 'node:child_process';
import { existsSync, rmSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');

/**
 * npm builds ssh2's native ciphers for the Node that runs npm; this server runs under its own, so they are built once
 * more, with that Node's headers and without what would end it (object-wrap-without-hooks.h). Those of npm are removed
 * first, and where there is no compiler there are none: ssh2 works all the same, more slowly.
 */
function rebuildNatives(): void {
  const brought = join(root, `node_modules/node/node_modules/node-${process.platform}-${process.arch}`);
  const headers = [brought, resolve(process.execPath, '../..')].find((folder) =>
    existsSync(join(folder, 'include/node/node.h')),
  );
  const shim = join(import.meta.dirname, 'object-wrap-without-hooks.h');
  rmSync(join(root, 'node_modules/ssh2/lib/protocol/crypto/build'), { recursive: true, force: true });
  try {
    execFileSync('npm', ['rebuild', 'ssh2', 'cpu-features'], {
      cwd: root,
      stdio: ['ignore', 'ignore', 'pipe'],
      env: {
        ...process.env,
        ...(headers === undefined ? {} : { npm_config_nodedir: headers }),
        CXXFLAGS: `-include ${shim}`,
      },
    });
  } catch {
    process.stderr.write(
      'toolforge-push: ssh2 runs without its native ciphers, which is slower. To have them: apt-get install g++ make python3, then npm ci.\n',
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
