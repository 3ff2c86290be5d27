import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readdir, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { deflateSync } from 'node:zlib';
import { type Fabric, rawPush } from '../../support/attack-push.ts';
import { TestServer } from '../../support/server.ts';
import { type Files, WorkTree, webTool } from '../../support/work-tree.ts';

const zero = '0'.repeat(40);
let server: TestServer;
before(async () => {
  server = await TestServer.start({ TOOLFORGE_PUSH_CONCURRENT_DEPLOYMENTS: '8' });
});
after(async () => server[Symbol.asyncDispose]());

async function toolNamed(name: string): Promise<Fabric> {
  await server.addTool(name);
  return { server, name, tree: await WorkTree.create(server, 'http', name) };
}

async function deploy(name: string, files: Files): Promise<string> {
  const { tree } = await toolNamed(name);
  await tree.commit('one', files);
  const pushed = await tree.push();
  assert.equal(pushed.exitCode, 0, pushed.stderr);
  return pushed.stderr;
}

/** A web tool that runs a shell script once when it starts, and answers each request with the script's output. */
function probe(script: string, build = 'true'): Files {
  const files = webTool('', build);
  const server = files['server.py'] ?? '';
  return {
    ...files,
    'probe.sh': script,
    'server.py': `import subprocess\nout = subprocess.run(['sh', 'probe.sh'], capture_output=True).stdout\n${server.replace('"".encode()', 'out')}`,
  };
}

/** A pack of 16 kB: a blob of 16 MiB of zeros, and a delta that repeats the blob 600 times to 10 GB. */
function deltaBomb(): { readonly pack: Buffer; readonly commit: string } {
  const size = 0xffffff;
  const count = 600;
  const base = Buffer.alloc(size);
  const idOf = (type: string, ...parts: Buffer[]) => {
    const hash = createHash('sha1').update(`${type} ${parts.reduce((sum, part) => sum + part.length, 0)}\0`);
    for (const part of parts) hash.update(part);
    return hash.digest();
  };
  const varint = (value: number): Buffer => {
    const bytes: number[] = [];
    for (let rest = value; ; rest = Math.floor(rest / 128)) {
      if (rest < 128) return Buffer.from([...bytes, rest]);
      bytes.push((rest % 128) | 0x80);
    }
  };
  const entry = (type: number, length: number, body: Buffer): Buffer => {
    const first = (type << 4) | (length & 15);
    const head =
      length < 16 ? Buffer.of(first) : Buffer.concat([Buffer.of(first | 0x80), varint(length >> 4)]);
    return Buffer.concat([head, body]);
  };
  const copies = Buffer.alloc(4 * count, Buffer.of(0xf0, 0xff, 0xff, 0xff));
  const delta = Buffer.concat([varint(size), varint(size * count), copies]);
  // The tree names a blob that does not exist, but git refuses the pack before it looks for the blob.
  const tree = Buffer.concat([Buffer.from('100644 a\0'), Buffer.alloc(20, 1)]);
  const by = 'a <a@b.c> 0 +0000';
  const commit = Buffer.from(
    `tree ${idOf('tree', tree).toString('hex')}\nauthor ${by}\ncommitter ${by}\n\nx\n`,
  );
  const head = Buffer.concat([Buffer.from('PACK'), Buffer.of(0, 0, 0, 2, 0, 0, 0, 4)]);
  const body = Buffer.concat([
    head,
    entry(3, size, deflateSync(base)),
    entry(7, delta.length, Buffer.concat([idOf('blob', base), deflateSync(delta)])),
    entry(2, tree.length, deflateSync(tree)),
    entry(1, commit.length, deflateSync(commit)),
  ]);
  const pack = Buffer.concat([body, createHash('sha1').update(body).digest()]);
  return { pack, commit: idOf('commit', commit).toString('hex') };
}

