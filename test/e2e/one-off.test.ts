import assert from 'node:assert/strict';
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { execa } from 'execa';
import { TestServer, until } from '../support/server.ts';
import { CLIENT, liveTool, type WorkTree, webTool } from '../support/work-tree.ts';

// stty changes rows and columns one after the other, with a signal each. So the script waits before it prints the size.
const terminalScript = `stty size
trap 'echo caught' INT
trap 'sleep 0.2; stty size; exit 5' WINCH
echo ready
while :; do sleep 0.1; done
`;

let server: TestServer;
let tree: WorkTree;
before(async () => {
  server = await TestServer.start({
    TOOLFORGE_PUSH_ONE_OFF_TIME: '20',
    TOOLFORGE_PUSH_GRACE_TIME: '2',
    // A command whose client was killed counts until it has ended, which can take a moment.
    TOOLFORGE_PUSH_CONCURRENT_ONE_OFFS: '6',
  });
  ({ tree } = await liveTool(server, 'bot', {
    ...webTool('one'),
    'server.py': `print('web is up', flush=True)\n${webTool('one')['server.py']}`,
    'note.txt': 'from the release\n',
    'terminal.sh': terminalScript,
  }));
  assert.equal((await server.command('config', 'set', 'bot', 'KEY=hunter2-hunter2')).exitCode, 0);
});
after(async () => server[Symbol.asyncDispose]());

/** A running program with its output so far. */
class Client {
  stdout = '';
  stderr = '';
  readonly child: ChildProcessWithoutNullStreams;
  readonly exitCode: Promise<number | null>;
  readonly #printed = new EventEmitter();

  constructor(file: string, args: readonly string[]) {
    this.child = spawn(file, args, { env: server.clientEnvironment });
    this.child.stdin.on('error', () => {});
    this.child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
      this.#printed.emit('more');
    });
    this.child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.exitCode = once(this.child, 'close').then(([code]) => code as number | null);
  }

  async shows(pattern: RegExp): Promise<void> {
    const signal = AbortSignal.timeout(20_000);
    while (!pattern.test(this.stdout)) {
      await once(this.#printed, 'more', { signal }).catch(() => {
        throw new Error(`${pattern} was not shown: ${this.stdout} ${this.stderr}`);
      });
    }
  }
}

function address(): string[] {
  const [host = '', port = ''] = server.ssh.split(':');
  return ['-p', port, `${server.user}@${host}`];
}

/** Starts the real ssh. */
function ssh(words: readonly string[], options: readonly string[] = []): Client {
  const own = (server.clientEnvironment['GIT_SSH_COMMAND'] ?? '').split(' ').slice(1);
  return new Client('ssh', [...own, ...options, ...address(), ...words]);
}

/** Runs the real ssh to its end. */
async function ended(words: readonly string[], options: readonly string[] = []) {
  const client = ssh(words, options);
  client.child.stdin.end();
  return { exitCode: await client.exitCode, stdout: client.stdout, stderr: client.stderr };
}

/** The real ssh at a real terminal of 24 rows and 80 columns, with typed input. */
function sshAtTerminal(words: string): Client {
  const line = `stty rows 24 cols 80; exec ${server.clientEnvironment['GIT_SSH_COMMAND']} -t ${address().join(' ')} ${words}`;
  return new Client('script', ['-q', '-e', '-c', line, '/dev/null']);
}

/** Types Ctrl-C into a command that runs terminal.sh, resizes its terminal, and asserts that the command sees both. */
async function useTerminal(words: string): Promise<void> {
  const client = sshAtTerminal(words);
  await client.shows(/ready/);
  client.child.stdin.write('\u0003');
  await client.shows(/caught/);
  // Resizes the terminal as a terminal emulator does: the kernel signals ssh, which tells the server.
  const { stdout } = await execa('pgrep', ['-P', String(client.child.pid)]);
  await execa('stty', ['-F', `/proc/${stdout.trim()}/fd/0`, 'rows', '33', 'cols', '99']);
  assert.equal(await client.exitCode, 5);
  assert.match(client.stdout, /^24 80\r*$/m);
  assert.match(client.stdout, /^33 99\r*$/m);
}

