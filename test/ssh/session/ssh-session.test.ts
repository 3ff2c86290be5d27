import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { after, before, beforeEach, test } from 'node:test';
import { execa } from 'execa';
import { DeployError } from '../../../src/core/errors.ts';
import { connect, exec, readAll } from '../../support/ssh/ssh-attacker.ts';
import { SshWorkbench } from '../../support/ssh/ssh-workbench.ts';

let bench: SshWorkbench;
let privateKey: Buffer;
before(async () => {
  bench = await SshWorkbench.open();
  privateKey = readFileSync(bench.path('alice'));
});
after(() => bench.close());
beforeEach(() => {
  bench.logged.length = 0;
  bench.commands.length = 0;
  bench.packServices.protocols.length = 0;
  bench.command = async (line) => {
    await line.out(`${JSON.stringify(line.argv)}\n`);
    return 0;
  };
});
const attacker = () => connect({ port: bench.port, username: 'alice', privateKey, strictVendor: false });

test('a command over SSH gets its words and the principal of the login', async () => {
  const { code, stdout, stderr } = await bench.ssh('alice', 'alice', ['config', 'set', 'hello', "'A=b c'"]);
  assert.deepEqual([code, stdout, stderr], [0, '["config","set","hello","A=b c"]\n', '']);
  const { principal } = bench.commands[0] ?? assert.fail();
  assert.equal(principal.uid, 'alice');
  assert.equal(principal.door, 'ssh');
  assert.equal(principal.address, '127.0.0.1');
  assert.equal(principal.isOperator, false);
  assert.equal(principal.onlyTool, null);
});

test('an SSH client gets the standard output, standard error and exit status of its command', async () => {
  bench.command = async ({ out, err }) => {
    await out('one\n');
    await err('two\n');
    await out('three\n');
    return 7;
  };
  assert.deepEqual(await bench.ssh('alice', 'alice', ['x']), {
    code: 7,
    stdout: 'one\nthree\n',
    stderr: 'two\n',
  });
});

test('a command over SSH can read the client’s input to the end', async () => {
  bench.command = async ({ input, out }) => {
    let bytes = 0;
    for await (const chunk of input) bytes += chunk.length;
    await out(`${bytes}\n`);
    return 0;
  };
  const args = [...bench.sshArguments('alice'), '-p', String(bench.port), 'alice@127.0.0.1', 'config'];
  const { stdout } = await execa('ssh', args, { input: Buffer.alloc(5_000_000, 'x') });
  assert.equal(stdout, '5000000');
});

test('if a command over SSH is refused, the client sees the reason and the hint, and exits with 1', async () => {
  bench.command = async () => {
    throw new DeployError('NOTHING_LIVE', 'nothing is live\u001b]0;x\u0007', 'Push first.');
  };
  assert.deepEqual(await bench.ssh('alice', 'alice', ['x']), {
    code: 1,
    stdout: '',
    stderr: ' !     Nothing is live.\n !     Push first.\n',
  });
});

test('threat 23: if a command fails by a bug, the SSH client sees only a number that the server’s log has too', async () => {
  bench.command = async () => {
    throw new TypeError('cannot read /var/lib/secret');
  };
  const { code, stderr } = await bench.ssh('alice', 'alice', ['config', 'set', 'hello', 'KEY=hunter2']);
  assert.equal(code, 1);
  assert.doesNotMatch(stderr, /secret|TypeError|\bat\b .*:\d/);
  const id = /: ([0-9a-f]{8})\.\n$/.exec(stderr)?.[1];
  const line = await bench.waitForLog('session broke');
  assert.equal(line['id'], id);
  assert.doesNotMatch(JSON.stringify(bench.logged), /hunter2/);
});

test('an unknown SSH command is refused, and `git archive` over SSH is refused with its own message', async () => {
  bench.command = async ({ err, argv }) => {
    await err(`no ${argv[0]}\n`);
    return 2;
  };
  assert.deepEqual(await bench.ssh('alice', 'alice', ['rm', '-rf', '/']), {
    code: 2,
    stdout: '',
    stderr: 'no rm\n',
  });
  const archive = await bench.git(['archive', `--remote=${bench.url('hello')}`, 'HEAD']);
  assert.equal(archive.code, 128);
  assert.match(archive.stderr, /This server does not serve git archive --remote/);
});

test('if an SSH client disconnects, the abort signal of its command fires', async () => {
  const started = Promise.withResolvers<AbortSignal>();
  const ended = Promise.withResolvers<void>();
  bench.command = async ({ signal }) => {
    started.resolve(signal);
    await once(signal, 'abort');
    ended.resolve();
    return 0;
  };
  const args = [
    ...bench.sshArguments('alice'),
    '-p',
    String(bench.port),
    'alice@127.0.0.1',
    'logs',
    '-f',
    'hello',
  ];
  const ssh = execa('ssh', args, { reject: false, stdin: 'ignore' });
  await started.promise;
  ssh.kill('SIGKILL');
  await ended.promise;
});

test('if an SSH client closes a channel, the channel’s command ends, and the connection continues', async () => {
  const client = await attacker();
  const started = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  bench.command = async ({ signal }) => {
    started.resolve();
    await once(signal, 'abort');
    ended.resolve();
    return 0;
  };
  const channel = await exec(client, 'logs -f hello');
  await started.promise;
  channel.close();
  await ended.promise;
  bench.command = async () => 3;
  assert.equal((await readAll(await exec(client, 'x'))).code, 3);
  client.end();
});

