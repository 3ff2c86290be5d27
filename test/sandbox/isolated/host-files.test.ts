import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { createLog } from '../../../src/core/log/log.ts';
import { chooseSandbox } from '../../../src/sandbox/choose-sandbox.ts';
import { hostFiles, treeFiles } from '../../../src/sandbox/isolated/host-files.ts';
import { dataFolder, isRoot, startIn } from '../sandbox-bench.ts';

/** True if a machine with the address 192.0.2.9 would keep sandboxes away from this address. */
const isFenced = (address: string) => /^127\.|^::1$|^192\.0\.2\.9$/.test(address);

/** Creates a root folder with these files. */
async function rootWith(folder: string, files: Readonly<Record<string, string>>): Promise<string> {
  for (const name of ['etc/apt', 'etc/ssl/certs', 'etc/ssl/private', 'usr/bin', 'run/systemd/resolve'])
    await mkdir(join(folder, name), { recursive: true });
  await symlink('usr/bin', join(folder, 'bin'));
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
  return folder;
}

async function folderIn(parent: string): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(parent, 'toolforge-push-test-'));
  await chmod(path, 0o755);
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

/** Returns the file of this machine that a sandbox shows at this path. */
function sourceOf(bwrap: readonly string[], target: string): string | undefined {
  return bwrap[bwrap.indexOf(target) - 1];
}

for (const { name, files, shown, own, pasta } of [
  {
    name: 'a resolver on another address of this machine is asked through pasta',
    files: { 'etc/resolv.conf': 'nameserver 192.0.2.9\n' },
    shown: null,
    own: 'nameserver 169.254.1.53\n',
    pasta: ['--dns-forward', '169.254.1.53'],
  },
  {
    name: 'a resolver in the network is used',
    files: { 'etc/resolv.conf': 'nameserver 192.0.2.1\n' },
    shown: 'etc/resolv.conf',
    own: null,
    pasta: [],
  },
  {
    name: 'systemd-resolved on loopback is replaced by the servers that it asks',
    files: {
      'etc/resolv.conf': 'nameserver 127.0.0.53\n',
      'run/systemd/resolve/resolv.conf': 'nameserver 192.0.2.1\n',
    },
    shown: 'run/systemd/resolve/resolv.conf',
    own: null,
    pasta: [],
  },
  {
    name: 'another resolver on loopback is asked through pasta',
    files: { 'etc/resolv.conf': 'search example.org\nnameserver 127.0.0.1\nnameserver ::1\n' },
    shown: null,
    own: 'nameserver 169.254.1.53\n',
    pasta: ['--dns-forward', '169.254.1.53'],
  },
]) {
  test(`a sandbox asks a name server that it can reach: ${name}`, async () => {
    await using data = await dataFolder();
    const root = await rootWith(join(data.path, 'root'), files);
    const result = await hostFiles(join(data.path, 'own'), { root, isFenced });
    const source = sourceOf(result.bwrap, '/etc/resolv.conf') ?? '';
    if (shown !== null) assert.equal(source, join(root, shown));
    else assert.equal(await readFile(source, 'utf8'), own);
    assert.deepEqual(result.pasta, pasta);
  });
}

test('a sandbox shows only the files of /etc that tools need, and its own /etc/passwd', async () => {
  await using data = await dataFolder();
  const root = await rootWith(join(data.path, 'root'), {
    'etc/shadow': '',
    'etc/passwd': '',
    'etc/hosts': '',
    'etc/npmrc': '',
    'etc/apt/auth.conf': 'machine example.org login x password y',
    'etc/apt/sources.list': '',
  });
  const { bwrap } = await hostFiles(join(data.path, 'own'), { root, isFenced });
  assert.equal(sourceOf(bwrap, '/etc/hosts'), join(root, 'etc/hosts'));
  assert.match(await readFile(sourceOf(bwrap, '/etc/passwd') ?? '', 'utf8'), /^tool:x:1000:1000:/m);
  assert.equal(sourceOf(bwrap, '/cnb/run-image/dpkg-status'), join(root, 'var/lib/dpkg/status'));
  assert.equal(sourceOf(bwrap, '/etc/apt/sources.list'), join(root, 'etc/apt/sources.list'));
  assert.ok(!bwrap.some((word) => /shadow|npmrc|auth\.conf|\/apt$/.test(word)));
  assert.equal(sourceOf(bwrap, '/bin'), 'usr/bin');
});

