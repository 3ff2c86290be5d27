import assert from 'node:assert/strict';
import { once } from 'node:events';
import { lstat, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { execa } from 'execa';
import { CLOSE_DESCRIPTORS } from '../../../src/sandbox/isolated/bwrap-arguments.ts';
import { Cgroups } from '../../../src/sandbox/process/cgroups.ts';
import { instanceId } from '../../../src/sandbox/process/marked-processes.ts';
import { dataFolder, isRoot, lineOf, runIn, sandboxIn, startIn } from '../sandbox-bench.ts';

async function listening(): Promise<{ server: Server; port: number }> {
  const server = createServer((_request, response) => response.end('secret of this machine'));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, port: (server.address() as AddressInfo).port };
}

test('threat 62: a tool in a sandbox cannot reach this machine’s loopback addresses', async () => {
  await using data = await dataFolder();
  const sandbox = await sandboxIn(data.path, 'isolated');
  const { server, port } = await listening();
  const script = `
import socket, subprocess
def ask(host):
    try:
        s = socket.create_connection((host, ${port}), 2); s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n'); print(host, s.recv(1000))
    except OSError as error: print(host, 'closed')
import struct
routes = [line.split() for line in open('/proc/net/route').readlines()[1:]]
gateways = {socket.inet_ntoa(struct.pack('<I', int(r[2], 16))) for r in routes if r[2] != '00000000'}
print('gateways', len(gateways))
for host in ['127.0.0.1', '::1', '169.254.1.53', *gateways]: ask(host)
`;
  const { output } = await runIn(sandbox, ['python3', '-c', script]);
  server.close();
  server.closeAllConnections();
  assert.match(output, /127\.0\.0\.1 closed/);
  assert.doesNotMatch(output, /secret/);
});

test('promise 4: a folder of this machine that builds may read does not show the data folder of the server', async () => {
  await using outer = await dataFolder();
  const data = join(outer.path, 'data');
  await mkdir(data);
  await writeFile(join(data, 'store'), 'secret', { mode: 0o644 });
  await writeFile(join(outer.path, 'list'), 'public', { mode: 0o644 });
  const sandbox = await sandboxIn(data, 'isolated');
  const read = async (folder: string, file: string) => {
    const mounts = [{ source: folder, target: folder, isWritable: false }];
    return (await runIn(sandbox, ['cat', join(folder, file)], { mounts })).output;
  };
  assert.match(await read(outer.path, 'list'), /public/);
  assert.match(await read(outer.path, 'data/store'), /No such file/);
  assert.match(await read(data, 'store'), /No such file/);
});

test('threat 62: the kernel keeps a sandbox away from blocked networks, and programs inside cannot change that', async () => {
  await using data = await dataFolder();
  const metadata = '169.254.169.254';
  const script = `
import errno, socket, subprocess
subprocess.run(['ip', 'route', 'del', 'prohibit', '${metadata}'])
try: socket.create_connection(('${metadata}', 80), 0.5); print('connected')
except OSError as error: print('ended with', errno.errorcode.get(error.errno, 'a timeout'))
`;
  const ask = async (blocked: readonly string[]) => {
    const sandbox = await sandboxIn(data.path, 'isolated', blocked);
    return (await runIn(sandbox, ['python3', '-c', script])).output;
  };
  assert.match(await ask([`${metadata}/32`, 'fd00:ec2::254/128']), /not permitted\nended with ECONNREFUSED/);
  assert.match(await ask([]), /connected|ended with (?!ECONNREFUSED)/);
});

test('threat 60: a fork bomb in a sandbox stays within its limit of processes, and can be killed', async () => {
  await using data = await dataFolder();
  const sandbox = await sandboxIn(data.path, 'isolated');
  const script = `
import os, time
made = 0
try:
    while made < 500:
        if os.fork() == 0: time.sleep(1000)
        made += 1
except OSError: pass
print('made', made)
time.sleep(1000)
`;
  const child = startIn(sandbox, ['python3', '-u', '-c', script]);
  const made = Number((await lineOf(child, /^made/)).slice(5));
  assert.ok(made > 5 && made < 32, `${made} processes`);
  child.kill();
  assert.equal((await child.exited).signal, 'SIGKILL');
});

