import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { HeldNetwork } from '../../../src/sandbox/isolated/held-network.ts';
import {
  childrenOf,
  descendantsOf,
  isRunning,
  untilGone,
} from '../../../src/sandbox/process/process-table.ts';
import type { Sandbox, SharedNetwork } from '../../../src/sandbox/sandbox.ts';
import { dataFolder, runIn, sandboxIn, startIn } from '../sandbox-bench.ts';

const limits = { processes: 32, memoryBytes: 256 * 1024 * 1024, fileBytes: 1024 * 1024 };
const namespace = ['readlink', '/proc/self/ns/net'];

async function readyNetwork(sandbox: Sandbox): Promise<HeldNetwork> {
  const network = sandbox.shareNetwork(1, limits);
  assert(network instanceof HeldNetwork);
  while (network.descriptors === null) await wait(5);
  return network;
}

test('sandboxed commands that share a network are in one network namespace, and any other command is in a network namespace of its own', async () => {
  await using data = await dataFolder();
  const sandbox = await sandboxIn(data.path, 'isolated');
  using network = await readyNetwork(sandbox);
  const [first, second, own] = [
    await runIn(sandbox, namespace, { network }),
    await runIn(sandbox, namespace, { network }),
    await runIn(sandbox, namespace),
  ];
  assert.deepEqual([first.code, second.code, own.code], [0, 0, 0]);
  assert.equal(first.output, second.output);
  assert.notEqual(first.output, own.output);
});

test('threat 62: a sandboxed command in a shared network reaches neither this machine nor a blocked network', async () => {
  await using data = await dataFolder();
  const sandbox = await sandboxIn(data.path, 'isolated', ['10.0.0.0/8']);
  using network = await readyNetwork(sandbox);
  const script = `
import errno, socket, subprocess
subprocess.run(['ip', 'route', 'flush', 'table', 'local'], stderr=subprocess.DEVNULL)
for host in ['127.0.0.1', '10.1.2.3']:
    try: socket.create_connection((host, 22), 1); print(host, 'connected')
    except OSError as error: print(host, errno.errorcode.get(error.errno, 'a timeout'))
`;
  const { output } = await runIn(sandbox, ['python3', '-c', script], { network });
  assert.equal(output, '127.0.0.1 ECONNREFUSED\n10.1.2.3 ECONNREFUSED\n');
});

test('promise 4: a sandboxed command in a shared network has no file descriptor of its namespaces, no capabilities, and a seccomp filter', async () => {
  await using data = await dataFolder();
  const sandbox = await sandboxIn(data.path, 'isolated');
  using network = await readyNetwork(sandbox);
  const script =
    'ls -l /proc/self/fd; grep -E "^(CapEff|CapBnd|NoNewPrivs|Seccomp):" /proc/self/status; id -u';
  const inHeld = await runIn(sandbox, ['sh', '-c', script], { network });
  const inOwn = await runIn(sandbox, ['sh', '-c', script]);
  assert.doesNotMatch(inHeld.output, /net:|user:/);
  const facts = (text: string) => text.slice(text.indexOf('Cap')).replaceAll(/\s+/g, ' ');
  assert.equal(facts(inHeld.output), facts(inOwn.output));
  assert.match(facts(inHeld.output), /CapEff: 0+ .*NoNewPrivs: 1 Seccomp: 2/);
});

test('a background process of a sandboxed command in a shared network ends with the command', async () => {
  await using data = await dataFolder();
  const sandbox = await sandboxIn(data.path, 'isolated');
  using network = await readyNetwork(sandbox);
  const listen =
    'import socket, time; s = socket.create_server(("127.0.0.1", 7000)); print("up", flush=True); time.sleep(60)';
  const first = await runIn(sandbox, ['sh', '-c', `setsid python3 -c '${listen}' & sleep 1; exit 0`], {
    network,
  });
  assert.match(first.output, /up/);
  const ask = 'import socket; socket.create_connection(("127.0.0.1", 7000), 2)';
  assert.match((await runIn(sandbox, ['python3', '-c', ask], { network })).output, /ConnectionRefused/);
});

test('a sandboxed command in a shared network can be ended, and the server finds the ports on which it listens', async () => {
  await using data = await dataFolder();
  const sandbox = await sandboxIn(data.path, 'isolated');
  using network = await readyNetwork(sandbox);
  const process = startIn(sandbox, ['python3', '-m', 'http.server', '7001'], { network });
  process.output.resume();
  while (!(await process.listeningPorts()).includes(7001)) await wait(20);
  process.terminate();
  assert.equal((await process.exited).signal, 'SIGTERM');
});

test('if the shared network of a sandbox is not ready or has ended, a command gets a network of its own', async () => {
  await using data = await dataFolder();
  const sandbox = await sandboxIn(data.path, 'isolated');
  const network: SharedNetwork = sandbox.shareNetwork(1, limits);
  const early = await runIn(sandbox, namespace, { network });
  network[Symbol.dispose]();
  const late = await runIn(sandbox, namespace, { network });
  assert.deepEqual([early.code, late.code], [0, 0]);
  assert.notEqual(early.output, late.output);
});

/** The open descriptors of this process, each with what it refers to. */
function openFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [`${fd} ${readlinkSync(`/proc/self/fd/${fd}`)}`];
    } catch {
      // The descriptor with which the folder was read is closed again.
      return [];
    }
  });
}

test('a shared network of sandboxes that has ended leaves no process and no open file', async () => {
  await using data = await dataFolder();
  const sandbox = await sandboxIn(data.path, 'isolated');
  // Earlier tests of this file may still start and end processes, so the test looks at those of this network only.
  const now = () => ({ children: childrenOf(process.pid), files: openFiles() });
  const before = now();
  const network = await readyNetwork(sandbox);
  const during = now();
  const children = during.children.filter((pid) => !before.children.includes(pid));
  const files = during.files.filter((file) => !before.files.includes(file));
  assert.ok(children.length > 0 && files.length > 0);
  network[Symbol.dispose]();
  for (let count = 0; count < 100 && children.some(isRunning); count += 1) await wait(20);
  await wait(50);
  assert.deepEqual(children.filter(isRunning), []);
  const left = openFiles();
  assert.deepEqual(
    files.filter((file) => left.includes(file)),
    [],
  );
});

test('if the server is killed, the processes that hold a shared network of sandboxes end', async () => {
  await using data = await dataFolder();
  const bench = join(import.meta.dirname, '../sandbox-bench.ts');
  const script = `
import { sandboxIn } from '${bench}';
const network = (await sandboxIn('${data.path}', 'isolated')).shareNetwork(1, ${JSON.stringify(limits)});
while (network.descriptors === null) await new Promise((resolve) => setTimeout(resolve, 5));
console.log('ready');
setInterval(() => {}, 1000);`;
  const server = spawn(process.execPath, ['--input-type=module', '--eval', script]);
  assert(server.pid !== undefined);
  await once(server.stdout, 'data');
  const processes = descendantsOf(server.pid);
  assert(processes.length > 1);
  server.kill('SIGKILL');
  await untilGone(processes, 5000);
  assert.deepEqual(processes.filter(isRunning), []);
});
