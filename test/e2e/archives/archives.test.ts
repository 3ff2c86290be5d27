import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { execa } from 'execa';
import { type Run, run, TestServer, until } from '../../support/server.ts';
import { type Files, liveTool, WorkTree, webTool } from '../../support/work-tree.ts';

let server: TestServer;
before(async () => {
  server = await TestServer.start({ TOOLFORGE_PUSH_CONCURRENT_DEPLOYMENTS: '4' });
});
after(async () => server[Symbol.asyncDispose]());

const bin = resolve(import.meta.dirname, '../../../src/cli/bin.ts');

async function folderWith(files: Files): Promise<string> {
  const folder = await mkdtemp(join(server.folder, 'files-'));
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
  }
  return folder;
}

async function tarOf(folder: string): Promise<Buffer> {
  const { stdout } = await execa('tar', ['cz', '.'], { cwd: folder, encoding: 'buffer' });
  return Buffer.from(stdout);
}

function sshWords(): string[] {
  const [host = '', port = ''] = server.ssh.split(':');
  const options = (server.clientEnvironment['GIT_SSH_COMMAND'] ?? '').split(' ').slice(1);
  return [...options, '-p', port, `${server.user}@${host}`];
}

/** Runs `ssh USER@HOST words` with an input. */
async function ssh(words: string, input: Uint8Array): Promise<Run & { readonly bytes: Buffer }> {
  const { exitCode, stdout, stderr } = await execa('ssh', [...sshWords(), words], {
    env: server.clientEnvironment,
    extendEnv: false,
    input,
    reject: false,
    encoding: 'buffer',
  });
  const bytes = Buffer.from(stdout);
  return {
    exitCode: exitCode ?? 255,
    bytes,
    stdout: bytes.toString(),
    stderr: Buffer.from(stderr).toString(),
  };
}

const main = (name: string) =>
  server.inRepository(name, 'rev-parse', '--verify', '--quiet', 'refs/heads/main');
const deployments = async (name: string) =>
  JSON.parse((await server.command('deployments', name, '--json')).stdout) as Record<string, unknown>[];
/** The folders in a repository that hold archives while the server receives them. */
const leftovers = async (name: string) =>
  (await readdir(join(server.folder, 'data/repositories', `${name}.git`))).filter((entry) =>
    entry.startsWith('checkout-'),
  );

