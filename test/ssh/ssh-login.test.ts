import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { rm, writeFile } from 'node:fs/promises';
import { after, before, beforeEach, test } from 'node:test';
import ssh2 from 'ssh2';
import type { Directory } from '../../src/auth/directory.ts';
import { tooManyLogins } from '../../src/auth/directory-timeout.ts';
import { checkBlob } from '../../src/auth/public-key.ts';
import { hardwareKeyBlob, startFakeAgent } from '../support/ssh/fake-ssh-agent.ts';
import { connect, exec, LyingAgent, logInWith, readAll } from '../support/ssh/ssh-attacker.ts';
import { SshWorkbench } from '../support/ssh/ssh-workbench.ts';

let bench: SshWorkbench;
before(async () => {
  bench = await SshWorkbench.open();
});
after(() => bench.close());
beforeEach(() => {
  bench.logged.length = 0;
  bench.writeDirectory();
});

/** Logs in with the keys and signatures of `agent`, and returns the greeting. Rejects if the login is refused. */
async function lie(username: string, agent: LyingAgent): Promise<string> {
  const client = await connect({ port: bench.port, username, agent, authHandler: ['agent'] });
  const channel = await new Promise<ssh2.ClientChannel>((resolve, reject) =>
    client.shell(false, (error, stream) => (error ? reject(error) : resolve(stream))),
  );
  const { stdout } = await readAll(channel);
  client.end();
  return stdout.toString();
}

for (const [type, ...args] of [
  ['ed25519', '-t', 'ed25519'],
  ['ecdsa-256', '-t', 'ecdsa', '-b', '256'],
  ['ecdsa-384', '-t', 'ecdsa', '-b', '384'],
  ['ecdsa-521', '-t', 'ecdsa', '-b', '521'],
  ['rsa-2048', '-t', 'rsa', '-b', '2048'],
] as const) {
  test(`a person can log in over SSH with an ${type} key, and the greeting has their name and the deploy branch`, async () => {
    bench.makeKey(type, ...args);
    bench.writeDirectory([type]);
    const { code, stdout, stderr } = await bench.ssh('alice', type, []);
    assert.equal(stderr, '');
    assert.equal(code, 0);
    const kind = type.split('-', 1)[0]?.toUpperCase();
    assert.match(stdout, new RegExp(`^Hello alice, you are logged in with ssh ${kind} SHA256:\\S{43}\\.\n`));
    assert.match(stdout, /Your tools: frozen, hello, wikibot\./);
    assert.match(stdout, /git push ssh:\/\/alice@push\.example\.org:2222\/frozen\.git trunk/);
    assert.match(stdout, /ssh -p 2222 alice@push\.example\.org help/);
  });
}

test('an SSH login with an RSA signature over SHA-512 succeeds', async () => {
  const more = ['-o', 'PubkeyAcceptedAlgorithms=rsa-sha2-512'];
  bench.makeKey('rsa-512', '-t', 'rsa', '-b', '2048');
  bench.writeDirectory(['rsa-512']);
  assert.equal((await bench.ssh('alice', 'rsa-512', [], more)).code, 0);
});

test('threat 19: an SSH login with an RSA signature over SHA-1 is refused', async () => {
  bench.makeKey('rsa-sha1', '-t', 'rsa', '-b', '2048');
  bench.writeDirectory(['rsa-sha1']);
  const more = ['-o', 'PubkeyAcceptedAlgorithms=ssh-rsa'];
  assert.match(
    (await bench.ssh('alice', 'rsa-sha1', [], more)).stderr,
    /Permission denied|no mutual signature/,
  );
  const key = { username: 'alice', path: bench.path('rsa-sha1') };
  assert.equal(await logInWith(bench.port, { ...key, algorithm: 'ssh-rsa', hash: 'sha1' }), false);
  assert.equal(await logInWith(bench.port, { ...key, algorithm: 'ssh-rsa', hash: 'sha256' }), false);
  assert.equal(await logInWith(bench.port, { ...key, algorithm: 'rsa-sha2-256', hash: 'sha1' }), false);
  assert.equal(await logInWith(bench.port, { ...key, algorithm: 'rsa-sha2-256', hash: 'sha256' }), true);
});