test('promise 4: a sandbox shows the certificates in /etc/ssl, but not keys beside them', async () => {
  await using data = await dataFolder();
  const root = await rootWith(join(data.path, 'root'), { 'etc/ssl/push.key': '', 'etc/ssl/openssl.cnf': '' });
  const { bwrap } = await hostFiles(join(data.path, 'own'), { root, isFenced });
  assert.deepEqual(
    bwrap.filter((word) => word.startsWith('/etc/ssl')),
    ['/etc/ssl/certs', '/etc/ssl/openssl.cnf'],
  );
});

/** Returns the arguments of bwrap for a path and everything below it. */
function argumentsFor(bwrap: readonly string[], root: string, target: string): string[] {
  const words = bwrap.map((word) => word.replace(`${root}/`, 'ROOT/')).join(' ');
  return words.split(/ (?=--)/).filter((one) => one.split(' ').at(-1)?.startsWith(target));
}

test('promise 4: a sandbox hides the server’s files in /usr, because tools can run as the server’s user', async () => {
  await using data = await dataFolder();
  const root = await rootWith(data.path, {});
  const own = join(root, 'usr/local/push');
  await mkdir(join(own, 'data'), { recursive: true });
  await mkdir(join(own, 'bin'));
  for (const file of ['key.pem', 'data/inner.key', 'help.txt']) await writeFile(join(own, file), 'secret');
  await writeFile(join(root, 'etc/key.pem'), 'secret');
  await symlink('help.txt', join(own, 'link'));
  await symlink(join(own, 'data'), join(root, 'etc/data'));
  const hidden = [
    'etc/data',
    'usr/local/push/key.pem',
    'usr/local/push/data/inner.key',
    'etc/key.pem',
    'usr/missing',
  ];
  const { bwrap } = await hostFiles(join(data.path, 'own'), {
    root,
    isFenced,
    hidden: hidden.map((name) => join(root, name)),
  });
  assert.deepEqual(argumentsFor(bwrap, root, '/usr'), [
    '--ro-bind ROOT/usr /usr',
    '--tmpfs /usr/local/push',
    '--ro-bind-try ROOT/usr/local/push/bin /usr/local/push/bin',
    '--ro-bind-try ROOT/usr/local/push/help.txt /usr/local/push/help.txt',
    '--symlink help.txt /usr/local/push/link',
    '--remount-ro /usr/local/push',
  ]);
  assert.ok(!bwrap.some((word) => /key|missing/.test(word)));
});

test('promise 4: if a setting names a key in /etc by a link, a sandbox that shows the key’s folder hides the key, and each link on the way to the key', async () => {
  await using data = await dataFolder();
  const files = { 'etc/ssl/certs/ca.pem': '', 'etc/ssl/certs/push-2.key': 'secret', 'etc/hosts': '' };
  const root = await rootWith(data.path, files);
  await symlink('push-2.key', join(root, 'etc/ssl/certs/push.key'));
  await symlink('certs/push.key', join(root, 'etc/ssl/cert.pem'));
  const hidden = [join(root, 'etc/ssl/cert.pem')];
  const { bwrap } = await hostFiles(join(data.path, 'own'), { root, isFenced, hidden });
  assert.deepEqual(argumentsFor(bwrap, root, '/etc/ssl'), [
    '--ro-bind-try ROOT/etc/ssl/certs /etc/ssl/certs',
    '--tmpfs /etc/ssl/certs',
    '--ro-bind-try ROOT/etc/ssl/certs/ca.pem /etc/ssl/certs/ca.pem',
    '--remount-ro /etc/ssl/certs',
  ]);
});