describe('archives', { concurrency: 3 }, () => {
  test('a tar that is piped to the command `deploy` over SSH makes a new tool live, a second tar adds a commit, and git can pull and push after that', async () => {
    const name = 'hacked';
    await server.addTool(name);
    const folder = await folderWith(webTool('one'));
    const first = await ssh(`deploy ${name}`, await tarOf(folder));
    assert.equal(first.exitCode, 0, first.stdout + first.stderr);
    assert.match(first.stdout, /^-----> Received 4 files/m);
    assert.match(first.stdout, /^=====> v1 is live/m);
    assert.equal((await server.get(name)).body, 'one');

    for (const [path, text] of Object.entries(webTool('two'))) await writeFile(join(folder, path), text);
    await rm(join(folder, 'LICENSE'));
    await mkdir(join(folder, '.git'));
    await writeFile(join(folder, '.git/HEAD'), 'ref: refs/heads/other\n');
    const second = await ssh(`deploy ${name} -m "Say two"`, await tarOf(folder));
    assert.equal(second.exitCode, 0, second.stdout + second.stderr);
    assert.equal((await server.get(name)).body, 'two');
    assert.equal((await deployments(name))[0]?.['message'], 'Say two');

    const tree = await WorkTree.create(server, 'ssh', name);
    assert.equal((await tree.git('pull', '--quiet', 'toolforge', 'main')).exitCode, 0);
    const log = await tree.git('log', '--format=%an <%ae> %s', '--name-status');
    const [host] = server.ssh.split(':');
    assert.deepEqual(
      log.stdout.split('\n').filter((line) => /</.test(line)),
      [
        `${server.user} <${server.user}@${host}> Say two`,
        `${server.user} <${server.user}@${host}> Deploy files of ${server.user}`,
      ],
    );
    assert.match(log.stdout, /^D\tLICENSE$/m);
    assert.equal(await readFile(join(tree.folder, 'server.py'), 'utf8'), webTool('two')['server.py']);
    const third = await tree.commit('three', webTool('three'));
    const pushed = await tree.push();
    assert.equal(pushed.exitCode, 0, pushed.stderr);
    assert.equal(await main(name), third);

    const again = await ssh(`deploy ${name}`, await tarOf(tree.folder));
    assert.equal(again.exitCode, 0, again.stdout + again.stderr);
    assert.match(again.stdout, /^Nothing has changed: v3 of hacked is live/);
    assert.equal((await deployments(name)).length, 3);
    assert.equal(await main(name), third);
    assert.deepEqual(await leftovers(name), []);
    const audit = (await readFile(join(server.folder, 'data/audit.log'), 'utf8')).split('\n');
    const noted = audit.filter((line) => line.includes(`"${name}"`)).map((line) => JSON.parse(line).what);
    assert.equal(noted.filter((what) => what === 'push').length, 3);
    assert.equal(noted.filter((what) => what === 'deploy').length, 3);
  });

  test('a failing, cut off or refused archive of the command `deploy`, or a dry run, changes neither main nor the live release', async () => {
    const { name, first, tree } = await liveTool(server, 'kept');
    const broken = await ssh(`deploy ${name}`, await tarOf(await folderWith(webTool('two', 'exit 7'))));
    assert.equal(broken.exitCode, 1);
    assert.match(broken.stdout, /^ ! .*build failed/im);
    assert.match(broken.stderr, /Build failed.*; v1 is still live/);
    const cut = await ssh(`deploy ${name}`, (await tarOf(await folderWith(webTool('two')))).subarray(0, 300));
    assert.equal(cut.exitCode, 1);
    assert.match(cut.stderr, /not a whole tar/);
    const killed = execa('ssh', [...sshWords(), `deploy ${name}`], {
      env: server.clientEnvironment,
      extendEnv: false,
      reject: false,
    });
    killed.stdin.write(
      (await execa('tar', ['c', '.'], { cwd: tree.folder, encoding: 'buffer' })).stdout.subarray(0, 2000),
    );
    await until(async () => (await leftovers(name)).length === 1, 'the beginning of an archive');
    killed.kill('SIGKILL');
    await until(async () => (await leftovers(name)).length === 0, 'an archive that is dropped');
    const outside = await folderWith(webTool('two'));
    await symlink('../outside', join(outside, 'link'));
    const leaving = await ssh(`deploy ${name}`, await tarOf(outside));
    assert.equal(leaving.exitCode, 1);
    assert.match(leaving.stderr, /a link that leaves the folder \(\.\.\/outside\): link/);
    await rm(join(outside, 'link'));
    await symlink('server.py', join(outside, '.gitmodules'));
    const odd = await ssh(`deploy ${name}`, await tarOf(outside));
    assert.equal(odd.exitCode, 1);
    assert.match(odd.stdout, /\.gitmodules is a symbolic link/);
    assert.match(odd.stderr, /Git refused these files/);
    const tried = await ssh(`deploy ${name} --dry-run`, await tarOf(await folderWith(webTool('two'))));
    assert.equal(tried.exitCode, 0, tried.stdout + tried.stderr);
    assert.match(tried.stdout, /Dry run: this push would pass/);
    assert.equal((await server.local('freeze', name, 'moving')).exitCode, 0);
    const frozen = await ssh(`deploy ${name}`, await tarOf(await folderWith(webTool('two'))));
    assert.equal(frozen.exitCode, 1);
    assert.match(frozen.stderr, /moving/);
    assert.equal(await main(name), first);
    assert.equal((await server.get(name)).body, 'one');
    assert.deepEqual(await leftovers(name), []);
  });

  test('an archive of the command `deploy` is refused if a push went live while the archive waited, and the client is told how to go on', async () => {
    const { name, tree } = await liveTool(server, 'raced');
    const slow = await tree.commit('slow', webTool('slow', 'sleep 3'));
    const pushing = tree.push();
    await until(async () => (await deployments(name))[0]?.['state'] === 'building', 'a running build');
    const refused = await ssh(`deploy ${name}`, await tarOf(await folderWith(webTool('mine'))));
    assert.equal((await pushing).exitCode, 0);
    assert.equal(refused.exitCode, 1);
    assert.match(refused.stderr, /v2 \([0-9a-f]{7}\) went live while you waited/);
    assert.match(refused.stdout, /Get the files that are live now.*download raced/);
    assert.equal(await main(name), slow);
    assert.equal((await server.get(name)).body, 'slow');
  });

  test('over HTTP, a deploy token can deploy an archive, and a read token can only download the files', async () => {
    const { name } = await liveTool(server, 'by-http');
    const tokens = await Promise.all(
      [[], ['--read']].map(async (flags, index) => {
        const made = await server.command('token', 'create', name, `ci-${index}`, ...flags);
        return /^tfp_\S+/.exec(made.stdout)?.[0] ?? assert.fail(made.stderr);
      }),
    );
    const [deploy = '', read = ''] = tokens;
    const post = (token: string, ...body: Uint8Array[]) =>
      fetch(`http://${server.http}/-/command`, {
        method: 'POST',
        headers: { authorization: `Basic ${Buffer.from(`x:${token}`).toString('base64')}` },
        body: Buffer.concat(body),
      });
    const tar = await tarOf(await folderWith(webTool('two')));
    const refused = await post(read, Buffer.from(`deploy ${name}\n`), tar);
    assert.equal(refused.status, 403, await refused.text());
    const deployed = await post(deploy, Buffer.from(`deploy ${name}\n`), tar);
    assert.match(await deployed.text(), /=====> v2 is live/);
    assert.equal((await server.get(name)).body, 'two');
    const downloaded = Buffer.from(await (await post(read, Buffer.from(`download ${name}`))).arrayBuffer());
    const { stdout } = await execa('tar', ['t'], { input: downloaded });
    assert.deepEqual(stdout.split('\n').sort(), ['LICENSE', 'Procfile', 'build.sh', 'server.py']);
  });

  test('`npx toolforge-push deploy` sends what git does not ignore, and `download` gives the same files back', async () => {
    const { name, tree } = await liveTool(server, 'local-files');
    await mkdir(join(tree.folder, 'node_modules/x'), { recursive: true });
    await mkdir(join(tree.folder, 'static'));
    const odd = { 'node_modules/x/y.js': 'no', 'static/ü "x".txt': 'odd', empty: '', '.env': 'SECRET=1' };
    for (const [path, text] of Object.entries(odd)) await writeFile(join(tree.folder, path), text);
    await writeFile(join(tree.folder, '.gitignore'), 'node_modules\n.env\n');
    await writeFile(join(tree.folder, 'server.py'), webTool('local')['server.py'] ?? '');
    await rm(join(tree.folder, 'LICENSE'));
    await chmod(join(tree.folder, 'build.sh'), 0o755);
    await symlink('static', join(tree.folder, 'public'));
    const local = (cwd: string, ...words: string[]) =>
      run(process.execPath, [bin, ...words], { cwd, env: server.environment });
    // Without the operator's settings, the client takes the server and the tool from the git remote of the clone.
    const deployed = await run(process.execPath, [bin, 'deploy', '-m', 'From here'], {
      cwd: tree.folder,
      env: server.clientEnvironment,
    });
    assert.equal(deployed.exitCode, 0, deployed.stdout + deployed.stderr);
    assert.equal((await server.get(name)).body, 'local');

    const unpacked = await mkdtemp(join(server.folder, 'down-'));
    const { bytes } = await ssh(`download ${name}`, Buffer.alloc(0));
    await execa('tar', ['x', '-C', unpacked], { input: bytes });
    const except = ['.git', 'node_modules', '.env'].map((path) => `--exclude=${path}`);
    const compared = await run('diff', ['-r', '--no-dereference', ...except, tree.folder, unpacked]);
    assert.equal(compared.stdout, '');
    assert.deepEqual((await readdir(unpacked)).sort(), [
      ...['.gitignore', 'Procfile', 'build.sh', 'empty', 'public', 'server.py', 'static'],
    ]);

    const plain = await folderWith({
      ...webTool('plain'),
      'venv/bin/python': 'no',
      'a/__pycache__/b.pyc': 'no',
    });
    const sent = await local(server.folder, 'deploy', name, plain);
    assert.equal(sent.exitCode, 0, sent.stdout + sent.stderr);
    assert.match(sent.stdout, /Received 4 files/);
    const older = await local(server.folder, 'download', name, '--version', 'v2');
    assert.match(older.stdout, /static/);
    const nowhere = await local(server.folder, 'deploy', name, './missing');
    assert.equal(nowhere.exitCode, 1);
    assert.match(nowhere.stderr, /There is no folder .*missing/);
    const own = await local(resolve(bin, '../../..'), 'deploy', name);
    assert.match(own.stderr, /is that of toolforge-push itself/);
  });

  test('the command `download` does not print a tar to a terminal, and shows how to write it to a file', async () => {
    const shown = await run(
      'script',
      ['-qec', `'${process.execPath}' '${bin}' download hello`, '/dev/null'],
      {
        env: server.environment,
      },
    );
    assert.match(shown.stdout, /A tar is not shown on a terminal/);
    assert.match(shown.stdout, /download hello > file\.tar/);
    assert.equal(shown.exitCode, 1);
  });
});
