import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { execa } from 'execa';
import type { Client, ClientChannel } from 'ssh2';
import { DirectoryFile } from '../../../src/auth/file/directory-yaml.ts';
import { TestServer, until } from '../../support/server.ts';
import { connect, exec, readAll } from '../../support/ssh/ssh-attacker.ts';
import { liveTool, webTool } from '../../support/work-tree.ts';

let server: TestServer;
before(async () => {
  server = await TestServer.start({ TOOLFORGE_PUSH_ONE_OFF_TIME: '120', TOOLFORGE_PUSH_GRACE_TIME: '1' });
  for (const tool of ['bot', 'held', 'many', 'other']) await liveTool(server, tool, webTool('one'));
});
after(async () => server[Symbol.asyncDispose]());

function attacker(): Promise<Client> {
  const port = Number(server.ssh.split(':')[1]);
  const privateKey = readFileSync(join(server.folder, 'home/.ssh/id_ed25519'));
  return connect({ port, username: server.user, privateKey });
}

interface Inner {
  readonly _protocol: {
    exec(channel: number, ...rest: unknown[]): void;
    pty(channel: number, ...rest: unknown[]): void;
  };
}

/** Sends the terminal request and the command at once, like OpenSSH. */
function execAtTerminal(client: Client, command: string): Promise<ClientChannel> {
  const protocol = (client as unknown as Inner)._protocol;
  const send = protocol.exec.bind(protocol);
  protocol.exec = (channel, ...rest) => {
    protocol.pty(channel, 24, 80, 0, 0, 'xterm', null, false);
    send(channel, ...rest);
  };
  return exec(client, command);
}

/** Waits until the command has printed `text`. */
async function shows(channel: ClientChannel, text: string): Promise<void> {
  let seen = '';
  channel.on('data', (chunk: Buffer) => {
    seen += chunk;
  });
  await until(async () => seen.includes(text), `“${text}” in ${seen}`);
}

const runs = async (line: string): Promise<boolean> =>
  (await execa('pgrep', ['-f', line], { reject: false })).exitCode === 0;

