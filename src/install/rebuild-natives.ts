// Run by `npm ci` and `npm install`. npm builds ssh2's native cipher binding for the Node that runs npm; this
// server runs under the Node of package.json, so the binding is built once more, with that Node's own headers.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');
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