test('threat 60: a tool has a higher oom_score_adj than the server and cannot lower it, so that the kernel kills tools first', async () => {
  await using data = await dataFolder();
  const sandbox = await sandboxIn(data.path, 'isolated');
  const own = Number(await readFile('/proc/self/oom_score_adj', 'utf8'));
  const inside = Number((await runIn(sandbox, ['cat', '/proc/self/oom_score_adj'])).output);
  assert.ok(inside > own, `${inside} inside, ${own} outside`);
  const script =
    'echo 0 >/proc/self/oom_score_adj; echo 0 >/proc/thread-self/oom_score_adj; cat /proc/self/oom_score_adj';
  const { output } = await runIn(sandbox, ['sh', '-c', script]);
  assert.match(output, /Read-only file system/);
  assert.equal(Number(output.trim().split('\n').at(-1)), inside);
});

test('threat 60: a folder that a sandbox keeps in memory holds at most 64 MiB', async () => {
  await using data = await dataFolder();
  const sandbox = await sandboxIn(data.path, 'isolated');
  const limits = { processes: 32, memoryBytes: 256 * 1024 * 1024, fileBytes: 1024 ** 3 };
  const script =
    'for f in /tmp /home/tool /dev/shm / /dev /etc; do head -c 100000000 /dev/zero > $f/x 2>/dev/null; cat $f/x 2>/dev/null | wc -c; done';
  const { output } = await runIn(sandbox, ['/bin/sh', '-c', script], { limits });
  const sizes = Array.from(output.matchAll(/^\d+$/gm), Number);
  assert.equal(sizes.length, 6, output);
  assert.ok(Math.max(...sizes) <= 64 * 1024 * 1024, output);
});

test('promise 4: a tool in a sandbox sees neither the data folder nor the machine’s users nor other tools', async () => {
  await using data = await dataFolder();
  const sandbox = await sandboxIn(data.path, 'isolated');
  const folders = { mine: join(data.path, 'artifacts/mine'), theirs: join(data.path, 'artifacts/theirs') };
  for (const folder of Object.values(folders)) {
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, 'file'), folder);
  }
  const mount = { source: folders.mine, target: '/workspace', isWritable: false };
  const script = [
    `cat /workspace/file; echo`,
    `cat ${folders.theirs}/file ${data.path}/* 2>/dev/null`,
    'ls /workspace/.. / | tr "\\n" " "; echo',
    'touch /workspace/new 2>&1; touch /usr/new 2>&1; touch /etc/new 2>&1',
    'cat /etc/passwd; cat /etc/shadow 2>&1; ls /root /var /work /sys 2>&1',
    'ps -e 2>/dev/null | wc -l; grep NoNewPrivs /proc/self/status; id -u',
  ].join('\n');
  const { output } = await runIn(sandbox, ['/bin/sh', '-c', script], { mounts: [mount], cwd: '/workspace' });
  assert.ok(output.startsWith(`${folders.mine}\n`), output);
  assert.ok(!output.includes(folders.theirs), output);
  assert.equal(output.match(/Read-only file system/g)?.length, 3, output);
  assert.equal(output.match(/No such file or directory/g)?.length, 5, output);
  assert.match(output, /^tool:x:1000:/m);
  assert.match(output, /NoNewPrivs:\s+1\n1000\n$/);
});

test('threat 214: a tool cannot read /proc/locks, because while somebody reads it, nobody on the machine can lock a file', async () => {
  await using data = await dataFolder();
  const sandbox = await sandboxIn(data.path, 'isolated');
  const script = 'cat /proc/locks; umount /proc/locks; cat /proc/locks';
  const { output } = await runIn(sandbox, ['/bin/sh', '-c', script], {});
  assert.equal(output.match(/^cat: \/proc\/locks: Permission denied$/gm)?.length, 2, output);
});

