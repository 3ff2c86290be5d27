import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createConnection, createServer, type Socket } from 'node:net';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { execa } from 'execa';
import ssh2 from 'ssh2';
import { connect, exec, readAll } from '../support/ssh/ssh-attacker.ts';
import { SshWorkbench } from '../support/ssh/ssh-workbench.ts';

const config = {
  ssh: { host: '127.0.0.1', port: 0 },
  ssh_grace_time: 30_000,
  ssh_startups: 100,
  ssh_per_address: 20,
  ssh_per_person: 20,
};

const ends: (() => unknown)[] = [];
after(async () => {
  for (const end of ends.toReversed()) await end();
});

async function open(limits: Partial<typeof config> = {}, more: object = {}): Promise<SshWorkbench> {
  const bench = await SshWorkbench.open({ config: { ...config, ...limits }, ...more });
  ends.push(() => bench.close());
  return bench;
}

/** Opens a connection that stops before its version (`silent`), after its version, or after the key exchange. */
async function hold(bench: SshWorkbench, step: 'silent' | 'introduced' | 'exchanged'): Promise<Socket> {
  const socket = createConnection({ host: '127.0.0.1', port: bench.port });
  socket.on('error', () => {});
  ends.push(() => socket.destroy());
  if (step === 'exchanged') {
    const client = new ssh2.Client();
    client.on('error', () => {});
    // This client never sends a user name.
    client.connect({ sock: socket, username: 'alice', authHandler: () => {} } as ssh2.ConnectConfig);
    await once(client, 'handshake');
    return socket;
  }
  await once(socket, 'data');
  socket.resume();
  if (step === 'introduced') socket.write('SSH-2.0-x\r\n');
  return socket;
}

for (const step of ['silent', 'introduced', 'exchanged'] as const) {
  test(`threat 20: twenty SSH connections that stop before the login (${{ silent: 'nothing sent', introduced: 'version sent', exchanged: 'keys exchanged' }[step]}) do not keep out other people at the same address`, async () => {
    const bench = await open();
    await Promise.all(Array.from({ length: 20 }, () => hold(bench, step)));
    const { code, stderr } = await bench.ssh('alice', 'alice', ['x']);
    assert.equal(code, 0, stderr);
    const second = await bench.ssh('bob', 'bob', ['x']);
    assert.equal(second.code, 0, second.stderr);
  });
}

test('threat 20: SSH connections that are logged in do not count for ssh_per_address', async () => {
  const bench = await open({ ssh_per_address: 3 });
  const privateKey = readFileSync(bench.path('alice'));
  let closed = 0;
  for (let count = 0; count < 5; count += 1) {
    const client = await connect({ port: bench.port, username: 'alice', privateKey });
    client.once('close', () => {
      closed += 1;
    });
    ends.push(() => client.end());
  }
  assert.equal((await bench.ssh('bob', 'bob', ['x'])).code, 0);
  assert.equal(closed, 0, 'a logged-in connection gave way to a newer one');
});

const REASON =
  /Received disconnect from 127\.0\.0\.1 port \d+:12: Too many connections from your address.*Try again in a few seconds/;

/** Starts a real `ssh` whose bytes never reach the server, or that waits for `agent` after the key exchange. */
function stuck(bench: SshWorkbench, step: 'silent' | 'exchanged', agent: string) {
  const script = `const s=require('net').connect(${bench.port},'127.0.0.1');s.pipe(process.stdout);process.stdin.resume()`;
  const proxy = `ProxyCommand='${process.execPath}' -e "${script}"`;
  const more = step === 'silent' ? ['-o', proxy] : ['-o', 'IdentitiesOnly=no'];
  const target = ['-p', String(bench.port), '-l', 'alice', '127.0.0.1', 'x'];
  return execa('ssh', [...bench.sshArguments('alice', more), ...target], {
    env: { SSH_AUTH_SOCK: agent },
    reject: false,
    stdin: 'ignore',
    timeout: 30_000,
  });
}

test('threat 20: if an ssh connection must give way to a newer one before its key exchange, ssh prints the reason', async () => {
  const bench = await open({ ssh_per_address: 1 });
  const slow = stuck(bench, 'silent', '');
  let isOver = false;
  void slow.then(() => {
    isOver = true;
  });
  while (!isOver) await hold(bench, 'silent');
  // With a proxy command, ssh does not know the address.
  assert.match((await slow).stderr.replace('UNKNOWN port 65535', '127.0.0.1 port 1'), REASON);
});