const processes = async (): Promise<string[]> => {
  const list = JSON.parse((await server.command('ps', 'bot', '--json')).stdout) as { process: string }[];
  return list.map(({ process }) => process);
};

describe('run', { concurrency: 2 }, () => {
  test('the command `run` gives the program that it starts the client’s input and the config vars; the client gets standard output, standard error and the exit status', async () => {
    const run = ssh(['run', 'bot', `"sh" -c 'cat note.txt; cat; echo $KEY; echo bad >&2; exit 9'`]);
    run.child.stdin.end('typed\n');
    const exitCode = await run.exitCode;
    const { stdout, stderr } = run;
    assert.equal(stdout, 'from the release\ntyped\nhunter2-hunter2\n');
    assert.equal(stderr, 'bad\n');
    assert.equal(exitCode, 9);
  });

  test('in the command `run`, flags after the name of the tool belong to the program that it starts, and quoted words stay together', async () => {
    const listed = await ended(['run', 'bot', 'ls', '-a', '--', 'note.txt']);
    assert.equal(listed.stdout, 'note.txt\n');
    const words = await ended(['run', 'bot', '--', 'printf', "'%s|'", "'$(id)'", "'; id'", "'*'", '--help']);
    assert.equal(words.stdout, '$(id)|; id|*|--help|');
  });

  test('the command `run` refuses a control character in its words', async () => {
    const { exitCode, stderr } = await ended(['run', 'bot', "'a\u001b[31m'"]);
    assert.equal(exitCode, 2);
    assert.match(stderr, /control character/);
  });

  test('the command `run` passes on 10 MB of input and output unchanged', async () => {
    const sent = Buffer.alloc(10_000_000, 'line of text\n');
    const run = ssh(['run', 'bot', 'cat']);
    run.child.stdin.end(sent);
    assert.equal(await run.exitCode, 0);
    const digest = (bytes: Buffer | string) => createHash('sha256').update(bytes).digest('hex');
    assert.equal(digest(run.stdout), digest(sent));
  });

  test('at a terminal, the program of the command `run` gets the size of the terminal, Ctrl-C and a resize', async () => {
    await useTerminal('run bot bash terminal.sh');
  });

  test('the command `exec` runs a program beside web.1 at a terminal, over HTTP and by the local binary; if the named process does not exist, the error lists the running processes', async () => {
    await useTerminal('exec bot web.1 bash terminal.sh');
    const asked = await fetch(`http://${server.http}/-/command`, {
      method: 'POST',
      body: 'exec bot web.1 sh -c "cat; echo $KEY $PORT; exit 3"\nover http\n',
      headers: {
        authorization: `Basic ${Buffer.from(`${server.user}:${server.password}`).toString('base64')}`,
      },
    });
    assert.match(await asked.text(), /^over http\nhunter2-hunter2 8000\n[\s\S]*exit status 3\n$/m);
    const local = await server.local('exec', 'bot', 'web.1', 'sh', '-c', 'cat note.txt; exit 4');
    assert.deepEqual([local.exitCode, local.stdout], [4, 'from the release']);
    const wrong = await ended(['exec', 'bot', 'web.2', 'ls']);
    assert.equal(wrong.exitCode, 1);
    assert.match(wrong.stderr, /There is no process “web\.2” of bot[\s\S]*These processes run: web\.1/);
  });

  test('in a clone, toolforge-push connects the command `run` to the terminal, and Ctrl-C ends the command `logs -f`', async () => {
    const atTerminal = (words: string) =>
      new Client('script', [
        ...['-q', '-e', '-c'],
        `cd ${tree.folder}; stty rows 24 cols 80; exec ${process.execPath} ${CLIENT} ${words}`,
        '/dev/null',
      ]);
    const run = atTerminal('run bash terminal.sh');
    await run.shows(/ready/);
    run.child.stdin.write('\u0003');
    await run.shows(/caught/);
    assert.match(run.stdout, /^24 80\r*$/m);
    run.child.kill();
    const logs = atTerminal('logs -f');
    await logs.shows(/web is up/);
    logs.child.stdin.write('\u0003');
    assert.equal(await logs.exitCode, 130);
  });

  test('over SSH, the command `ps`, unlike the command `run`, gets no terminal', async () => {
    const { stderr } = await ended(['ps', 'bot'], ['-tt']);
    assert.match(stderr, /PTY allocation request failed/);
  });

  for (const options of [[], ['-tt']]) {
    test(`if the ssh client of the command \`run\` is killed, the program that it has started on the server ends (${options.length > 0 ? 'at a terminal' : 'without a terminal'})`, async () => {
      const marker = `sleep 98${options.length}7`;
      const run = ssh(['run', 'bot', `bash -c 'echo up; ${marker}'`], options);
      await run.shows(/up/);
      run.child.kill('SIGKILL');
      await until(
        async () => (await execa('pgrep', ['-f', marker], { reject: false })).exitCode === 1,
        'gone',
      );
    });
  }

  test('a program of the command `run` that takes longer than one_off_time is ended with a message', async () => {
    const { exitCode, stderr } = await ended(['run', 'bot', 'sleep', '1000']);
    assert.equal(exitCode, 143);
    assert.match(stderr, /^ ! {5}The command took longer than 20 s and was ended/m);
  });

  test('the command `run` works over HTTP and with the local binary', async () => {
    const authorization = `Basic ${Buffer.from(`${server.user}:${server.password}`).toString('base64')}`;
    const asked = await fetch(`http://${server.http}/-/command`, {
      method: 'POST',
      body: 'run bot sh -c "cat; echo bad >&2; exit 3"\nover http\n',
      headers: { authorization },
    });
    const text = await asked.text();
    assert.match(text, /^over http$/m);
    assert.match(text, /^bad$/m);
    assert.match(text, /exit status 3\n$/);
    const local = await server.local('run', 'bot', 'sh', '-c', 'cat note.txt; exit 4');
    assert.deepEqual([local.exitCode, local.stdout], [4, 'from the release']);
    // At a terminal, the input never ends, so the local binary must end as soon as the command ends.
    const line = `${process.execPath} ${join(import.meta.dirname, '../../src/cli/bin.ts')} run bot sh -c 'read -r x; echo "got $x"'`;
    const atTerminal = execa('script', ['-q', '-e', '-c', line, '/dev/null'], {
      env: server.environment,
      extendEnv: false,
      timeout: 20_000,
    });
    atTerminal.stdin?.write('word\n');
    assert.match((await atTerminal).stdout, /got word/);
  });

  test('the command `run` refuses a read token and a tool without a release, but works for a stopped tool', async () => {
    const made = await server.command('token', 'create', 'bot', 'look', '--read');
    const token = /[A-Za-z0-9_-]{30,}/.exec(made.stdout)?.[0] ?? assert.fail(made.stdout);
    const authorization = `Basic ${Buffer.from(`look:${token}`).toString('base64')}`;
    const body = 'run bot env';
    const refused = await fetch(`http://${server.http}/-/command`, {
      method: 'POST',
      body,
      headers: { authorization },
    });
    assert.equal(refused.status, 403);
    await server.addTool('empty');
    const nothing = await ended(['run', 'empty', 'true']);
    assert.equal(nothing.exitCode, 1);
    assert.match(nothing.stderr, /empty has nothing live yet/);
    await liveTool(server, 'idle');
    assert.equal((await server.command('stop', 'idle')).exitCode, 0);
    assert.equal((await ended(['run', 'idle', 'echo', 'still'])).stdout, 'still\n');
  });

  test('the command `ps` lists a program of the command `run`; neither the audit log nor the server’s log has its arguments', async () => {
    const run = ssh(['run', 'bot', 'sh', '-c', "'echo up; read x # s3cret-argument'"]);
    await run.shows(/up/);
    assert.ok((await processes()).some((name) => name.startsWith('run.')));
    run.child.stdin.end();
    await run.exitCode;
    const audit = await readFile(join(server.folder, 'data/audit.log'), 'utf8');
    assert.match(audit, /"run".*"words":\["sh","…"\]/);
    assert.doesNotMatch(audit + JSON.stringify(server.lines), /s3cret-argument/);
  });
});

test('threat 86: a server that is stopped ends a program of the command `run`, and tells the client the reason', async () => {
  const run = ssh(['run', 'bot', 'sh', '-c', "'echo up; sleep 1000'"]);
  await run.shows(/up/);
  await server.kill('SIGTERM');
  await run.exitCode;
  assert.match(run.stderr, /server is being stopped/);
});
