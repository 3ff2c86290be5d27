import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, createWriteStream, existsSync } from 'node:fs';
import {
  mkdir,
  open,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { after, before, test } from 'node:test';
import { execa } from 'execa';
import { readConfig } from '../../src/config.ts';
import { removeTree } from '../../src/core/disk/remove-tree.ts';
import { hostileArtifacts } from '../../src/recovery/archive/hostile-artifacts.ts';
import { restoreBackup } from '../../src/recovery/archive/restore-backup.ts';
import { Sealing } from '../../src/recovery/archive/sealed-file.ts';
import { TestServer, until } from '../support/server.ts';
import { liveTool, webTool } from '../support/work-tree.ts';

let server: TestServer;
before(async () => {
  server = await TestServer.start();
  // The keys are in the data folder, so that a backup could contain them twice.
  await server.kill('SIGTERM');
  const keys = join(server.folder, 'data/keys');
  await rename(join(server.folder, 'keys'), keys);
  server.change({ TOOLFORGE_PUSH_KEYS: keys });
  await server.boot();
});
after(async () => server[Symbol.asyncDispose]());

/** Writes a copy of a tar with the seal of a backup. */
async function seal(tar: string, sealed: string): Promise<void> {
  await pipeline(
    createReadStream(tar),
    new Sealing('backup', async () => undefined),
    createWriteStream(sealed),
  );
}

/** The settings of the server with another data folder and other keys. */
function configFor(data: string) {
  return readConfig({
    ...server.environment,
    TOOLFORGE_PUSH_DATA: data,
    TOOLFORGE_PUSH_KEYS: `${data}-keys`,
  });
}

test('threat 127: a preview that goes live while a backup is written is not in the backup, which can be restored', async () => {
  const { data } = readConfig(server.environment);
  const run = join(data, 'run');
  const { name, tree } = await liveTool(server, 'busy', webTool('one'));
  const filler = join(data, 'filler');
  await writeFile(filler, randomBytes(5_000_000));
  // The backup cannot end before this test reads its output, which is larger than all buffers.
  const child = spawn(process.execPath, ['src/cli/bin.ts', 'backup', '-'], {
    env: server.environment,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  await until(
    async () => {
      const [stage = ''] = (await readdir(run)).filter((one) => one.startsWith(`backup-${child.pid}-`));
      return existsSync(join(run, stage, 'excludes'));
    },
    'a full stage',
    120_000,
  );
  const pushed = await tree.git('push', '--quiet', 'toolforge', 'HEAD:preview/late');
  assert.equal(pushed.exitCode, 0, pushed.stderr);
  const file = join(server.folder, 'during.tar');
  await pipeline(child.stdout, createWriteStream(file));
  assert.deepEqual(await ended, [0, null]);
  await rm(filler);
  const to = join(server.folder, 'eighth');
  await restoreBackup(configFor(to), file);
  for (const folder of ['artifacts', 'repositories'])
    assert.deepEqual(
      (await readdir(join(to, folder))).filter((one) => one.includes(name)),
      [folder === 'artifacts' ? name : `${name}.git`],
    );
});

test('a backup that was made during a push can be restored into an empty data folder, and the release that was live then is live again', async () => {
  const { name, tree, first } = await liveTool(server, 'kept', webTool('one'));
  const set = await server.command('config', 'set', name, 'SECRET=s3cret');
  assert.equal(set.exitCode, 0, set.stderr);
  await tree.git('tag', 'v1.0');
  const tagged = await tree.git('push', '--quiet', 'toolforge', 'v1.0');
  assert.equal(tagged.exitCode, 0, tagged.stderr);
  await tree.commit('two', webTool('two', 'sleep 90'));
  const pushing = tree.push();
  await until(async () => (await server.command('ps', name)).stdout.includes('is building'), 'a build');
  const file = join(server.folder, 'all.tar');
  const made = await server.local('backup', file);
  assert.equal(made.exitCode, 0, made.stderr);
  assert.equal((await stat(file)).mode & 0o777, 0o600);
  assert.equal((await server.command('cancel', name)).exitCode, 0);
  assert.equal((await pushing).exitCode, 1);
  await tree.commit('three', webTool('three'));
  assert.equal((await tree.push()).exitCode, 0);
  assert.equal((await server.get(name)).body, 'three');

  const restore = (from: string) => restoreBackup(readConfig(server.environment), from);
  await assert.rejects(restore(file), { code: 'DATA_IN_USE' });
  await server.kill('SIGTERM');
  await assert.rejects(restore(file), { code: 'NOT_EMPTY' });
  await removeTree(join(server.folder, 'data'));
  const bytes = await readFile(file);
  const changed = Buffer.from(bytes);
  changed[5000] = (changed[5000] ?? 0) ^ 1;
  const bad = join(server.folder, 'bad.tar');
  for (const [content, says] of [
    [bytes.subarray(0, -700), /its end is missing/],
    [Buffer.concat([bytes.subarray(0, 4096), bytes.subarray(-512)]), /it has 4096 bytes instead of/],
    [changed, /its checksum differs/],
    [Buffer.alloc(20_480), /it is no archive of toolforge-push/],
  ] as const) {
    await writeFile(bad, content);
    await assert.rejects(restore(bad), { code: 'BAD_ARCHIVE', message: says });
  }
  assert.equal(existsSync(join(server.folder, 'data')), false);

  server.change({
    TOOLFORGE_PUSH_DATA: join(server.folder, 'elsewhere/data'),
    TOOLFORGE_PUSH_KEYS: join(server.folder, 'elsewhere/data/keys'),
  });
  const restored = await server.local('restore', file);
  assert.equal(restored.exitCode, 0, restored.stderr);
  assert.match(restored.stdout, /deploy tokens that were revoked are VALID AGAIN/);
  const folder = join(server.folder, 'elsewhere/data/repositories', `${name}.git`);
  const refs = ['refs/heads', 'refs/releases', 'refs/tags'];
  const listed = await tree.git(
    '--git-dir',
    folder,
    'for-each-ref',
    '--format=%(objectname) %(refname)',
    ...refs,
  );
  assert.deepEqual(listed.stdout.trim().split('\n'), [
    `${first} refs/heads/main`,
    `${first} refs/releases/v1`,
    `${first} refs/releases/v2`,
    `${first} refs/tags/v1.0`,
  ]);
  const whole = await server.local('doctor');
  assert.equal(whole.exitCode, 0, whole.stdout);
  await server.boot();
  await until(async () => (await server.get(name)).body === 'one', 'up again');
  const vars = await server.command('config', 'get', name, 'SECRET');
  assert.match(vars.stdout, /s3cret/);
  assert.match((await server.command('deployments', name)).stdout, /interrupted/);
  const again = await tree.push();
  assert.equal(again.exitCode, 0, again.stderr);
  assert.equal((await server.get(name)).body, 'three');
  assert.equal((await server.command('rollback', name)).exitCode, 0);
  await until(async () => (await server.get(name)).body === 'one', 'the rollback');
});

test('threat 172: if builds have more hard links than tar can keep in memory, a backup leaves out the builds with the most hard links; a file that builds share counts once', async () => {
  const folder = join(server.folder, 'linked');
  const script = `import os
for name, count in [("many", 200), ("few", 50), ("none", 0)]:
    os.makedirs(name); long = name + "/" + "x" * 200
    for i in range(count):
        open(long + str(i), "w").close(); os.link(long + str(i), name + "/" + str(i))
for name in ["first", "second"]: os.mkdir(name)
for i in range(100):
    open(f"first/{i}", "w").close(); os.link(f"first/{i}", f"second/{i}")`;
  await mkdir(folder);
  await execa('python3', ['-c', script], { cwd: folder });
  const { signal } = new AbortController();
  const leftOut = async (names: string[], bytes: number) => [
    ...(await hostileArtifacts(folder, names, [], signal, bytes)),
  ];
  assert.deepEqual(await leftOut(['many', 'few', 'none'], 60_000), ['many']);
  assert.deepEqual(await leftOut(['many', 'few', 'none'], 20_000), ['few', 'many']);
  assert.deepEqual(await leftOut(['first', 'second'], 40_000), []);
});

test('threat 103: a backup leaves out builds with too deep folders, too long paths or a device, and says so; sparse files stay sparse', async () => {
  const data = join(server.folder, 'elsewhere/data');
  const artifacts = join(data, 'artifacts/kept');
  const [odd = '', good = ''] = await readdir(artifacts);
  assert.notEqual(good, '');
  await execa('sh', ['-c', `for i in $(seq 220); do mkdir 'a\nb' && cd -P 'a\nb'; done`], {
    cwd: join(artifacts, odd),
  });
  {
    await using holes = await open(join(artifacts, good, 'holes'), 'wx', 0o4755);
    await holes.truncate(300_000_000);
    await holes.chmod(0o4755);
  }
  const file = join(server.folder, 'odd.tar');
  const made = await server.local('backup', file);
  assert.equal(made.exitCode, 0, made.stderr);
  const leftOut = /(?<=A build of kept is left out.*\(artifacts\/kept\/)[^)]*/g;
  assert.deepEqual(made.stdout.match(leftOut), [odd]);
  assert.ok((await stat(file)).size < 100_000_000);

  const to = join(server.folder, 'third');
  await restoreBackup(configFor(to), file);
  assert.deepEqual(await readdir(join(to, 'artifacts/kept', odd)), []);
  const holes = await stat(join(to, 'artifacts/kept', good, 'holes'));
  assert.deepEqual([holes.size, holes.mode & 0o7777], [300_000_000, 0o755]);
  assert.ok(holes.blocks < 1000);
  await rm(join(artifacts, good, 'holes'));

  await execa('find', [join(artifacts, odd), '-name', 'a*', '-prune', '-exec', 'rm', '-r', '{}', '+']);
  await execa(
    'sh',
    ['-c', `a=$(printf 'a%.0s' $(seq 250)); for i in $(seq 17); do mkdir $a && cd -P $a; done`],
    {
      cwd: join(artifacts, odd),
    },
  );
  const long = await server.local('backup', '-');
  assert.deepEqual(long.stderr.match(leftOut), [odd]);
  await execa('find', [join(artifacts, odd), '-name', 'a*', '-prune', '-exec', 'rm', '-r', '{}', '+']);
  const device = join(artifacts, odd, 'whiteout');
  await execa('mknod', [device, 'c', '0', '0']);
  const piped = await server.local('backup', '-');
  assert.deepEqual(piped.stderr.match(leftOut), [odd]);
  await rm(device);
});

test('an interrupted backup leaves no temporary files, and a new backup removes those of a backup that was killed', async () => {
  const { data } = readConfig(server.environment);
  const run = join(data, 'run');
  const filler = join(data, 'filler');
  await writeFile(filler, randomBytes(5_000_000));
  const left = join(run, 'backup-4194305-abcdef');
  await mkdir(left);
  // Nobody reads the output, which is larger than all buffers, so the backup waits in the middle.
  const child = execa(process.execPath, ['src/cli/bin.ts', 'backup', '-'], {
    env: server.environment,
    extendEnv: false,
    buffer: { stdout: false },
    reject: false,
  });
  const stages = async () => (await readdir(run)).filter((name) => name.startsWith('backup-'));
  await until(
    async () => {
      const [stage = ''] = (await stages()).filter((name) => name.startsWith(`backup-${child.pid}-`));
      return existsSync(join(run, stage, 'excludes'));
    },
    'a full stage',
    120_000,
  );
  assert.equal(existsSync(left), false);
  child.kill('SIGINT');
  const { exitCode, signal, stderr } = await child;
  assert.deepEqual([exitCode, signal], [1, undefined], stderr);
  assert.match(stderr, /interrupted/);
  assert.deepEqual(await stages(), []);
  await rm(filler);
});

test('a backup is refused if its file would be in a missing folder, or in the data folder outside of backups/, or if its temporary file already exists', async () => {
  const { data } = readConfig(server.environment);
  const taken = join(server.folder, 'taken.tar');
  await writeFile(`${taken}.new`, 'mine');
  for (const [target, says] of [
    [data, /would be in the data folder/],
    [join(data, 'run/all.tar'), /would be in the data folder/],
    [join(server.folder, 'none/all.tar'), /there is no folder/i],
    [taken, /taken\.tar\.new exists already/],
  ] as const) {
    const refused = await server.local('backup', target);
    assert.equal(refused.exitCode, 1);
    assert.match(refused.stderr, says);
  }
  assert.equal(await readFile(`${taken}.new`, 'utf8'), 'mine');
  assert.equal((await server.local('backup', join(data, 'backups'))).exitCode, 0);
});

test('`restore` refuses an archive with files that no backup has, even if its checksum is right', async () => {
  const [tar, odd] = [join(server.folder, 'good.tar'), join(server.folder, 'odd-seal.tar')];
  const made = await server.local('backup', tar);
  assert.equal(made.exitCode, 0, made.stderr);
  const draft = join(server.folder, 'draft');
  await mkdir(draft);
  await execa('tar', ['-xf', tar, '-C', draft]);
  const to = join(server.folder, 'fourth');
  const config = configFor(to);
  const restore = async () => {
    const plain = join(server.folder, 'plain.tar');
    await execa('tar', ['-cf', plain, '-C', draft, ...(await readdir(draft)).map((name) => `./${name}`)]);
    await seal(plain, odd);
    return await restoreBackup(config, odd);
  };
  for (const [name, add] of [
    ['releases/device', (path: string) => execa('mknod', [path, 'c', '0', '0'])],
    ['releases/program', (path: string) => execa('install', ['-m', '4755', '/bin/true', path])],
    ['more', (path: string) => symlink('/etc', path)],
    ['keys/ssh_host_dsa_key', (path: string) => symlink('/etc/passwd', path)],
    ['keys/authorized_keys', (path: string) => writeFile(path, '')],
    ['run', (path: string) => mkdir(path)],
    ['repositories/bot.git', (path: string) => symlink('/etc', path)],
  ] as const) {
    const path = join(draft, name);
    await add(path);
    await assert.rejects(restore(), { code: 'BAD_ARCHIVE', message: /files that no backup has/ }, name);
    assert.deepEqual([existsSync(join(to, 'store.sqlite')), existsSync(`${to}-keys`)], [false, false]);
    await rm(path, { recursive: true });
  }
  assert.match((await restore()).join(), /Restored \d tool/);
});

test('threat 39: a repository restored from a backup has no hooks and no settings of the backup, so git runs no program that the backup names', async () => {
  const [tar, odd] = [join(server.folder, 'whole.tar'), join(server.folder, 'hooks-seal.tar')];
  assert.equal((await server.local('backup', tar)).exitCode, 0);
  const draft = join(server.folder, 'draft-hooks');
  await mkdir(draft);
  await execa('tar', ['-xf', tar, '-C', draft]);
  const [repository] = await readdir(join(draft, 'repositories'));
  const made = join(draft, 'repositories', repository ?? '');
  await mkdir(join(made, 'hooks'));
  await writeFile(join(made, 'hooks/pre-receive'), '#!/bin/sh\n', { mode: 0o755 });
  await writeFile(
    join(made, 'config'),
    '[core]\n\tbare = true\n\tfsmonitor = /tmp/program\n[gc]\n\tauto = 1\n',
  );
  await writeFile(join(made, 'objects/info/alternates'), '/srv/other.git/objects\n');
  const plain = join(server.folder, 'plain-hooks.tar');
  await execa('tar', ['-cf', plain, '-C', draft, ...(await readdir(draft)).map((name) => `./${name}`)]);
  await seal(plain, odd);
  const to = join(server.folder, 'fifth');
  await restoreBackup(configFor(to), odd);
  const restored = join(to, 'repositories', repository ?? '');
  assert.doesNotMatch(await readFile(join(restored, 'config'), 'utf8'), /fsmonitor|gc/);
  for (const name of ['hooks', 'objects/info/alternates'])
    assert.equal(existsSync(join(restored, name)), false, name);
  const { stdout } = await execa('git', ['--git-dir', restored, 'rev-parse', '--verify', 'main']);
  assert.match(stdout, /^[0-9a-f]{40}$/);
});

test('threat 107: if a backup has 40,000 symbolic links out of the data folder and 40,000 hard links, its restore takes tar less than 6 s of processor time', {
  skip: (await execa('bwrap', ['--ro-bind', '/', '/', 'true'], { reject: false })).exitCode !== 0,
}, async () => {
  const [tar, odd] = [join(server.folder, 'many.tar'), join(server.folder, 'many-seal.tar')];
  assert.equal((await server.local('backup', tar)).exitCode, 0);
  const more = join(server.folder, 'artifacts/none/1');
  const links = `use strict; for (1 .. 40_000) { symlink "/none/$_", "a$_"; link "b", "b$_" or die }`;
  await mkdir(more, { recursive: true });
  await writeFile(join(more, 'b'), '');
  // ext4 allows 65,000 names of a file.
  await execa('perl', ['-e', links], { cwd: more });
  await execa('tar', ['-rf', tar, '-C', server.folder, './artifacts/none']);
  await seal(tar, odd);
  const to = join(server.folder, 'sixth');
  const bin = join(import.meta.dirname, '../../src/cli/bin.ts');
  const { exitCode, stderr } = await execa('prlimit', ['--cpu=6', process.execPath, bin, 'restore', odd], {
    env: { ...server.environment, TOOLFORGE_PUSH_DATA: to, TOOLFORGE_PUSH_KEYS: `${to}-keys` },
    extendEnv: false,
    reject: false,
  });
  assert.equal(exitCode, 0, stderr);
  assert.equal(await readlink(join(to, 'artifacts/none/1/a7')), '/none/7');
});

test('threat 107: a restore writes nothing outside of the data folder, even if names in the backup lead out of it, also through /proc', async (t) => {
  const [good, bad] = [join(server.folder, 'names.tar'), join(server.folder, 'names-seal.tar')];
  const outside = join(server.folder, 'outside');
  await mkdir(outside);
  await writeFile(join(server.folder, 'evil'), 'evil');
  // A process of the same user, outside the fence around tar.
  const other = execa('sleep', ['60'], { reject: false });
  t.after(() => other.kill());
  for (const name of [`${outside}/evil`, `/proc/${other.pid}/root${outside}/evil`, '../../outside/evil']) {
    await rm(good, { force: true });
    assert.equal((await server.local('backup', good)).exitCode, 0);
    const words = ['-rPf', good, `--transform=s,^evil$,${name},`, '-C', server.folder, 'evil'];
    await execa('tar', words);
    await seal(good, bad);
    const to = join(server.folder, 'seventh');
    await restoreBackup(configFor(to), bad).catch((error: unknown) =>
      assert.match(String(error), /cannot be unpacked/, name),
    );
    assert.deepEqual(await readdir(outside), [], name);
    await removeTree(to);
    await removeTree(`${to}-keys`);
  }
});