test('threat 19: an RSA key of 1024 bits cannot log in over SSH, although the user directory lists it', async () => {
  const pem = generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey.export({
    type: 'pkcs1',
    format: 'pem',
  });
  const parsed = ssh2.utils.parseKey(pem as string);
  assert.ok(!(parsed instanceof Error));
  await writeFile(bench.path('short'), pem, { mode: 0o600 });
  await writeFile(bench.path('short.pub'), `ssh-rsa ${parsed.getPublicSSH().toString('base64')} short\n`);
  bench.writeDirectory(['short']);
  const more = ['-o', 'RequiredRSASize=1024'];
  assert.match((await bench.ssh('alice', 'short', [], more)).stderr, /Permission denied \(publickey\)/);
});

for (const { name, login, key } of [
  { name: 'an unknown key', login: 'alice', key: 'stranger' },
  { name: 'another person’s key', login: 'alice', key: 'bob' },
  { name: 'one’s own key under another name', login: 'bob', key: 'alice' },
  { name: 'an unknown name', login: 'mallory', key: 'alice' },
  { name: 'a tool’s name, by a person who does not maintain it', login: 'tools.hello', key: 'bob' },
  { name: 'root', login: 'root', key: 'alice' },
]) {
  test(`an SSH login is refused: ${name}`, async () => {
    const { code, stdout, stderr } = await bench.ssh(login, key, ['tools']);
    assert.equal(code, 255);
    assert.equal(stdout, '');
    assert.match(stderr, /Permission denied \(publickey\)/);
    await bench.waitForLog('ssh login failed', (line) => line['login'] === login);
  });
}

for (const { login, key, uid } of [
  { login: 'git', key: 'bob', uid: 'bob' },
  { login: 'tools.wikibot', key: 'bob', uid: 'bob' },
  { login: 'tool.hello', key: 'alice', uid: 'alice' },
  { login: 'ALICE', key: 'alice', uid: 'alice' },
]) {
  test(`an SSH login with the key of ${key} and the name ${login} has the identity ${uid}`, async () => {
    assert.match((await bench.ssh(login, key, [])).stdout, new RegExp(`^Hello ${uid},`));
  });
}

test('the SSH server does not offer password or keyboard-interactive logins', async () => {
  for (const authHandler of [['password'], ['keyboard-interactive']] as const) {
    const login = connect({
      port: bench.port,
      username: 'alice',
      password: 'x',
      tryKeyboard: true,
      authHandler: [...authHandler],
    });
    await assert.rejects(login, /authentication methods failed/);
  }
});

test('threat 14: an SSH key that is offered without a signature does not log in', async () => {
  const agent = new LyingAgent([{ publicKey: bench.publicKey('alice'), signWith: null }]);
  const client = new ssh2.Client();
  client.on('error', () => {});
  const asked = new Promise<void>((resolve) => {
    agent.onSign = () => resolve();
  });
  client.connect({ host: '127.0.0.1', port: bench.port, username: 'alice', agent, authHandler: ['agent'] });
  await asked;
  await assert.rejects(exec(client, 'tools'), /Channel open failure/);
  client.end();
  await once(client, 'close');
  assert.equal(bench.commands.length, 0);
});

test('threat 14: an SSH login with a signature by another key is refused', async () => {
  const agent = new LyingAgent([{ publicKey: bench.publicKey('alice'), signWith: bench.path('bob') }]);
  await assert.rejects(lie('alice', agent), /authentication methods failed/);
  await assert.rejects(lie('git', agent), /authentication methods failed/);
});

test('threat 14: if a client first offers another person’s key, it still logs in with the identity of its own key', async () => {
  const agent = new LyingAgent([
    { publicKey: bench.publicKey('alice'), signWith: bench.path('bob') },
    { publicKey: bench.publicKey('bob'), signWith: bench.path('bob') },
  ]);
  assert.match(await lie('git', agent), /^Hello bob,/);
});

test('threat 14: an SSH client cannot change its user name during a login', async () => {
  const client = new ssh2.Client();
  let tries = 0;
  client.connect({
    host: '127.0.0.1',
    port: bench.port,
    username: 'bob',
    authHandler: (_left, _partial, next) => {
      tries += 1;
      next({ type: 'none', username: tries === 1 ? 'bob' : 'alice' } as never);
    },
  });
  const [error] = await once(client, 'error');
  assert.match(String(error), /PROTOCOL_ERROR/);
  assert.equal(tries, 2);
});