test('threat 20: if an ssh connection must give way to a newer one after its key exchange, ssh prints the reason', async () => {
  const bench = await open({ ssh_per_address: 1 });
  const agent = createServer((socket) => socket.on('error', () => {}));
  agent.listen(bench.path('agent'));
  ends.push(() => agent.close());
  const asked = once(agent, 'connection');
  const slow = stuck(bench, 'exchanged', bench.path('agent'));
  const [waiting] = await asked;
  await bench.ssh('bob', 'bob', ['x']);
  // ssh reads nothing while it waits for its agent.
  waiting.destroy();
  assert.match((await slow).stderr, REASON);
});

test('threat 20: if a person has as many SSH connections as ssh_per_person allows, one more is refused with the reason, until one ends', async () => {
  const bench = await open({ ssh_per_person: 2 });
  const privateKey = readFileSync(bench.path('alice'));
  const held = await Promise.all(
    [1, 2].map(() => connect({ port: bench.port, username: 'alice', privateKey })),
  );
  ends.push(() => held.map((client) => client.end()));
  const third = await bench.ssh('alice', 'alice', ['x']);
  assert.notEqual(third.code, 0);
  assert.match(third.stderr, /alice has as many connections to this server as one person may have/);
  assert.equal(
    (await bench.ssh('bob', 'bob', ['x'])).code,
    0,
    'another person at the same address was refused',
  );
  held[0]?.end();
  const limit = AbortSignal.timeout(20_000);
  while ((await bench.ssh('alice', 'alice', ['x'])).code !== 0)
    assert.ok(!limit.aborted, 'no place was released');
});

test('threat 20: if the server allows two SSH connections that are logged in, one person may have only one of them, and a third connection is refused', async () => {
  const bench = await open({}, { loggedIn: 2 });
  const logIn = async (username: string) => {
    const client = await connect({
      port: bench.port,
      username,
      privateKey: readFileSync(bench.path(username)),
    });
    ends.push(() => client.end());
    return client;
  };
  const alice = await logIn('alice');
  const second = await bench.ssh('alice', 'alice', ['x']);
  assert.match(second.stderr, /alice has as many connections to this server as one person may have/);
  await logIn('bob');
  const third = await bench.ssh('bob', 'bob', ['x']);
  assert.match(
    third.stderr,
    /This server has as many connections as it may have at once\.[\s\S]*Try again in a minute\./,
  );
  alice.end();
  const limit = AbortSignal.timeout(20_000);
  while ((await bench.ssh('alice', 'alice', ['x'])).code !== 0)
    assert.ok(!limit.aborted, 'no place was released');
});

test('threat 20: of 50 simultaneous SSH commands of one person, four are refused, so a command of another person still runs', async () => {
  const bench = await open();
  const over = Promise.withResolvers<void>();
  bench.command = async ({ argv }) => {
    if (argv[0] === 'hold') await over.promise;
    return 0;
  };
  const privateKey = readFileSync(bench.path('alice'));
  const clients = await Promise.all(
    Array.from({ length: 5 }, () => connect({ port: bench.port, username: 'alice', privateKey })),
  );
  ends.push(() => clients.map((client) => client.end()));
  const refused: string[] = [];
  const asked = clients.flatMap((client) =>
    Array.from({ length: 10 }, async () => {
      const { code, stderr } = await readAll(await exec(client, 'hold'));
      if (code !== 0) refused.push(String(stderr));
      return code;
    }),
  );
  const limit = AbortSignal.timeout(20_000);
  while (refused.length < 4) {
    assert.ok(!limit.aborted, `${refused.length} of 50 commands were refused`);
    await delay(10);
  }
  for (const text of refused) assert.match(text, /alice has too many commands under way over SSH\./);
  const stranger = await bench.ssh('bob', 'bob', ['x']);
  assert.equal(stranger.code, 0, stranger.stderr);
  const listed = await bench.git(['ls-remote', bench.url('hello')]);
  assert.equal(listed.code, 0, listed.stderr);
  over.resolve();
  assert.equal((await Promise.all(asked)).filter((code) => code === 0).length, 46);
  assert.equal((await bench.ssh('alice', 'alice', ['x'])).code, 0, 'no place was released');
});

test('threat 20: SSH connections that send nothing replace only others that send nothing, not one that has exchanged keys', async () => {
  const bench = await open({ ssh_per_address: 2 });
  const speaking = await hold(bench, 'exchanged');
  for (let count = 0; count < 20; count += 1) await hold(bench, 'silent');
  assert.equal(speaking.destroyed, false);
  assert.equal((await bench.ssh('alice', 'alice', ['x'])).code, 0);
});
