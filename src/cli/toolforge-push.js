#!/usr/bin/env node
// The entry of `npx toolforge-push`, in plain JavaScript: it may be started by a Node that cannot run TypeScript.
import { spawn } from 'node:child_process';
// Import the whole module, not `enableCompileCache` by name: Node 20 lacks this name, and the import would fail.
import nodeModule from 'node:module';
import { fileURLToPath } from 'node:url';

const leastMajor = 24;

if (Number(process.versions.node.split('.')[0]) >= leastMajor) {
  // Cache compiled modules, so that the next start need not load Node's parser of TypeScript.
  nodeModule.enableCompileCache(fileURLToPath(new URL('../../node_modules/.cache/compile', import.meta.url)));
  const { main } = await import('./bin.ts');
  await main();
} else {
  runWithOwnNode();
}

/** Runs this file with the Node that this package brings, and ends with the exit status or signal of that process. */
function runWithOwnNode() {
  const node = fileURLToPath(new URL('../../node_modules/.bin/node', import.meta.url));
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: 'inherit' });
  child.on('error', () => {
    process.stderr.write(
      ` !     toolforge-push needs Node ${leastMajor}, and this is Node ${process.versions.node}.\n` +
        ' !     Run `npm ci` in its folder, which brings the right one.\n',
    );
    process.exitCode = 1;
  });
  // A terminal sends Ctrl-C to both processes. Signals that a supervisor sends only to this process are passed on.
  for (const signal of ['SIGTERM', 'SIGHUP', 'SIGUSR2']) process.on(signal, () => child.kill(signal));
  process.on('SIGINT', () => {});
  child.on('exit', (status, signal) => {
    if (signal === null) process.exitCode = status ?? 1;
    else endBy(signal);
  });
}

function endBy(signal) {
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
}