for (const algorithm of ['sk-ssh-ed25519@openssh.com', 'sk-ecdsa-sha2-nistp256@openssh.com']) {
  test(`an SSH hardware key (${algorithm}) is refused, and the client gets advice`, async () => {
    const path = bench.path(`agent-${algorithm.length}`);
    const agent = await startFakeAgent(path, [hardwareKeyBlob(algorithm)]);
    const more = ['-o', `IdentityAgent=${path}`, '-o', 'IdentitiesOnly=no'];
    const { code, stderr } = await bench.ssh('alice', 'nokey', [], more);
    agent.close();
    assert.equal(code, 255);
    assert.match(stderr, / ! {5}Hardware \(sk-\) keys cannot be used here/);
    assert.match(stderr, /ssh-keygen -t ed25519/);
  });
}

test('an SSH client that offers too many keys sees how to offer the right one', async () => {
  const path = bench.path('agent-many');
  const blobs = Array.from({ length: 8 }, (_, index) => hardwareKeyBlob('sk-ssh-ed25519@openssh.com', index));
  const agent = await startFakeAgent(path, blobs);
  const more = ['-o', `IdentityAgent=${path}`, '-o', 'IdentitiesOnly=no'];
  const { code, stderr } = await bench.ssh('alice', 'nokey', [], more);
  agent.close();
  assert.equal(code, 255);
  assert.match(stderr, /None of the first 6 keys .* belongs to alice here/);
  assert.match(stderr, /IdentitiesOnly=yes/);
});

test('threat 6: if the user directory fails, nobody can log in over SSH, and no refusal says that a key is wrong', async () => {
  await writeFile(bench.path('directory.yaml'), 'users:\n  alice: {keys: [\n');
  const broken = await bench.ssh('alice', 'alice', ['tools']);
  assert.equal(broken.code, 255);
  assert.match(broken.stderr, /The user directory has an error in line 3\./);
  assert.match(broken.stderr, /This does not mean that your key or password is wrong/);
  assert.doesNotMatch(broken.stderr, /Permission denied/);
  await rm(bench.path('directory.yaml'));
  const gone = await bench.git(['ls-remote', bench.url('hello')]);
  assert.equal(gone.code, 128);
  assert.match(gone.stderr, /The user directory cannot be read just now\./);
  assert.doesNotMatch(gone.stderr, /Permission denied/);
  await bench.waitForLog('ssh login could not be checked');
});

test('threat 6: an SSH login that is refused because too many other logins wait gets this reason, and the server’s log has no alarm', async () => {
  const busy = async (): Promise<never> => {
    throw tooManyLogins();
  };
  const directory: Directory = {
    ...{ identifyByKey: busy, identifyByPassword: busy, findTool: busy, toolsOf: busy },
    close: async () => {},
  };
  const crowded = await SshWorkbench.open({ directory });
  try {
    const { code, stderr } = await crowded.ssh('alice', 'alice', ['tools']);
    assert.equal(code, 255);
    assert.match(stderr, /Too many people are logging in just now\./);
    await crowded.waitForLog('ssh login refused: too many people are logging in');
    assert.deepEqual(
      crowded.logged.filter(({ level }) => Number(level) >= 50),
      [],
    );
  } finally {
    await crowded.close();
  }
});

test('threat 9: after eight failed logins, a wrong SSH key is refused with the reason, and the person’s own key still logs in', async () => {
  for (let index = 0; index < 8; index += 1) bench.throttle.failed('alice', '127.0.0.1');
  const failed = await bench.ssh('alice', 'stranger', []);
  assert.equal(failed.code, 255);
  assert.match(failed.stderr, /Too many logins from your address have failed/);
  assert.equal((await bench.ssh('alice', 'alice', [])).code, 0);
  assert.equal(bench.throttle.check('alice', '127.0.0.1'), 0);
});

test('the server’s log line of an SSH login names the person, the key and the address', async () => {
  await bench.ssh('alice', 'alice', []);
  const line = await bench.waitForLog('ssh login');
  assert.equal(line['uid'], 'alice');
  assert.match(String(line['credential']), /^ssh ED25519 SHA256:/);
  assert.equal(line['address'], '127.0.0.1');
});

test('threat 6: an SSH key whose signatures take long to check is refused as malformed', () => {
  const field = (bytes: Buffer) =>
    Buffer.concat([Buffer.from([0, 0, bytes.length >> 8, bytes.length & 255]), bytes]);
  const key = (exponentBytes: number) =>
    Buffer.concat([Buffer.from('ssh-rsa'), Buffer.alloc(exponentBytes, 3), Buffer.alloc(384, 5)].map(field));
  assert.equal(checkBlob('ssh-rsa', key(3)), null);
  assert.equal(checkBlob('ssh-rsa', key(383)), 'not a key');
});
