import assert from 'node:assert/strict';
import { chown, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
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

test('threat 151: a program in a sandbox cannot give itself a low priority, to hold locks of the kernel for minutes', async () => {
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