test('threat 17: the SSH server accepts only the variable GIT_PROTOCOL, and only if its value is well-formed', async () => {
  const bad = [
    'LD_PRELOAD=/tmp/x.so',
    'GIT_DIR=/etc',
    'GIT_CONFIG_COUNT=1',
    'NODE_OPTIONS=--inspect',
    'PATH=/tmp',
  ];
  for (const [value, arrives] of [
    ['version=2', 'version=2'],
    ['version=1', 'version=1'],
    ['version=2:evil', null],
    ['version=2\nx', null],
    ['$(id)', null],
  ] as const) {
    const client = await attacker();
    const env = Object.fromEntries(
      [...bad, `GIT_PROTOCOL=${value}`].map((pair) => [
        pair.slice(0, pair.indexOf('=')),
        pair.slice(pair.indexOf('=') + 1),
      ]),
    );
    const channel = await new Promise<Parameters<typeof readAll>[0]>((resolve, reject) =>
      client.exec("git-upload-pack '/hello.git'", { env }, (error, stream) =>
        error ? reject(error) : resolve(stream),
      ),
    );
    channel.end('0000');
    assert.equal((await readAll(channel)).code, 0);
    assert.equal(bench.packServices.protocols.at(-1), arrives);
    client.end();
  }
});

test('threat 17: environment variables that an SSH client sends, such as GIT_TRACE, do not reach git', async () => {
  const more = ['-o', 'SetEnv=LD_PRELOAD=/tmp/x.so GIT_TRACE=1 GIT_PROTOCOL=version=9'];
  const { stderr } = await bench.ssh('alice', 'alice', ["git-upload-pack '/hello.git'"], more);
  assert.doesNotMatch(stderr, /trace/);
  assert.deepEqual(bench.packServices.protocols, [null]);
});

test('threat 18: the SSH server refuses a terminal, and a login without a command still gets the greeting', async () => {
  const forced = await bench.ssh('alice', 'alice', ['ps'], ['-tt']);
  assert.match(forced.stderr, /PTY allocation request failed/);
  const words = ['ssh', ...bench.sshArguments('alice'), '-p', String(bench.port), 'alice@127.0.0.1'];
  const { stdout } = await execa('script', ['-qec', words.join(' '), '/dev/null'], { stdin: 'ignore' });
  assert.match(stdout, /PTY allocation request failed/);
  assert.match(stdout, /Hello alice, you are logged in/);
});

test('threat 18: the SSH server refuses subsystems, terminals and X11; a client with agent forwarding can still run a command', async () => {
  const sftp = await bench.ssh('alice', 'alice', ['sftp'], ['-s']);
  assert.notEqual(sftp.code, 0);
  assert.match(sftp.stderr, /subsystem request failed/);
  const client = await attacker();
  const refused = (options: object) =>
    new Promise<string>((resolve) => client.exec('ps', options, (error) => resolve(String(error))));
  assert.match(await refused({ pty: true }), /Unable to request a pseudo-terminal/);
  assert.match(await refused({ x11: true }), /Unable to request X11/);
  await assert.rejects(
    new Promise((_resolve, reject) => client.sftp((error) => reject(error))),
    /Unable to start subsystem/,
  );
  await assert.rejects(new Promise((_resolve, reject) => client.subsys('netconf', (error) => reject(error))));
  const agent = await bench.ssh('alice', 'alice', ['ps'], ['-A', '-v']);
  assert.equal(agent.code, 0);
  client.end();
});

test('threat 18: the SSH server refuses to forward TCP ports and Unix sockets, in both directions', async () => {
  const through = await bench.ssh('alice', 'alice', [], ['-W', `127.0.0.1:${bench.port}`]);
  assert.match(through.stderr, /administratively prohibited|stdio forwarding failed/);
  const remote = await bench.ssh(
    'alice',
    'alice',
    ['ps'],
    ['-o', 'ExitOnForwardFailure=yes', '-R', '0:127.0.0.1:22'],
  );
  assert.match(remote.stderr, /remote port forwarding failed/);
  const client = await attacker();
  await assert.rejects(
    new Promise((_resolve, reject) =>
      client.forwardOut('127.0.0.1', 1, '127.0.0.1', 22, (error) => reject(error)),
    ),
    /Channel open failure/,
  );
  await assert.rejects(
    new Promise((_resolve, reject) =>
      client.openssh_forwardOutStreamLocal('/run/x.sock', (error) => reject(error)),
    ),
    /Channel open failure/,
  );
  await assert.rejects(
    new Promise((_resolve, reject) =>
      client.openssh_forwardInStreamLocal('/tmp/x.sock', (error) => reject(error)),
    ),
  );
  client.end();
});

test('threat 21: the eleventh session on one SSH connection is refused', async () => {
  const gate = Promise.withResolvers<void>();
  bench.command = async () => {
    await gate.promise;
    return 0;
  };
  const client = await attacker();
  const ten = await Promise.all(Array.from({ length: 10 }, () => exec(client, 'x')));
  await assert.rejects(exec(client, 'x'), /Channel open failure/);
  const ends = ten.map(readAll);
  gate.resolve();
  for (const end of ends) assert.equal((await end).code, 0);
  assert.equal((await readAll(await exec(client, 'x'))).code, 0, 'places were not released');
  client.end();
});

test('threat 145: after a hundred commands of a person over SSH, the next commands of this person begin at most 30 times a second', async () => {
  const client = await attacker();
  const startedAt = performance.now();
  const ask = async () => {
    for (let count = 0; count < 65; count += 1)
      assert.equal((await readAll(await exec(client, 'x'))).code, 0);
  };
  await Promise.all([ask(), ask()]);
  assert.ok(performance.now() - startedAt > 950);
  client.end();
});
