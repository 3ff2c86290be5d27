import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { execa } from 'execa';
import { tooManyLogins } from '../../src/auth/directory-timeout.ts';
import type { CommandLine } from '../../src/cli/command.ts';
import { decodeFrames, FRAMES_TYPE } from '../../src/cli/control/frames.ts';
import { runCommand } from '../../src/cli/run-command.ts';
import { DeployError } from '../../src/core/errors.ts';
import { sentence } from '../../src/core/text/sentence.ts';
import { basic, openDoor } from '../support/http/http-door.ts';
import { sendRaw } from '../support/http/http-raw.ts';

type Run = (line: CommandLine) => Promise<number>;

async function post(context: Parameters<typeof openDoor>[0], runCommand: Run, body: string | Buffer) {
  const door = await openDoor(context, { runCommand });
  const init = { method: 'POST', body, headers: { authorization: basic() } };
  const answer = await fetch(`${door.url}/-/command`, init);
  return { door, answer, text: await answer.text() };
}

test('over HTTP, a command runs for the user who sent it, and words in quotes stay together', async (context) => {
  const door = await openDoor(context);
  const { stdout } = await execa('curl', [
    ...['--silent', '--data', `config set hello 'KEY=two words'`, `${door.loggedIn}/-/command`],
  ]);
  assert.equal(stdout, 'alice ["config","set","hello","KEY=two words"]');
});

test('over HTTP, the lines after the first line are the command’s standard input', async (context) => {
  const run: Run = async (line) => {
    const chunks = await Array.fromAsync(line.input);
    await line.out(`${line.argv.join('|')} <${Buffer.concat(chunks)}>`);
    return 0;
  };
  const secret = `${'x'.repeat(100_000)}\nwith a second line\n`;
  const { text } = await post(context, run, `config set hello KEY -\n${secret}`);
  assert.equal(text, `config|set|hello|KEY|- <${secret}>`);
});

test('over HTTP, an empty command line runs `help`', async (context) => {
  const run: Run = async ({ argv, out }) => {
    await out(argv.join());
    return 0;
  };
  const { text } = await post(context, run, '\n');
  assert.equal(text, 'help');
});

for (const { name, error, status } of [
  { name: 'NO_ACCESS', error: new DeployError('NO_ACCESS', 'there is no tool x', 'Look.'), status: 404 },
  { name: 'NOTHING_LIVE', error: new DeployError('NOTHING_LIVE', 'nothing is live', 'Push.'), status: 409 },
  { name: 'TOOL_DISABLED', error: new DeployError('TOOL_DISABLED', 'disabled', 'Ask.'), status: 403 },
  {
    name: 'DIRECTORY_UNAVAILABLE',
    error: new DeployError('DIRECTORY_UNAVAILABLE', 'down', 'Wait.'),
    status: 503,
  },
  { name: 'DIRECTORY_BUSY', error: tooManyLogins(), status: 503 },
  { name: 'another code', error: new DeployError('BAD_USAGE', 'no', 'Read help.'), status: 400 },
]) {
  test(`over HTTP, if a command fails with ${name} before any output, the answer is ${status} with the message and the hint`, async (context) => {
    const fail = async () => {
      throw error;
    };
    const { answer, text } = await post(context, fail, 'ps x');
    assert.equal(answer.status, status);
    assert.equal(text, `${sentence(error.message)}\n${error.hint}\n`);
  });
}

test('over HTTP, a command is answered 200, a wrong command line 400, and a command for a tool that the user does not maintain 404', async (context) => {
  const door = await openDoor(context, { runCommand });
  for (const { body, status, words } of [
    { body: 'help', status: 200, words: /rollback/ },
    { body: 'relesaes hello', status: 400, words: /Did you mean releases/ },
    { body: 'ps', status: 400, words: /needs the name of a tool/ },
    { body: 'ps other', status: 404, words: /There is no tool other that alice maintains/ },
    { body: 'ps nowhere', status: 404, words: /There is no tool nowhere that alice maintains/ },
  ]) {
    const init = { method: 'POST', body, headers: { authorization: basic() } };
    const answer = await fetch(`${door.url}/-/command`, init);
    assert.equal(answer.status, status, body);
    assert.match(await answer.text(), words);
  }
});

