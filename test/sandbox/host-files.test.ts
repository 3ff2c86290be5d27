import assert from 'node:assert/strict';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { hostFiles } from '../../src/sandbox/host-files.ts';
import { dataFolder } from './sandbox-bench.ts';

/** Whether a machine with the address 192.0.2.9 would fence an address. */
const isFenced = (address: string) => /^127\.|^::1$|^192\.0\.2\.9$/.test(address);

/** A root folder with these files. */
async function rootWith(folder: string, files: Readonly<Record<string, string>>): Promise<string> {
  for (const name of ['etc/apt', 'etc/ssl/certs', 'etc/ssl/private', 'usr/bin', 'run/systemd/resolve'])
    await mkdir(join(folder, name), { recursive: true });
  await symlink('usr/bin', join(folder, 'bin'));
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
  return folder;
}

/** The source that is shown at this path inside. */
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
  test(`names: ${name}`, async () => {
    await using data = await dataFolder();
    const root = await rootWith(join(data.path, 'root'), files);
    const result = await hostFiles(join(data.path, 'own'), { root, isFenced });
    const source = sourceOf(result.bwrap, '/etc/resolv.conf') ?? '';
    if (shown !== null) assert.equal(source, join(root, shown));
    else assert.equal(await readFile(source, 'utf8'), own);
    assert.deepEqual(result.pasta, pasta);
  });
}

test('only the needed files of /etc are shown, and accounts are the sandbox’s own', async () => {
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

test('promise 4: the certificates in /etc/ssl are shown, and keys beside them are not', async () => {
  await using data = await dataFolder();
  const root = await rootWith(join(data.path, 'root'), { 'etc/ssl/push.key': '', 'etc/ssl/openssl.cnf': '' });
  const { bwrap } = await hostFiles(join(data.path, 'own'), { root, isFenced });
  assert.deepEqual(
    bwrap.filter((word) => word.startsWith('/etc/ssl')),
    ['/etc/ssl/certs', '/etc/ssl/openssl.cnf'],
  );
});

test('promise 4: the server’s files in /usr are hidden, because tools may have its user', async () => {
  await using data = await dataFolder();
  const root = await rootWith(data.path, {});
  const [folder, key, outside] = ['usr/local/push/data', 'usr/local/push/key.pem', 'etc/key.pem'].map(
    (name) => join(root, name),
  ) as [string, string, string];
  await mkdir(folder, { recursive: true });
  for (const file of [key, outside]) await writeFile(file, 'secret');
  await symlink(folder, join(root, 'etc/data'));
  const hidden = [join(root, 'etc/data'), key, outside, join(root, 'usr/missing')];
  const { bwrap } = await hostFiles(join(data.path, 'own'), { root, isFenced, hidden });
  const words = bwrap.join(' ');
  assert.ok(words.includes('--tmpfs /usr/local/push/data --remount-ro /usr/local/push/data'), words);
  assert.equal(sourceOf(bwrap, '/usr/local/push/key.pem'), '/dev/null');
  assert.equal(words.match(/secret|missing|etc\/key/), null);
});