describe('a hostile command', { concurrency: 2 }, () => {
  for (const isTerminal of [false, true]) {
    const way = isTerminal ? 'at a terminal' : 'without a terminal';
    const start = isTerminal ? execAtTerminal : exec;
    const seconds = isTerminal ? 91_237 : 91_236;
    // Two background processes, each in a session of its own. The first is forked twice and ignores SIGHUP.
    const daemons = `(setsid nohup sleep ${seconds} &); setsid sleep ${seconds} & disown`;

    test(`when a program of the command \`run\` ends, its background processes end too (${way})`, async () => {
      const client = await attacker();
      const { code } = await readAll(await start(client, `run bot bash -c "${daemons}; exit 3"`));
      assert.equal(code, 3);
      await until(async () => !(await runs(`sleep ${seconds}`)), 'nothing is left');
      client.destroy();
    });

    test(`if the client of the command \`run\` disconnects, the program on the server ends, even if it ignores signals (${way})`, async () => {
      const client = await attacker();
      const deaf = `trap '' TERM HUP INT; ${daemons}; echo up; sleep ${seconds}1`;
      await shows(await start(client, `run bot bash -c "${deaf}"`), 'up');
      client.destroy();
      await until(async () => !(await runs(`sleep ${seconds}`)), 'nothing is left');
    });
  }

  test('clients of the command `run` that disconnect at any of 16 moments leave no process and no folder, and the next `run` works', async () => {
    const folders = async () => (await readdir(join(server.folder, 'data/run'))).length;
    const before = await folders();
    for (let step = 0; step < 16; step += 1) {
      const client = await attacker();
      const start = step % 2 === 0 ? exec : execAtTerminal;
      start(client, 'run many sleep 81236').catch(() => {});
      await wait(step * 20);
      client.destroy();
    }
    await until(async () => !(await runs('sleep 81236')) && (await folders()) <= before, 'nothing is left');
    // A command counts for the limit of the tool until the server has seen that the command's sandbox has ended.
    await until(
      async () => (await server.command('run', 'many', 'true')).exitCode === 0,
      'the next run works',
    );
  });

  test('clients of the command `exec` that disconnect at any of 16 moments leave no process and no file, and the next `exec` works', async () => {
    // Each process has a pipe `requests`, also while it starts again. Every other file belongs to one `exec` command.
    const files = async () =>
      (await execa('find', [join(server.folder, 'data/run'), '-path', '*/exec/*', '!', '-name', 'requests']))
        .stdout;
    for (let step = 0; step < 16; step += 1) {
      const client = await attacker();
      const start = step % 2 === 0 ? exec : execAtTerminal;
      start(client, 'exec many web.1 sleep 81237').catch(() => {});
      await wait(step * 20);
      client.destroy();
    }
    await until(async () => !(await runs('sleep 81237')) && (await files()) === '', 'nothing is left');
    // A command counts for the limit of the tool until the server has seen that the command's sandbox has ended.
    await until(
      async () => (await server.command('exec', 'many', 'web.1', 'true')).exitCode === 0,
      'the next exec works',
    );
  });

  test('of eight `run` commands on one SSH connection, as many run as concurrent_one_offs allows, and the others are refused', async () => {
    const client = await attacker();
    const channels = await Promise.all(
      Array.from({ length: 8 }, () => exec(client, 'run other sleep 71236')),
    );
    const refused = await Promise.all(
      channels.map((channel) => Promise.race([readAll(channel), wait(3000, null)])),
    );
    const texts = refused.filter((one) => one !== null).map(({ stderr }) => stderr.toString());
    assert.equal(texts.length, 6);
    for (const text of texts) assert.match(text, /2 commands of the tool other run already/);
    client.destroy();
    await until(async () => !(await runs('sleep 71236')), 'nothing is left');
  });

  test('a program of the command `run` sees no processes of others, no settings of the server, and not the server’s folder', async () => {
    const client = await attacker();
    const channel = await exec(client, 'run bot bash -c "echo up; read -r secret; echo done"');
    await shows(channel, 'up');
    const look = `ls /proc | grep -c '^[0-9]'; cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep -c TOOLFORGE_PUSH; ls ${server.folder} 2>&1`;
    const { stdout } = await server.command('run', 'bot', 'bash', '-c', `'${look.replaceAll("'", '"')}'`);
    const [processes, secrets, folder] = stdout.split('\n');
    assert.ok(Number(processes) > 1 && Number(processes) < 12, stdout);
    assert.equal(secrets, '0');
    assert.match(folder ?? '', /No such file/);
    channel.end('x\n');
    client.destroy();
  });
});

test('threat 8: a program of the command `run` at a terminal ends within 60 s after its tool is removed from directory.yaml', async () => {
  const client = await attacker();
  const channel = await execAtTerminal(client, 'run held bash -c "echo up; sleep 51236"');
  const ended = readAll(channel);
  await shows(channel, 'up');
  await new DirectoryFile(join(server.folder, 'data/directory.yaml')).removeTool('held');
  const end = await Promise.race([ended, wait(60_000, null, { ref: false })]);
  assert.ok(end !== null, 'the shell did not end');
  assert.equal(end.code, 1);
  assert.match(end.stderr.toString(), /There is no tool held that/);
  await until(async () => !(await runs('sleep 51236')), 'nothing is left');
  client.destroy();
});

test('the next start of the server ends programs that the command `run` had started before the server was killed', async () => {
  const client = await attacker();
  const deaf = `trap '' TERM HUP; echo up; (setsid sleep 61236 &); sleep 61236`;
  await shows(await execAtTerminal(client, `run bot bash -c "${deaf}"`), 'up');
  await server.kill();
  await server.boot();
  await until(async () => !(await runs('sleep 61236')), 'nothing is left');
  assert.equal((await server.command('run', 'bot', 'true')).exitCode, 0);
});