describe('a hostile maintainer', { concurrency: 3 }, () => {
  test('threat 35: git refuses a pack of 16 kB that would need 10 GB of memory', async () => {
    const tool = await toolNamed('bomb');
    const { pack, commit } = deltaBomb();
    const { text } = await rawPush(tool, {
      commands: [{ oldId: zero, newId: commit, ref: 'refs/heads/main' }],
      pack,
    });
    assert.match(text, /attempting to allocate 1006\d+ over limit/);
    assert.match(text, /ng refs\/heads\/main/);
  });

  test('threat 60: a library in LD_LIBRARY_PATH cannot remove the limits of a tool’s processes', async () => {
    const { name, tree } = await toolNamed('loader');
    assert.equal((await server.command('config', 'set', name, 'LD_LIBRARY_PATH=/workspace/lib')).exitCode, 0);
    // The file libsmartcols.so.1 is not a library here, so prlimit would fail if it loaded the file. A real library
    // could prevent the limits.
    await tree.commit('one', {
      ...probe('grep -c "Max processes  *128 " /proc/self/limits; echo $LD_LIBRARY_PATH'),
      'lib/libsmartcols.so.1': 'x',
    });
    const pushed = await tree.push();
    assert.equal(pushed.exitCode, 0, pushed.stderr);
    assert.equal((await server.get(name)).body, '1\n/workspace/lib\n');
  });

  test('promise 4: symbolic links that a build makes bring no file of the host into the build, the process or the output of the push', async () => {
    const secret = join(server.folder, 'data/secret-of-the-host');
    await writeFile(secret, 'THE-SECRET-OF-THE-HOST\n');
    const links = [
      `ln -s ${secret} link; ln -s ${server.folder} folder; cat link; ls folder/data; cat folder/keys/*`,
      'for d in /layers/*; do mkdir -p $d/own $d/own/env.launch; printf "[types]\\nlaunch = true\\n" >$d/own.toml',
      `ln -s ${secret} $d/own/env.launch/STOLEN; ln -s ${server.folder}/data $d/own/env`,
      `done; ln -s ${secret} /layers/test_script/launch.toml; rm -f service.template; ln -s ${secret} service.template; true`,
    ].join('; ');
    const told = await deploy('links', probe('env; cat link folder/data/* 2>&1; true', links));
    const { body } = await server.get('links');
    for (const text of [told, body]) assert.doesNotMatch(text, /THE-SECRET|directory\.yaml/);
    assert.doesNotMatch(body, /STOLEN=/);
  });

  for (const folder of ['env.launch', 'env.build']) {
    test(`promise 4: a NUL in a variable that a build writes to ${folder} mounts no folder of the host, and the push fails with the reason`, async () => {
      const name = folder.replace('.', '-');
      const { tree } = await toolNamed(name);
      await tree.commit('one', probe('ls /tmp'));
      assert.equal((await tree.push()).exitCode, 0);
      const layer = [
        `d=/layers/test_script; mkdir -p $d/x/${folder}`,
        'printf "[types]\\nlaunch = true\\nbuild = true\\n" >$d/x.toml',
        `printf 'v\\0--bind\\0/\\0/tmp' >$d/x/${folder}/FOO`,
      ].join('; ');
      await tree.commit('two', probe('ls /tmp', layer));
      const { exitCode, stderr } = await tree.push();
      assert.equal(exitCode, 1, stderr);
      assert.match(
        stderr,
        /The variable "FOO" has a NUL character in it, which cannot be passed to a program/,
      );
      assert.doesNotMatch((await server.get(name)).body, /etc|usr/);
    });
  }

  test('promise 4: a process sees no other tool and no secret of the server, and cannot reach the server’s sockets', async () => {
    const loopback = createServer((socket) => socket.end('INSIDE-OF-THE-HOST'))
      .listen(0, '127.0.0.1')
      .unref();
    await once(loopback, 'listening');
    const port = (loopback.address() as { port: number }).port;
    await server.command('config', 'set', 'hello', 'PASSWORD=of-hello');
    const script = [
      'cat /proc/[0-9]*/environ | tr "\\0" "\\n"',
      `ls -la ${server.folder} ${server.folder}/data /var/lib/toolforge-push /root /home`,
      `cat ${server.folder}/data/directory.yaml ${server.folder}/keys/secrets.key /etc/shadow`,
      `for p in ${port} ${server.http.split(':')[1]} ${server.ssh.split(':')[1]}; do for h in 127.0.0.1 ::1 0.0.0.0 localhost $(ip route 2>/dev/null | sed -n "s/default via \\([^ ]*\\).*/\\1/p"); do python3 -c "import socket; s=socket.create_connection((\\"$h\\", $p), 1); s.sendall(b\\"GET / HTTP/1.0\\r\\n\\r\\n\\"); print(\\"REACHED\\", s.recv(99))"; done; done`,
      `python3 -c "import socket; s=socket.socket(socket.AF_UNIX); s.connect(\\"${server.folder}/data/run/server.sock\\"); print(\\"REACHED\\")"`,
      'mount -t tmpfs none /mnt && echo MOUNTED; echo done',
    ].join('\n');
    await deploy('spy', probe(script));
    loopback.close();
    const { body } = await server.get('spy');
    assert.match(body, /done\n$/);
    assert.doesNotMatch(body, /REACHED|MOUNTED|of-hello|TOOLFORGE_PUSH|directory\.yaml|GIT_(?!SSL_CAINFO=)/);
  });

  test('promise 4: the ids of another tool’s deployment and commit give access neither to its log nor to its files', async () => {
    await deploy('theirs', webTool('x', 'echo PRIVATE-LINE'));
    const { stdout } = await server.command('deployments', 'theirs', '--json');
    const [{ id = '' } = {}] = JSON.parse(stdout) as { id?: string }[];
    for (const words of [
      ['logs', 'hello', '--build', id],
      ['logs', 'hello', '-p', `../../deployments/theirs/${id}`],
      ['logs', 'hello', '-p', '../theirs/web.1'],
      ['cancel', 'hello', id],
    ]) {
      const run = await server.command(...words);
      assert.doesNotMatch(run.stdout + run.stderr, /PRIVATE-LINE/);
    }
    const { tree } = await toolNamed('thief');
    const commit = await server.inRepository('theirs', 'rev-parse', 'main');
    assert.notEqual((await tree.git('fetch', 'toolforge', commit)).exitCode, 0);
  });

  test('threat 66: malformed lines of a Procfile run nothing on the server and add no process type', async () => {
    const { name, tree } = await toolNamed('procfile');
    const mark = join(server.folder, 'data/run/OWNED');
    await tree.commit('one', {
      ...webTool('one'),
      Procfile: [
        'web: python3 server.py',
        `$(touch ${mark}): x`,
        `../../x: touch ${mark}`,
        `web"]\ncommand = ["touch": ${mark}`,
        `we\tb: touch ${mark}`,
        '',
      ].join('\n'),
    });
    const pushed = await tree.push();
    assert.equal(pushed.exitCode, 0, pushed.stderr);
    const { stdout } = await server.command('scale', name, '--json');
    assert.deepEqual(
      (JSON.parse(stdout) as { type: string }[]).map(({ type }) => type),
      ['web'],
    );
    assert.ok(!(await readdir(join(server.folder, 'data/run'))).includes('OWNED'));
  });

  test('threat 24: a request that two HTTP parsers would split differently gets 400 and no second answer', async () => {
    await deploy('cut', webTool('one'));
    const [, port = ''] = server.http.split(':');
    const end = 'GET /smuggled HTTP/1.1\r\nHost: hello.localhost\r\n\r\n';
    for (const headers of [
      'Content-Length: 4\r\nTransfer-Encoding: chunked',
      'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity',
      'Transfer-Encoding: xchunked',
      'Content-Length: 4\r\nContent-Length: 5',
      'Content-Length: +4',
      'X: a\r\n b: c',
      'X y: z',
      'X: a\rb',
    ]) {
      const request = `POST / HTTP/1.1\r\nHost: cut.localhost\r\n${headers}\r\n\r\n0\r\n\r\n${end}`;
      const answer = await talk(Number(port), request);
      assert.match(answer, /^HTTP\/1\.1 400 /, headers);
      assert.equal(answer.match(/HTTP\/1\.1/g)?.length, 1, headers);
    }
  });

  test('threat 29: without a login, the server sends no file of a repository, and its answers do not show which tools exist', async () => {
    await deploy('known', webTool('one'));
    const answers = new Set<string>();
    for (const tool of ['known', 'unknown', '..%2fknown', 'known.git/../unknown'])
      for (const path of ['info/refs?service=git-receive-pack', 'info/refs?service=git-upload-pack'])
        answers.add(await anonymous(`/${tool}.git/${path}`));
    assert.deepEqual([...answers].filter((answer) => !answer.startsWith('404')).length, 1);
    for (const path of [
      '/known.git/config',
      '/known.git/HEAD',
      '/known.git/objects/info/packs',
      '/known.git/packed-refs',
      '/known.git/hooks/post-receive',
      '/%2e%2e/data/directory.yaml',
      '//etc/passwd',
      '/known.git/info/refs',
      '/-/../known.git/info/refs',
    ])
      assert.match(await anonymous(path), /^(404|401|400)/, path);
    assert.match(await anonymous('/-/command', 'tools'), /^401/);
  });
});

async function anonymous(path: string, body?: string): Promise<string> {
  const [, port = ''] = server.http.split(':');
  const method = body === undefined ? 'GET' : 'POST';
  const length = `Content-Length: ${body?.length ?? 0}`;
  const answer = await talk(
    Number(port),
    `${method} ${path} HTTP/1.1\r\nHost: ${server.http}\r\n${length}\r\nConnection: close\r\n\r\n${body ?? ''}`,
  );
  const [head = '', text = ''] = answer.split('\r\n\r\n', 2);
  return `${head.split(' ')[1]} ${text}`;
}

/** Sends a request. @returns all bytes that arrive until the connection closes or is silent for a second. */
function talk(port: number, request: string): Promise<string> {
  return new Promise((resolve) => {
    let answer = '';
    const socket = connect(port, '127.0.0.1', () => socket.write(request));
    socket.setTimeout(1000, () => socket.destroy());
    socket.on('data', (chunk: Buffer) => {
      answer += chunk.toString('latin1');
    });
    socket.on('error', () => undefined);
    socket.once('close', () => resolve(answer));
  });
}