test('promise 4: no open file descriptor of a process in a sandbox leads out of the sandbox', async () => {
  await using data = await dataFolder();
  const sandbox = await sandboxIn(data.path, 'isolated');
  await writeFile(join(data.path, 'secret'), 'secret of the server', { mode: 0o644 });
  const script = `
for folder in /proc/[0-9]*/fd/* /proc/[0-9]*/cwd /proc/[0-9]*/root; do
  cat "$folder/..${data.path}/secret" "$folder${data.path}/secret" 2>/dev/null
done
echo the first process: $(ls -A /proc/1) $(cat /proc/1/cmdline 2>&1)`;
  const { output } = await runIn(sandbox, ['/bin/sh', '-c', script]);
  assert.doesNotMatch(output, /secret/);
  assert.match(output, /^the first process: cat: \/proc\/1\/cmdline: No such file or directory$/m);
});

test('promise 4: a file descriptor that the server inherited does not get into a sandbox', async () => {
  await using data = await dataFolder();
  const bench = resolve(import.meta.dirname, '../sandbox-bench.ts');
  const server = `
import { runIn, sandboxIn } from ${JSON.stringify(bench)};
const sandbox = await sandboxIn(${JSON.stringify(data.path)}, 'isolated');
console.log((await runIn(sandbox, ['sh', '-c', 'ls -l /proc/self/fd; ls /proc/self/fd/45/..'])).output);`;
  // A shell can open only descriptors of one digit.
  const start = `
import os, sys
os.dup2(os.open('/etc', os.O_RDONLY), 45)
os.set_inheritable(45, True)
os.execv(sys.argv[1], sys.argv[1:])`;
  const node = [process.execPath, '--input-type=module', '-e', server];
  const { stdout } = await execa('/usr/bin/python3', ['-c', start, ...node]);
  assert.match(stdout, /0 -> \/dev\/null/);
  assert.doesNotMatch(stdout, /45 ->/);
  assert.match(stdout, /No such file or directory/);
});

test('threat 209: a process that publishes a port gets no socket of the network outside, through which it could reach and open ports of this machine', async (t) => {
  await using data = await dataFolder();
  const sandbox = await sandboxIn(data.path, 'isolated');
  const secret = await listening();
  t.after(() => secret.server.close());
  const { server, port } = await listening();
  server.close();
  // A listening socket that is disconnected (connect(2), AF_UNSPEC) can connect to other addresses.
  const script = `
import ctypes, os, socket
for name in os.listdir('/proc/self/fd'):
    try: link = os.readlink('/proc/self/fd/' + name)
    except OSError: continue
    print('descriptor', name, link)
    if not link.startswith('socket:'): continue
    inherited = socket.socket(fileno=int(name))
    ctypes.CDLL(None).connect(int(name), bytes(16), 16)
    inherited.settimeout(3)
    try: inherited.connect(('127.0.0.1', ${secret.port})); print('reached the machine')
    except OSError as error: print('not reached', error)
print('end')`;
  const { output } = await runIn(sandbox, ['python3', '-c', script], {
    publish: { outside: port, inside: 8000 },
  });
  const opened = output.split('\n').filter((line) => /^descriptor ([3-9]|\d\d)/.test(line));
  assert.deepEqual(opened, [], output);
  assert.doesNotMatch(output, /reached the machine/);
  assert.match(output, /^end$/m);
});