test('over HTTP, a command that prints only errors and exits with 2 is answered 400', async (context) => {
  const run: Run = async ({ err }) => {
    await err(' !     No such command.\n');
    return 2;
  };
  const { answer, text } = await post(context, run, 'nonsense');
  assert.equal(answer.status, 400);
  assert.equal(text, ' !     No such command.\n');
  assert.equal(answer.headers.get('toolforge-exit-status'), '2');
});

test('over HTTP, if a command fails after output, the text ends with the message, the hint and the exit status', async (context) => {
  const run: Run = async ({ out }) => {
    await out('building\n');
    throw new DeployError('BUILD_FAILED', 'build failed: pip exited 1', 'Mend it.');
  };
  const { answer, text } = await post(context, run, 'redeploy hello');
  assert.equal(answer.status, 200);
  assert.equal(text, 'building\n !     Build failed: pip exited 1.\n !     Mend it.\n !     exit status 1\n');
});

test('over HTTP, the exit status of a command is in a trailer', async (context) => {
  const run: Run = async ({ out }) => {
    await out('a\n');
    return 3;
  };
  const door = await openDoor(context, { runCommand: run });
  const request = `POST /-/command HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: ${basic()}\r\nContent-Length: 2\r\n\r\nps`;
  const { text } = await sendRaw(door.port, [request]);
  assert.match(text, /Trailer: Toolforge-Exit-Status\r\n/);
  assert.match(text, / ! {5}exit status 3\n\r\n0\r\nToolforge-Exit-Status: 3\r\n\r\n$/);
});

test('over HTTP, a bug in a command is answered 500 with a number that is also in the server’s log, without details', async (context) => {
  const fail = async () => {
    throw new Error('password of the database');
  };
  const { door, answer, text } = await post(context, fail, 'ps hello');
  assert.equal(answer.status, 500);
  assert.doesNotMatch(text, /database/);
  const id = /number ([0-9a-f]{12})/.exec(text)?.[1];
  assert.ok(door.log.some((line) => line.includes(`"id":"${id}"`) && line.includes('database')));
});

test('over HTTP, output is sent as a command prints it, and the command ends if the client disconnects', {
  timeout: 10_000,
}, async (context) => {
  let ended = (_: unknown) => {};
  const end = new Promise((resolve) => {
    ended = resolve;
  });
  const run: Run = async ({ out, signal }) => {
    await out('first line\n');
    await once(signal, 'abort');
    await out('nobody reads this\n');
    ended(null);
    return 0;
  };
  const door = await openDoor(context, { runCommand: run });
  const init = { method: 'POST', body: 'logs -f hello', headers: { authorization: basic() } };
  const answer = await fetch(`${door.url}/-/command`, init);
  assert.equal(answer.headers.get('x-accel-buffering'), 'no');
  const reader = answer.body?.getReader();
  const { value } = (await reader?.read()) ?? {};
  assert.equal(new TextDecoder().decode(value), 'first line\n');
  await reader?.cancel();
  await end;
});

