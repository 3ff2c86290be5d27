// Run by `npm ci` and `npm install`, under the version of Node that package.json installs.
import { execFileSync } from 'node:child_process';
import { existsSync, rmSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');

/**
 * Builds ssh2's native ciphers for the Node that package.json installs. `npm ci` does not build them: it runs no
 * install scripts of packages, because node-gyp would download Node's headers. Here the headers come from the locked
 * package of Node, or from a Node that was installed by hand. Without headers or a compiler, ssh2 still works, but
 * slower. The compiler includes object-wrap-without-hooks.h, because otherwise the garbage collector could abort the
 * server.
 */
function buildNatives(): void {
  const locked = join(root, `node_modules/node-${process.platform}-${process.arch}`);
  const headers = [locked, resolve(process.execPath, '../..')].find((folder) =>
    existsSync(join(folder, 'include/node/node.h')),
  );
  // Delete ciphers that an npm without support for `allowScripts` has already built, because they are for the Node that
  // runs npm.
  rmSync(join(root, 'node_modules/ssh2/lib/protocol/crypto/build'), { recursive: true, force: true });
  try {
    if (headers === undefined) throw new Error('there are no headers of Node');
    execFileSync('npm', ['rebuild', 'ssh2', 'cpu-features'], {
      cwd: root,
      stdio: ['ignore', 'ignore', 'pipe'],
      env: {
        ...process.env,
        npm_config_nodedir: headers,
        npm_config_dangerously_allow_all_scripts: 'true',
        CXXFLAGS: `-include ${join(import.meta.dirname, 'object-wrap-without-hooks.h')}`,
      },
    });
  } catch {
    process.stderr.write(
      'toolforge-push: ssh2 runs without its native ciphers, which is slower. To have them: apt-get install g++ make python3, then npm ci.\n',
    );
  }
}

/**
 * Makes `npx toolforge-push` run the command of this folder. If package.json had a `bin` field instead, `npx` would
 * install the whole package again, into npm's cache.
 */
function linkCommand(): void {
  const link = join(root, 'node_modules/.bin/toolforge-push');
  rmSync(link, { force: true });
  symlinkSync('../../src/cli/toolforge-push.js', link);
}

buildNatives();
linkCommand();