test('threat 209: a sandbox does not start if pasta leaves a descriptor open that the shell cannot close', async () => {
  const run = async (descriptor: number) => {
    const start = `
import os, sys
os.dup2(os.open('/etc', os.O_RDONLY), ${descriptor})
os.set_inheritable(${descriptor}, True)
os.execvp('sh', ['sh', '-c', sys.argv[1] + '; ls /proc/self/fd'])`;
    return await execa('python3', ['-c', start, CLOSE_DESCRIPTORS], { reject: false, all: true });
  };
  assert.equal((await run(6)).all, '0\n1\n2\n3');
  const { exitCode, all } = await run(45);
  assert.equal(exitCode, 1);
  assert.match(all, /the descriptor 45 stays open/);
});

test('each tool runs as its own user, and cannot read a file that another tool has made private', {
  skip: !isRoot,
}, async () => {
  await using data = await dataFolder();
  const sandbox = await sandboxIn(data.path, 'isolated');
  const source = join(data.path, 'kept');
  await mkdir(source);
  await sandbox.own([source], 1);
  const mount = { source, target: '/kept', isWritable: true };
  const write = ['/bin/sh', '-c', 'umask 077; echo secret > /kept/file; cat /kept/file'];
  assert.equal((await runIn(sandbox, write, { mounts: [mount], toolNumber: 1 })).output, 'secret\n');
  const read = await runIn(sandbox, ['cat', '/kept/file'], { mounts: [mount], toolNumber: 2 });
  assert.match(read.output, /Permission denied/);
});

for (const { name, make } of [
  { name: 'a few files', make: async () => {} },
  {
    name: 'a folder in it',
    make: async (folder: string) => void (await mkdir(join(folder, 'deep/er'), { recursive: true })),
  },
  {
    name: 'many files',
    make: async (folder: string) => {
      for (let count = 0; count < 130; count += 1) await writeFile(join(folder, `file${count}`), '');
    },
  },
  {
    name: 'a file whose name is not UTF-8',
    make: async (folder: string) =>
      await writeFile(Buffer.concat([Buffer.from(`${folder}/a`), Buffer.from([0xff])]), ''),
  },
]) {
  test(`a tool becomes the owner of a folder with ${name} and of everything in the folder, but not of the targets of links`, {
    skip: !isRoot,
  }, async () => {
    await using data = await dataFolder();
    const sandbox = await sandboxIn(data.path, 'isolated');
    const [folder, outside] = [join(data.path, 'kept'), join(data.path, 'outside')];
    await mkdir(folder);
    await writeFile(outside, '');
    await symlink(outside, join(folder, 'link'));
    await make(folder);
    await sandbox.own([folder], 1);
    const owned = await execa('find', [folder, '-printf', '%U\n']);
    assert.equal(new Set(owned.stdout.split('\n')).size, 1, owned.stdout);
    assert.notEqual((await lstat(folder)).uid, 0);
    assert.equal((await lstat(outside)).uid, 0);
  });
}

test('threat 53: no value of a tool’s variables is in the arguments of a process, which every user of this machine can read', async () => {
  await using data = await dataFolder();
  const sandbox = await sandboxIn(data.path, 'isolated');
  const env = {
    PASSWORD: 'secret one',
    LD_SDK_KEY: 'secret "$two"',
    LD_LIBRARY_PATH: '/layers/secret three',
    'LD_SDK.KEY': 'secret four',
  };
  const script = 'import os, time; print(sorted(os.environ.items()), flush=True); time.sleep(600)';
  const child = startIn(sandbox, ['/usr/bin/python3', '-c', script], { env });
  const line = await lineOf(child, /PASSWORD/);
  for (const value of [env.PASSWORD, env.LD_SDK_KEY, env.LD_LIBRARY_PATH])
    assert.ok(line.includes(value), line);
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const shown = await Promise.all(
    pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')),
  );
  assert.deepEqual(
    shown.filter((argv) => argv.includes(data.path) && argv.includes('secret')),
    [],
  );
  child.kill();
  await child.exited;
});

