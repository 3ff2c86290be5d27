import assert from 'node:assert/strict';
import { chown, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { test } from 'node:test';
import { execa } from 'execa';
import { copyFilter } from '../../../src/sandbox/seccomp/filter.ts';
import { dataFolder, isRoot, runIn, sandboxIn } from '../sandbox-bench.ts';

const source = resolve(import.meta.dirname, '../../../src/sandbox/seccomp');
const MADE_WITH = '2.5.4';
const PLAIN_USER = 65_534;

/** Compiles the attack into a folder that is mounted at /attack in a sandbox. */
async function attackIn(
  folder: string,
): Promise<{ mounts: { source: string; target: string; isWritable: boolean }[] }> {
  const built = join(folder, 'attack');
  await mkdir(built);
  await execa('gcc', ['-w', '-o', join(built, 'attack'), join(import.meta.dirname, 'attack.c')]);
  return { mounts: [{ source: built, target: '/attack', isWritable: false }] };
}

test('programs in a sandbox cannot use namespaces, mounts, keyrings, io_uring or old system call tables', async () => {
  await using data = await dataFolder();
  const sandbox = await sandboxIn(data.path, 'isolated');
  const { output } = await runIn(sandbox, ['/attack/attack'], await attackIn(data.path));
  const [attacks = '', usual = ''] = output.split('and in the end:\n');
  assert.ok(attacks.split('\n').length > 37, output);
  assert.doesNotMatch(attacks, /allowed$/m);
  for (const name of [
    'unshare user',
    'clone user',
    'mount',
    'keyctl read session',
    'keyctl user keyring',
    'add_key',
    'ptrace',
    'process_vm_readv',
    'process_vm_writev',
    'pidfd_getfd',
    'thread with files of its own',
    'close_range with files of its own',
    'not dumpable',
    'not dumpable, high bits set',
  ])
    assert.match(attacks, new RegExp(`^${name} EPERM$`, 'm'));
  for (const name of [
    'clone3 user',
    'io_uring_setup',
    'io_setup',
    'socket vsock',
    'socket sctp',
    'socket dccp',
    // By these, a program could keep messages in memory of the kernel that nobody counts (threat 219).
    'netlink to itself',
    'netlink generic',
    'netlink audit',
    'landlock',
    'secret memory',
    'btrfs \\w+.*',
  ])
    assert.match(attacks, new RegExp(`^${name} ENOSYS$`, 'm'));
  // If leases were allowed, others would have to wait for a tool before they can open /etc/passwd.
  // Nobody could count the locks of files that wait in sockets (threat 220).
  for (const name of [
    'lease',
    'lease, high bits set',
    'lease on a folder',
    'lock of an open file',
    'lock of an open file, high bits set',
  ])
    assert.match(attacks, new RegExp(`^${name} EINVAL$`, 'm'));
  // Nobody could count the memory of these sockets (threats 255 and 258).
  for (const name of ['socket mptcp', 'socket mptcp of IPv6', 'socket udp-lite'])
    assert.match(attacks, new RegExp(`^${name} EPROTONOSUPPORT$`, 'm'));
  assert.match(attacks, /^reflink (?!ENOSYS|EPERM)/m);
  if (process.arch === 'x64') assert.equal(attacks.match(/^(i386|x32) \w+ killed$/gm)?.length, 4, attacks);
  assert.equal(usual.match(/^.* allowed$/gm)?.length, 13, usual);
});

for (const uid of [process.getuid?.() ?? 0, PLAIN_USER]) {
  const isOther = uid !== process.getuid?.();
  test(`promise 4: a tool cannot see the keyring of the session in which the server was started (uid ${uid})`, {
    skip: isOther && !isRoot,
  }, async () => {
    await using data = await dataFolder();
    const { mounts } = await attackIn(data.path);
    if (isOther) await chown(data.path, uid, uid);
    const bench = resolve(import.meta.dirname, '../sandbox-bench.ts');
    // Python makes the system calls itself, so that the test needs no program for keys.
    const session = `
import ctypes, os, sys
${isOther ? `os.setgroups([]); os.setgid(${uid}); os.setuid(${uid})` : ''}
libc = ctypes.CDLL(None, use_errno=True)
keyctl, add_key = (250, 248) if os.uname().machine == 'x86_64' else (219, 217)
assert libc.syscall(keyctl, 1, None) > 0
assert libc.syscall(add_key, b'user', b'secret', b'of a tool', 9, -3) > 0
os.execvp(sys.argv[1], sys.argv[1:])`;
    const server = `
import { runIn, sandboxIn } from ${JSON.stringify(bench)};
const sandbox = await sandboxIn(${JSON.stringify(data.path)}, 'isolated');
const mounts = ${JSON.stringify(mounts)};
console.log((await runIn(sandbox, ['sh', '-c', '/attack/attack; echo; echo keys:; cat /proc/keys'], { mounts })).output);`;
    const argv = ['-c', session, process.execPath, '--input-type=module', '-e', server];
    const { stdout } = await execa('/usr/bin/python3', argv);
    assert.match(stdout, /^keyctl read session EPERM$/m);
    assert.match(stdout, /^keyctl clear session EPERM$/m);
    assert.doesNotMatch(stdout, /user +secret/);
    assert.match(stdout, /^keys:/m);
  });
}

test('threat 151: a program in a sandbox cannot give itself a low priority, so it cannot hold locks of the kernel for minutes', async () => {
  await using data = await dataFolder();
  const sandbox = await sandboxIn(data.path, 'isolated');
  const script = `
import ctypes, os, struct, subprocess
def priority():
    fields = open('/proc/self/stat').read().rsplit(') ', 1)[1].split()
    return fields[16], os.sched_getscheduler(0), subprocess.run(['ionice'], capture_output=True).stdout
before = priority()
os.nice(5)
os.setpriority(os.PRIO_PROCESS, 0, 19)
for policy in (os.SCHED_IDLE, os.SCHED_BATCH): os.sched_setscheduler(0, policy, os.sched_param(0))
os.sched_setparam(0, os.sched_param(0))
sched_setattr = 314 if os.uname().machine == 'x86_64' else 274
ctypes.CDLL(None).syscall(sched_setattr, 0, struct.pack('IIQiIQQQ', 48, os.SCHED_IDLE, 0, 19, 0, 0, 0, 0), 0)
subprocess.run(['ionice', '-c', '3', '-p', str(os.getpid())])
print('same' if priority() == before else [before, priority()])
print(subprocess.run(['nice', '-n', '9', 'ionice', '-c', '3', 'chrt', '-i', '0', 'echo', 'started'], capture_output=True, text=True).stdout)`;
  const { output } = await runIn(sandbox, ['python3', '-c', script]);
  assert.equal(output, 'same\nstarted\n\n');
});

/** Python functions that make system calls and print the results. The numbers of options are those of Linux. */
const CALLS = `
import ctypes, errno, os, socket, struct
libc = ctypes.CDLL(None, use_errno=True)
def tried(name, call, *given):
    given = [ctypes.c_ulong(one) if isinstance(one, int) else one for one in given]
    ctypes.set_errno(0)
    result = call(*given)
    print(name, 'allowed' if result >= 0 else errno.errorcode[ctypes.get_errno()])
def option(name, kind, level, number, value, family=socket.AF_INET6):
    with socket.socket(family, kind) as s:
        tried(name, libc.setsockopt, s.fileno(), level, number, value, len(value))
HIGH = 0xffffffff00000000
`;
const REFUSED = [
  {
    name: 'threat 230: a program in a sandbox cannot ask to be told of uses of a folder (dnotify), so that nobody waits for thousands of such messages',
    program: `
folder = os.open('/usr', os.O_RDONLY)
for command in (1026, HIGH | 1026): tried('notify', libc.fcntl, folder, command, 0x8000003f)
tried('flags', libc.fcntl, folder, 1, 0)
tried('duplicate', libc.fcntl, folder, 1030, 0)`,
    output: 'notify EINVAL\nnotify EINVAL\nflags allowed\nduplicate allowed\n',
  },
  {
    name: 'threat 231: a program in a sandbox cannot load filters into sockets or the kernel; otherwise the machine’s limit for filters could be full, and no sandbox could start',
    program: `
one = ctypes.create_string_buffer(struct.pack('HBBI', 6, 0, 0, 0x7fff0000))
program = struct.pack('HxxxxxxP', 1, ctypes.addressof(one))
for number in (26, 50, 51, 52, HIGH | 26):
    option('filter of a socket', socket.SOCK_DGRAM, 1, number, program)
option('filter of a Unix socket', socket.SOCK_DGRAM, 1, 26, program, socket.AF_UNIX)
option('no filter', socket.SOCK_DGRAM, 1, 27, struct.pack('i', 0))
seccomp = 317 if os.uname().machine == 'x86_64' else 277
tried('no new privileges', libc.prctl, 38, 1, 0, 0, 0)
tried('filter', libc.prctl, 22, 2, program, 0, 0)
tried('filter', libc.prctl, HIGH | 22, 2, program, 0, 0)
tried('filter', libc.syscall, seccomp, 1, 0, program)
tried('filter', libc.syscall, seccomp, HIGH | 1, 0, program)
tried('is there a filter', libc.prctl, 21, 0, 0, 0, 0)`,
    output: `${'filter of a socket ENOPROTOOPT\n'.repeat(5)}filter of a Unix socket ENOPROTOOPT\nno filter ENOENT\nno new privileges allowed\n${'filter EINVAL\n'.repeat(4)}is there a filter allowed\n`,
  },
  {
    name: 'threat 232: a program in a sandbox cannot keep memory of the kernel in the options of its sockets',
    program: `
kept = struct.pack('Lii', 65536, 0, 0).ljust(65536, b'x')
for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
    option('kept', kind, 41, 6, kept)
    option('kept', kind, HIGH | 41, HIGH | 6, kept)
key = struct.pack('HHI120xBBHIi80s', socket.AF_INET, 0, 1, 0, 0, 80, 0, 0, b'x' * 80)
for number in (14, 32, 38): option('key', socket.SOCK_STREAM, 6, number, key, socket.AF_INET)`,
    output: `${'kept ENOPROTOOPT\n'.repeat(4)}${'key ENOPROTOOPT\n'.repeat(3)}`,
  },
  {
    name: 'threat 234: a program in a sandbox can join no multicast group, so that the kernel never has thousands of groups to leave',
    program: `
groups = lambda: [open('/proc/net/' + name).read() for name in ('igmp', 'igmp6') if os.path.exists('/proc/net/' + name)]
before = groups()
def address(family, text):
    parts = struct.pack('HH', family, 0), bytes(4 if family == socket.AF_INET6 else 0), socket.inet_pton(family, text)
    return b''.join(parts).ljust(128, bytes(1))
device, sockets = struct.pack('L', 1), []
for last in range(1, 4):
    group = f'225.0.0.{last}'
    old = socket.inet_aton(group) + socket.inet_aton('127.0.0.1')
    four, source = address(socket.AF_INET, group), address(socket.AF_INET, '10.0.0.1')
    six, source_of_six = address(socket.AF_INET6, f'ff02::{last}'), address(socket.AF_INET6, 'fd00::7')
    for family, level, number, value in (
        (socket.AF_INET, 0, 35, old), (socket.AF_INET, 0, 36, old),
        (socket.AF_INET, 0, 39, old + socket.inet_aton('10.0.0.1')),
        (socket.AF_INET, 0, 42, device + four), (socket.AF_INET, 0, 46, device + four + source),
        (socket.AF_INET6, HIGH | 41, HIGH | 20, six[8:24] + struct.pack('i', 1)), (socket.AF_INET6, 41, 42, device + six),
        (socket.AF_INET6, 41, 46, device + six + source_of_six),
    ):
        sockets.append(socket.socket(family, socket.SOCK_DGRAM))
        if libc.setsockopt(sockets[-1].fileno(), ctypes.c_ulong(level), ctypes.c_ulong(number), value, len(value)):
            print(level, number, errno.errorcode[ctypes.get_errno()])
print('same' if groups() == before else groups())`,
    output: 'same\n',
  },
  {
    name: 'threat 247: no message of a program in a sandbox reaches all sockets of a port, for each of which the kernel would copy it',
    program: `
import fcntl, time
own, mask = (struct.unpack('>I', fcntl.ioctl(socket.socket(), one, struct.pack('256s', b'eth0'))[20:24])[0] for one in (0x8915, 0x891b))
last_of_eth0 = socket.inet_ntoa(struct.pack('>I', own | ~mask & 0xffffffff))
for level, number in ((1, 6), (HIGH | 1, 6), (1, HIGH | 6), (HIGH | 1, HIGH | 6)):
    for address in ('127.255.255.255', '255.255.255.255', last_of_eth0):
        for family, prefix in ((socket.AF_INET, ''), (socket.AF_INET6, '::ffff:')):
            sender = socket.socket(family, socket.SOCK_DGRAM)
            one = ctypes.byref(ctypes.c_int(1))
            if libc.setsockopt(sender.fileno(), ctypes.c_ulong(level), ctypes.c_ulong(number), one, 4): print('no option')
            try: sender.sendto(b'x', (prefix + address, 9000))
            except PermissionError: continue
            print('sent', level, number, address)
def reached(family, any, groups):
    sockets = []
    for _ in range(3):
        sockets.append(socket.socket(family, socket.SOCK_DGRAM))
        sockets[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sockets[-1].bind((any, 9001))
        sockets[-1].setblocking(False)
    for group in groups:
        for device in (0, 1, 2):
            for bound in (b'', b'lo', b'eth0'):
                sender = socket.socket(family, socket.SOCK_DGRAM)
                if bound: sender.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, bound)
                try:
                    if family == socket.AF_INET6: sender.setsockopt(41, 17, device)
                    else: sender.setsockopt(0, 32, struct.pack('4s4si', bytes(4), bytes(4), device))
                    sender.sendto(b'x', (group, 9001))
                    if family == socket.AF_INET:
                        sender.bind(('127.0.0.1', 0))
                        sender.sendto(b'x', (group, 9001))
                except OSError: pass
    time.sleep(0.3)
    for one in sockets:
        try: print('reached', family, one.recv(1))
        except BlockingIOError: pass
reached(socket.AF_INET, '', ['224.0.0.1', '224.0.0.2', '239.1.1.1'])
if os.path.exists('/proc/net/if_inet6'): reached(socket.AF_INET6, '::', ['ff01::1', 'ff02::1', 'ff02::2', 'ff05::1'])
print('done')`,
    output: 'done\n',
  },
];

for (const { name, program, output } of REFUSED) {
  test(name, async () => {
    await using data = await dataFolder();
    const sandbox = await sandboxIn(data.path, 'isolated');
    const exit = await runIn(sandbox, ['/usr/bin/python3', '-c', CALLS + program]);
    assert.equal(exit.output, output);
  });
}

test('threat 232: a socket of a sandbox keeps at most 8 KiB of kernel memory for options, and the limit outside of sandboxes is not changed', async (context) => {
  const file = '/proc/sys/net/core/optmem_max';
  const before = await readFile(file, 'utf8');
  await using data = await dataFolder();
  const sandbox = await sandboxIn(data.path, 'isolated');
  const { output } = await runIn(sandbox, [
    'sh',
    '-c',
    `[ ! -e ${file} ] || cat ${file}; echo 9999 >${file}`,
  ]);
  assert.equal(await readFile(file, 'utf8'), before);
  if (!/^\d/.test(output)) return context.skip('this kernel has one limit for all network namespaces');
  assert.match(output, /^8192\n.*(Permission denied|Read-only file system)/);
});

test('ordinary programs work behind the seccomp filter: servers, options of sockets, locks', async () => {
  await using data = await dataFolder();
  const sandbox = await sandboxIn(data.path, 'isolated');
  const web = `
const server = require('node:http').createServer((_, response) => response.end('node'));
server.listen(0, '::', async () => {
  console.log(await (await fetch('http://127.0.0.1:' + server.address().port)).text());
  process.exit();
});`;
  const script = `
import asyncio, fcntl, socket, sqlite3, subprocess, sys, threading
from socket import IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, SOL_SOCKET
s = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
for name in ('SO_REUSEADDR', 'SO_REUSEPORT', 'SO_KEEPALIVE', 'SO_RCVBUF', 'SO_SNDBUF', 'SO_BROADCAST', 'SO_RCVLOWAT'):
    s.setsockopt(SOL_SOCKET, getattr(socket, name), 1)
s.settimeout(5)
for name in ('IPV6_V6ONLY', 'IPV6_RECVPKTINFO', 'IPV6_UNICAST_HOPS', 'IPV6_TCLASS'):
    s.setsockopt(IPPROTO_IPV6, getattr(socket, name), 1)
for name in ('TCP_NODELAY', 'TCP_KEEPIDLE', 'TCP_KEEPCNT', 'TCP_CORK', 'TCP_DEFER_ACCEPT', 'TCP_USER_TIMEOUT', 'TCP_FASTOPEN'):
    s.setsockopt(IPPROTO_TCP, getattr(socket, name), 1)
s.setsockopt(IPPROTO_TCP, socket.TCP_CONGESTION, b'reno')
for name in ('IP_TOS', 'IP_TTL', 'IP_MULTICAST_TTL'):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).setsockopt(IPPROTO_IP, getattr(socket, name), 1)
one, other = socket.socketpair()
one.setsockopt(SOL_SOCKET, socket.SO_PASSCRED, 1)
socket.send_fds(one, [b'x'], [0] * 250)
print('options', socket.getaddrinfo('localhost', 80)[0][4][1], len(socket.recv_fds(other, 1, 250)[1]))
async def serve():
    async def answer(_, writer):
        writer.write(b'asyncio')
        writer.close()
    server = await asyncio.start_server(answer, 'localhost', 0)
    reader, _ = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    print((await reader.read()).decode())
asyncio.run(serve())
database = sqlite3.connect('/tmp/database')
database.execute('pragma journal_mode = wal')
database.executescript('create table t (x); insert into t values (1)')
print('sqlite', database.execute('select * from t').fetchall())
with open('/tmp/locked', 'w+') as file:
    for kind in (fcntl.LOCK_SH, fcntl.LOCK_EX, fcntl.LOCK_UN):
        fcntl.flock(file, kind)
        fcntl.lockf(file, kind)
print('locks')
print(subprocess.run([sys.argv[1], '-e', sys.argv[2]], capture_output=True, text=True).stdout, end='')`;
  const argv = ['/usr/bin/python3', '-c', script, '/node/node', web];
  const mounts = [{ source: dirname(process.execPath), target: '/node', isWritable: false }];
  const { output } = await runIn(sandbox, argv, { mounts });
  assert.equal(output, 'options 80 250\nasyncio\nsqlite [(1,)]\nlocks\nnode\n');
});

test('ordinary programs work behind the seccomp filter: threads, processes, packages', async () => {
  await using data = await dataFolder();
  const sandbox = await sandboxIn(data.path, 'isolated');
  const script = `
import concurrent.futures, multiprocessing, os, subprocess, tempfile
def double(x): return 2 * x
with concurrent.futures.ThreadPoolExecutor(4) as pool: print('threads', sum(pool.map(double, range(10))))
with multiprocessing.get_context('fork').Pool(2) as pool: print('processes', sum(pool.map(double, range(10))))
print('child', subprocess.run(['/bin/echo', 'said'], capture_output=True, text=True).stdout.strip())
print('limits', subprocess.run(['prlimit', '--nofile=64', 'true']).returncode)
os.mkdir('/tmp/p'); os.makedirs('/tmp/p/DEBIAN'); open('/tmp/p/DEBIAN/control', 'w').write('Package: p\\nVersion: 1\\nArchitecture: all\\nMaintainer: a <a@example.org>\\nDescription: p\\n')
print('package', subprocess.run('dpkg-deb --root-owner-group -b /tmp/p /tmp/p.deb >/dev/null && dpkg-deb -x /tmp/p.deb /tmp/q', shell=True).returncode)`;
  const { output } = await runIn(sandbox, ['python3', '-c', script]);
  assert.equal(output, 'threads 90\nprocesses 90\nchild said\nlimits 0\npackage 0\n');
});

test('arm64 gets the seccomp filter aarch64.bpf, and a kind of processor without a filter gets none', async () => {
  await using data = await dataFolder();
  assert.equal(await copyFilter(data.path, 'riscv64'), null);
  const copied = await copyFilter(data.path, 'arm64');
  assert.deepEqual(await readFile(copied ?? ''), await readFile(join(source, 'aarch64.bpf')));
});

test('the seccomp filters in the repository are the same as the output of make-filters.py', async (context) => {
  const asked = await execa('dpkg-query', ['-W', 'python3-seccomp'], { reject: false });
  const installed = asked.stdout?.split('\t')[1] ?? '';
  if (!installed.startsWith(`${MADE_WITH}-`)) {
    return context.skip(`they were made with libseccomp ${MADE_WITH}, and here is ${installed || 'none'}`);
  }
  const folder = await mkdtemp(join(tmpdir(), 'toolforge-push-seccomp-'));
  await execa('/usr/bin/python3', [join(source, 'make-filters.py'), folder]);
  for (const name of ['x86_64.bpf', 'aarch64.bpf'])
    assert.deepEqual(await readFile(join(folder, name)), await readFile(join(source, name)));
  await rm(folder, { recursive: true });
});