test('promise 4: a running tool sees no key in /usr, even after the key has been replaced, and no replica.my.cnf file in /usr', {
  skip: !isRoot,
}, async () => {
  await using data = await dataFolder();
  await using secrets = await folderIn('/usr/local/share');
  const key = join(secrets.path, 'key.pem');
  await writeFile(key, 'secret one', { mode: 0o644 });
  await writeFile(join(secrets.path, 'other'), 'no secret', { mode: 0o644 });
  const replicas = join(secrets.path, 'replicas');
  await mkdir(replicas, { mode: 0o755 });
  await writeFile(join(replicas, 'replica.my.cnf'), 'password', { mode: 0o644 });
  const config = {
    data: data.path,
    sandbox: 'isolated',
    sandbox_uid: 700_000,
    blocked_networks: [],
  } as const;
  const { sandbox } = await chooseSandbox(
    { ...config, blocked_networks: [], tls_key: key, replica_folder: replicas },
    createLog('error'),
  );
  const script =
    'echo ready; until [ -e /kept/done ]; do sleep 0.05; done; cat "$0"/* "$0"/*/* 2>/dev/null; echo; echo end';
  const kept = join(data.path, 'kept');
  await mkdir(kept, { mode: 0o755 });
  const mounts = [{ source: kept, target: '/kept', isWritable: false }];
  const child = startIn(sandbox, ['sh', '-c', script, secrets.path], { mounts });
  const output = text(child.output);
  await once(child.output, 'data');
  // Replace the key as certbot and other programs do.
  await writeFile(`${key}.new`, 'secret two', { mode: 0o644 });
  await rename(`${key}.new`, key);
  await writeFile(join(kept, 'done'), '');
  await child.exited;
  assert.match(await output, /^ready\nno secret\nend\n$/);
});

test('in a sandbox with a Debian tree, /etc comes from the tree, except accounts, host names, name servers and certificate authorities', async () => {
  await using data = await dataFolder();
  const root = await rootWith(join(data.path, 'root'), {
    'etc/hosts': '',
    'etc/resolv.conf': 'nameserver 192.0.2.1\n',
    'etc/os-release': '',
    'etc/ssl/certs/ca-certificates.crt': '',
    'etc/ssl/certs/other.pem': '',
  });
  const { overTree } = await hostFiles(join(data.path, 'own'), { root, isFenced });
  assert.deepEqual(
    overTree.filter((word) => word.startsWith('/etc/')).sort(),
    ['group', 'hosts', 'passwd', 'resolv.conf', 'ssl/certs/ca-certificates.crt'].map(
      (name) => `/etc/${name}`,
    ),
  );
  assert.equal(sourceOf(overTree, '/etc/hosts'), join(root, 'etc/hosts'));
});

test('promise 4: a sandbox with a Debian tree does not show the machine’s file of certificate authorities if the server keeps a secret at this path', async () => {
  await using data = await dataFolder();
  const root = await rootWith(join(data.path, 'root'), { 'etc/ssl/certs/ca-certificates.crt': 'secret' });
  const hidden = [join(root, 'etc/ssl/certs/ca-certificates.crt')];
  const { overTree } = await hostFiles(join(data.path, 'own'), { root, isFenced, hidden });
  assert.ok(!overTree.some((word) => word.includes('ca-certificates')));
});

test('a sandbox shows the folders of one Debian tree, to which the link of the stack leads when the sandbox starts', async () => {
  await using data = await dataFolder();
  const root = await rootWith(join(data.path, 'tree-1'), {});
  await symlink('tree-1', join(data.path, 'tree'));
  const words = treeFiles(join(data.path, 'tree'));
  for (const name of ['usr', 'etc', 'var']) assert.equal(sourceOf(words, `/${name}`), join(root, name));
  assert.equal(sourceOf(words, '/bin'), 'usr/bin');
});