test('a port that a sandbox publishes can be reached at 127.0.0.1, but not at another address of this machine', async () => {
  await using data = await dataFolder();
  const sandbox = await sandboxIn(data.path, 'isolated');
  const { server, port } = await listening();
  server.close();
  const script =
    'import http.server as h\nprint("ready")\nh.HTTPServer(("127.0.0.1", 8000), h.SimpleHTTPRequestHandler).serve_forever()';
  const child = startIn(sandbox, ['python3', '-u', '-c', script], {
    publish: { outside: port, inside: 8000 },
  });
  await lineOf(child, /ready/);
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const attempt = async (): Promise<boolean> =>
    (await child.listeningPorts()).includes(8000) ||
    (await new Promise((go) => setImmediate(go)).then(attempt));
  await attempt();
  connect(port, '127.0.0.1', () => resolve(true))
    .once('error', () => resolve(false))
    .unref();
  assert.equal(await promise, true);
  const other = connect(port, '127.0.0.2');
  assert.match(String(await once(other, 'connect').catch((error: unknown) => error)), /ECONNREFUSED/);
  child.kill();
  await child.exited;
});

test('threat 126: health checks of a tool with thousands of sockets keep the server busy for less than 70 % of the time', async () => {
  await using data = await dataFolder();
  const sandbox = await sandboxIn(data.path, 'isolated');
  const script = `
import os, socket, time
for child in range(3):
    if os.fork() == 0: break
kept = [socket.create_server(('127.0.0.1', 0)) for count in range(900)]
print('ready')
time.sleep(60)`;
  const child = startIn(sandbox, ['python3', '-u', '-c', script]);
  await lineOf(child, /ready/);
  while ((await child.listeningPorts()).length < 1700) await new Promise((go) => setTimeout(go, 50));
  const startedAt = performance.now();
  const end = startedAt + 1500;
  // Measures processor time, because other programs may have the processors meanwhile.
  const before = process.threadCpuUsage();
  const ask = async () => {
    while (performance.now() < end) await child.listeningPorts();
  };
  await Promise.all([ask(), ask(), ask(), ask()]);
  const { user, system } = process.threadCpuUsage(before);
  const part = (user + system) / 1000 / (performance.now() - startedAt);
  child.kill();
  await child.exited;
  assert.ok(part < 0.7, `${part}`);
});

test('a sandbox has a control group while it runs, and the group is removed when the sandbox ends', {
  skip: !isRoot,
}, async (context) => {
  await using data = await dataFolder();
  const instance = instanceId(data.path);
  if (!new Cgroups({ instance }).resources.includes('pids'))
    return context.skip('there are no control groups here');
  const sandbox = await sandboxIn(data.path, 'isolated');
  const groups = async () =>
    (await readdir('/sys/fs/cgroup/pids')).filter((name) => name.startsWith(`toolforge-push-${instance}`));
  const child = startIn(sandbox, ['/bin/sh', '-c', 'echo ready; sleep 1000']);
  await lineOf(child, /ready/);
  assert.equal((await groups()).length, 1);
  child.kill();
  await child.exited;
  assert.deepEqual(await groups(), []);
});

/** A program that makes its arguments and environment in /proc as large as it likes (prctl(2)). */
const boasting = `
import ctypes, mmap, struct, time
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.sbrk.restype = ctypes.c_void_p
size = 64 << 20
at = libc.mmap(None, ctypes.c_size_t(size), 1, 0x22, -1, 0)
said = open('/proc/self/stat').read().rpartition(') ')[2].split()
field = lambda number: int(said[number - 3])
code = [field(number) for number in (26, 27, 45, 46, 47)]
said = struct.pack('<12QIi', *code, libc.sbrk(0), field(28), at, at + size - 4096, at, at + size - 4096, 0, 0, -1)
print('boasting', libc.prctl(35, 14, ctypes.c_char_p(said), ctypes.c_ulong(len(said)), 0), flush=True)
time.sleep(600)`;