test('over HTTP, a client that does not read slows its command down', {
  timeout: 20_000,
}, async (context) => {
  let written = 0;
  let stopped = (_: unknown) => {};
  const stop = new Promise((resolve) => {
    stopped = resolve;
  });
  const run: Run = async ({ out, signal }) => {
    while (!signal.aborted) {
      await out('x'.repeat(65_536));
      written += 65_536;
    }
    stopped(null);
    return 0;
  };
  const door = await openDoor(context, { runCommand: run });
  const socket = connect(door.port, '127.0.0.1');
  socket.pause();
  socket.write(
    `POST /-/command HTTP/1.1\r\nHost: x\r\nAuthorization: ${basic()}\r\nContent-Length: 2\r\n\r\nps`,
  );
  let before = -1;
  while (written === 0 || before !== written) {
    before = written;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  assert.ok(written < 64 * 1024 * 1024, `${written} bytes`);
  socket.destroy();
  await stop;
});

test('over HTTP, the local binary gets standard output, standard error and the exit status in separate frames, and a word may contain a line break', async (context) => {
  const words = ['config', 'set', 'hello', 'A=two\nlines'];
  const run: Run = async ({ argv, input, out, err }) => {
    assert.deepEqual(argv, words);
    await out(Buffer.concat(await Array.fromAsync(input)));
    await err('text of the server\n');
    await err(Buffer.from('bytes of a process\n'));
    throw new DeployError('BUILD_FAILED', 'build failed: pip exited 1', 'Mend it.');
  };
  const door = await openDoor(context, { runCommand: run });
  const headers = { authorization: basic(), accept: FRAMES_TYPE };
  const post = (body: string) => fetch(`${door.url}/-/command`, { method: 'POST', body, headers });
  const answer = await post(`${JSON.stringify({ argv: words })}\nthe input`);
  assert.deepEqual([answer.status, answer.headers.get('content-type')], [200, FRAMES_TYPE]);
  const chunks = (async function* () {
    yield Buffer.from(await answer.arrayBuffer());
  })();
  const frames = (await Array.fromAsync(decodeFrames(chunks))).map(({ kind, payload }) => [
    kind,
    kind === 'exit' ? payload[0] : payload.toString(),
  ]);
  assert.deepEqual(frames, [
    ['out', 'the input'],
    ['err', 'text of the server\n'],
    ['err', 'bytes of a process\n'],
    ['err', ' !     Build failed: pip exited 1.\n !     Mend it.\n'],
    ['exit', 1],
  ]);
  assert.equal((await post('ps hello')).status, 400);
});

for (const { name, body } of [
  { name: 'a NUL', body: 'ps hello\0' },
  { name: 'an escape sequence', body: 'ps \u001b[31mhello' },
  { name: 'bytes that are not UTF-8', body: Buffer.from([0x70, 0x73, 0x20, 0xff]) },
  { name: 'a line of 200,000 bytes', body: 'x'.repeat(200_000) },
]) {
  test(`over HTTP, a command line with ${name} is refused`, async (context) => {
    const { answer } = await post(context, () => assert.fail('it ran'), body);
    assert.equal(answer.status, 400);
  });
}

test('over HTTP, a command needs a login, the method POST and a body that is not compressed', async (context) => {
  const door = await openDoor(context, { runCommand: () => assert.fail('it ran') });
  assert.equal((await fetch(`${door.url}/-/command`, { method: 'POST', body: 'tools' })).status, 401);
  const get = await fetch(`${door.url}/-/command`, { headers: { authorization: basic() } });
  assert.equal(get.status, 405);
  assert.equal(get.headers.get('allow'), 'POST');
  const gzip = { authorization: basic(), 'content-encoding': 'gzip' };
  assert.equal(
    (await fetch(`${door.url}/-/command`, { method: 'POST', body: 'x', headers: gzip })).status,
    415,
  );
});

for (const { status, text } of [
  { status: 0, text: 'alice ["ps","hello"]' },
  { status: 3, text: 'alice ["ps","hello"]\n !     exit status 3\n' },
]) {
  test(`an HTTP/1.0 client, such as nginx by default, gets the output of a command with exit status ${status}`, async (context) => {
    const run: Run = async ({ principal, argv, out }) => {
      await out(`${principal.uid} ${JSON.stringify(argv)}${status === 0 ? '' : '\n'}`);
      return status;
    };
    const door = await openDoor(context, { runCommand: run });
    const { stdout } = await execa(
      'curl',
      ['--http1.0', '--silent', '--include', '--data', 'ps hello', `${door.loggedIn}/-/command`],
      { stripFinalNewline: false },
    );
    const [head = '', body] = stdout.split('\r\n\r\n');
    assert.match(head, /^HTTP\/1\.1 200 /);
    assert.doesNotMatch(head, /trailer|chunked/i);
    assert.equal(body, text);
  });
}

for (const version of ['0.9', '2.0', '1.0']) {
  test(`a command sent as HTTP/${version} is answered 200 with its output`, async (context) => {
    const run: Run = async ({ out }) => {
      await out('said');
      return 0;
    };
    const door = await openDoor(context, { runCommand: run });
    const head = `POST /-/command HTTP/${version}\r\nHost: x\r\nAuthorization: ${basic()}`;
    const request = `${head}\r\nContent-Length: 2\r\n\r\nps`;
    const { text } = await sendRaw(Number(new URL(door.url).port), [request]);
    assert.match(text, /^HTTP\/1\.1 200 [\s\S]*\r\n\r\nsaid$/);
  });
}
