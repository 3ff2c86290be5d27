import assert from 'node:assert/strict';
import { chmod, mkdtemp, readdir, rm, stat, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import ssh2 from 'ssh2';
import { loadOrMakeHostKeys, readableKey } from '../../../src/ssh/protocol/host-keys.ts';

let root: string;
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'host-keys-'));
});
after(() => rm(root, { recursive: true }));

test('threat 22: the SSH host keys are created once, only their owner can read them, and later starts keep them', async () => {
  const folder = join(root, 'keys');
  const made = await loadOrMakeHostKeys(folder);
  assert.equal(made.length, 2);
  assert.deepEqual((await readdir(folder)).sort(), ['ssh_host_ecdsa_key', 'ssh_host_ed25519_key']);
  for (const name of await readdir(folder))
    assert.equal((await stat(join(folder, name))).mode & 0o777, 0o600);
  assert.equal((await stat(folder)).mode & 0o777, 0o700);
  assert.deepEqual(await loadOrMakeHostKeys(folder), made);
});

test('threat 22: if ssh2 cannot read a new host key, another key is generated', () => {
  const good = ssh2.utils.generateKeyPairSync('ecdsa', { bits: 256 }).private;
  const made = ['-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n', good];
  assert.equal(
    readableKey(() => ({ private: made.shift() ?? '' })),
    good,
  );
});

test('threat 22: servers that start at the same time use the same SSH host keys', async () => {
  const all = await Promise.all(Array.from({ length: 8 }, () => loadOrMakeHostKeys(join(root, 'at-once'))));
  for (const keys of all) assert.deepEqual(keys, all[0]);
});

test('if one SSH host key is missing, the server creates it and keeps the other key', async () => {
  const folder = join(root, 'one');
  const [ed25519] = await loadOrMakeHostKeys(folder);
  await unlink(join(folder, 'ssh_host_ecdsa_key'));
  assert.deepEqual((await loadOrMakeHostKeys(folder))[0], ed25519);
});

for (const mode of [0o640, 0o604]) {
  test(`threat 22: the server refuses an SSH host key whose file has mode ${mode.toString(8)}`, async () => {
    const folder = join(root, `exposed-${mode}`);
    await loadOrMakeHostKeys(folder);
    await chmod(join(folder, 'ssh_host_ed25519_key'), mode);
    await assert.rejects(loadOrMakeHostKeys(folder), { name: 'DeployError', code: 'HOST_KEY_EXPOSED' });
  });
}

test('threat 87: the server refuses a damaged SSH host key, and does not replace it', async () => {
  const folder = join(root, 'torn');
  await loadOrMakeHostKeys(folder);
  await writeFile(join(folder, 'ssh_host_ed25519_key'), '-----BEGIN OPENSSH');
  await assert.rejects(loadOrMakeHostKeys(folder), { name: 'DeployError', code: 'HOST_KEY_BROKEN' });
});