test('threat 60: if a process claims a huge environment in its /proc/PID/environ, the server reads less than 32 MiB of it', {
  skip: process.platform !== 'linux',
}, async () => {
  await using data = await dataFolder();
  const sandbox = await sandboxIn(data.path, 'isolated');
  const child = startIn(sandbox, ['python3', '-c', boasting]);
  assert.equal(await lineOf(child, /^boasting/), 'boasting 0');
  const readBytes = async () => Number(/rchar: (\d+)/.exec(await readFile('/proc/self/io', 'utf8'))?.[1]);
  const before = await readBytes();
  // When a command has failed at once, the server searches for its leftover processes.
  assert.equal((await runIn(sandbox, ['/bin/false'])).code, 1);
  const read = (await readBytes()) - before;
  assert.ok(read < 32 * 1024 * 1024, `${read} bytes`);
  child.kill();
  await child.exited;
});

test('threat 60: if the shell that starts a tool runs code from the tool’s variables, the tool’s limits already apply', {
  skip: !isRoot,
}, async () => {
  await using data = await dataFolder();
  const bench = resolve(import.meta.dirname, '../sandbox-bench.ts');
  const server = `
import { runIn, sandboxIn } from ${JSON.stringify(bench)};
const sandbox = await sandboxIn(${JSON.stringify(data.path)}, 'isolated');
const env = { SHELLOPTS: 'xtrace', PS4: '$(grep "^Max processes" /proc/self/limits >&2)+ ' };
console.log((await runIn(sandbox, ['/bin/true'], { env })).output);`;
  // On many systems, sh is bash, which traces if a variable says so, and runs the commands in the variable PS4.
  const asBash = 'mount --bind "$(command -v bash)" "$(readlink -f /bin/sh)" && exec "$@"';
  const node = [process.execPath, '--input-type=module', '-e', server];
  const { stdout } = await execa('unshare', ['-m', 'sh', '-c', asBash, 'sh', ...node]);
  const seen = Array.from(stdout.matchAll(/^Max processes +(\S+)/gm), ([, most]) => most);
  assert.deepEqual([...new Set(seen)], ['32'], stdout);
});

test('threat 60: processor time is shared between tools, not between their processes', {
  skip: !isRoot,
}, async (context) => {
  await using data = await dataFolder();
  if (!new Cgroups({ instance: instanceId(data.path) }).resources.includes('cpu'))
    return context.skip('there are no control groups for processors here');
  const sandbox = await sandboxIn(data.path, 'isolated');
  // The program forks once, so that each tool uses both processors of a small machine.
  const script = `
import os, time
os.fork()
end = time.monotonic() + 8
while time.monotonic() < end: pass
print('used', time.process_time(), flush=True)
time.sleep(1)
`;
  const burn = (toolNumber: number) => runIn(sandbox, ['python3', '-c', script], { toolNumber });
  const used = (outputs: readonly { readonly output: string }[]) =>
    outputs
      .flatMap(({ output }) => Array.from(output.matchAll(/^used (.*)$/gm), ([, seconds]) => Number(seconds)))
      .reduce((sum, seconds) => sum + seconds, 0);
  const [many, few] = await Promise.all([
    Promise.all(Array.from({ length: 16 }, () => burn(1))).then(used),
    burn(2).then((one) => used([one])),
  ]);
  context.diagnostic(`${many.toFixed(1)} s and ${few.toFixed(1)} s of processor time`);
  // The ratio is about 1 if the tools have equal shares, and 16 if each process has the same share.
  assert.ok(many < Math.max(5, availableParallelism() * 2) * few, `${many} s and ${few} s`);
});

test('threat 60: a tool may have at most 2048 pending signals and timers, so that it cannot use up the signals and timers of all tools', {
  skip: !isRoot,
}, async () => {
  await using data = await dataFolder();
  const sandbox = await sandboxIn(data.path, 'isolated');
  const { output } = await runIn(sandbox, ['/bin/grep', '^Max pending signals', '/proc/self/limits']);
  assert.match(output, /^Max pending signals +2048 +2048 /);
});
