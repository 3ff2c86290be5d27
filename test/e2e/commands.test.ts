import assert from 'node:assert/strict';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { run, TestServer, until } from '../support/server.ts';
import { type Files, liveTool, webTool } from '../support/work-tree.ts';

let server: TestServer;
before(async () => {
  server = await TestServer.start({ TOOLFORGE_PUSH_CONCURRENT_DEPLOYMENTS: '4' });
});
after(async () => server[Symbol.asyncDispose]());

let serial = 0;
function newTool(files: Files = webTool('one')) {
  serial += 1;
  return liveTool(server, `cmd-${serial}`, files);
}

const main = (name: string) =>
  server.inRepository(name, 'rev-parse', '--verify', '--quiet', 'refs/heads/main');

/** A web tool that answers with the value of GREETING, or `none`. */
function greetingTool(): Files {
  const files = webTool('unused');
  return {
    ...files,
    'server.py': (files['server.py'] ?? '').replace(
      /body = .*/,
      "body = os.environ.get('GREETING', 'none').encode()",
    ),
  };
}

/** Runs a command over HTTP, by default with the name and password of the server's user. */
async function overHttp(
  words: string,
  login = `${server.user}:${server.password}`,
): Promise<{ status: number; text: string }> {
  const authorization = `Basic ${Buffer.from(login).toString('base64')}`;
  const response = await fetch(`http://${server.http}/-/command`, {
    method: 'POST',
    body: words,
    headers: { authorization },
  });
  return { status: response.status, text: await response.text() };
}

describe('commands', { concurrency: 3 }, () => {
  test('the command `rollback` deploys an old release with its config vars, and moves main to its commit', async () => {
    const { name, tree, first } = await newTool(greetingTool());
    assert.equal((await server.command('config', 'set', name, 'GREETING=early')).exitCode, 0);
    assert.equal((await server.get(name)).body, 'early');
    const two = await tree.commit('two', { note: 'two' });
    assert.equal((await tree.push()).exitCode, 0);
    assert.equal((await server.command('config', 'set', name, 'GREETING=late')).exitCode, 0);
    assert.match((await server.command('deployments', name)).stdout, / config +live .* Set GREETING$/m);
    assert.equal(await main(name), two);
    const back = await server.command('rollback', name, 'v2');
    assert.equal(back.exitCode, 0, back.stderr);
    assert.match(
      back.stdout,
      new RegExp(`^ {7}config vars: GREETING changed; to undo this: rollback ${name} v4$`, 'm'),
    );
    assert.equal((await server.get(name)).body, 'early');
    assert.equal(await main(name), first);
    const unknown = await server.command('rollback', name, 'v99');
    assert.equal(unknown.exitCode, 1);
    assert.match(unknown.stderr, /v99/);
  });

  test('a frozen tool stays live and refuses a push with the operator’s reason', async () => {
    const { name, tree, first } = await newTool();
    const [mine, theirs] = [
      await server.command('freeze', name, 'no'),
      await server.local('freeze', name, 'the', 'database moves until 17:00 UTC'),
    ];
    assert.equal(mine.exitCode, 2);
    assert.match(mine.stderr, /There is no command “freeze”/);
    assert.equal(theirs.exitCode, 0, theirs.stderr);
    await tree.commit('two', webTool('two'));
    const refused = await tree.push();
    assert.equal(refused.exitCode, 1);
    assert.match(
      refused.stderr,
      new RegExp(`rejected.*\\(the tool ${name} is frozen: the database moves until 17:00 UTC\\)`),
    );
    assert.match(refused.stderr, /Nothing was deployed; v1 is still live/);
    const config = await server.command('config', 'set', name, 'A=1');
    assert.match(config.stderr, /is frozen: the database moves/);
    assert.match((await server.command('ps', name)).stdout, /is frozen.*the database moves/);
    assert.deepEqual([(await server.get(name)).body, await main(name)], ['one', first]);
    assert.equal((await server.local('unfreeze', name)).exitCode, 0);
    assert.equal((await tree.push()).exitCode, 0);
    assert.equal((await server.get(name)).body, 'two');
  });

  test('if a tool crashes with a new config var, `config set` fails, the config var is not stored, and the live release stays', async () => {
    const files = greetingTool();
    const picky = `import os\nif os.environ.get('GREETING') == 'bad': raise SystemExit('a bad greeting')\n${files['server.py']}`;
    const { name } = await newTool({ ...files, 'server.py': picky });
    const bad = await server.command('config', 'set', name, 'GREETING=bad');
    assert.equal(bad.exitCode, 1);
    assert.match(bad.stdout + bad.stderr, /a bad greeting/);
    assert.equal((await server.get(name)).body, 'none');
    assert.equal(
      (await server.command('config', 'list', name, '--show-values')).stdout.includes('bad'),
      false,
    );
  });

  test('threat 63: values of config vars are hidden in lists, encrypted on disk, and masked in the output of builds', async () => {
    const { name, tree } = await newTool(greetingTool());
    assert.equal((await server.command('config', 'set', name, 'GREETING=s3cret-value-42')).exitCode, 0);
    assert.equal((await server.command('config', 'list', name)).stdout.includes('s3cret'), false);
    assert.equal((await server.command('config', 'get', name, 'GREETING')).stdout.trim(), 's3cret-value-42');
    await tree.commit('print', { 'build.sh': 'echo "the greeting is $GREETING"\n' });
    const pushed = await tree.push();
    assert.equal(pushed.exitCode, 0, pushed.stderr);
    assert.match(pushed.stderr, /the greeting is/);
    assert.equal(pushed.stderr.includes('s3cret-value-42'), false);
    const { stdout } = await run('grep', [
      '-rl',
      's3cret-value-42',
      join(server.folder, 'data'),
      '--include=*.sqlite*',
      '--include=*.log',
    ]);
    assert.equal(stdout, '');
    assert.equal(
      server.lines.some((line) => JSON.stringify(line).includes('s3cret-value-42')),
      false,
    );
  });

  test('the command `redeploy` builds the tool again, `restart` does not, and after both commands the tool is live', async () => {
    const { name } = await newTool();
    const again = await server.command('redeploy', name);
    assert.equal(again.exitCode, 0, again.stderr);
    assert.match(again.stdout, /built[\s\S]*v2 is live/);
    const restarted = await server.command('restart', name);
    assert.equal(restarted.exitCode, 0, restarted.stderr);
    assert.doesNotMatch(restarted.stdout, /built/);
    assert.match(restarted.stdout, /v2 is live/);
    const web = await server.command('restart', name, 'web');
    assert.equal(web.exitCode, 0, web.stderr);
    assert.match(
      web.stdout,
      /Restart of the process type web of v2 by [\w-]+\n[\s\S]*web\.2 started[\s\S]*v2 runs web=1/,
    );
    assert.equal((await server.get(name)).body, 'one');
    const none = await server.command('restart', name, 'worker');
    assert.equal(none.exitCode, 1);
    assert.match(none.stderr, /V2 of [\w-]+ has no process type “worker”\. It has web/i);
  });

  test('after the command `stop`, the address of a tool answers 503 and says that the tool is stopped, until `restart` starts the tool again', async () => {
    const { name, first } = await newTool();
    assert.equal((await server.command('stop', name)).exitCode, 0);
    const stopped = await server.get(name);
    assert.equal(stopped.status, 503);
    assert.match(stopped.body, /stopped/);
    assert.equal(await main(name), first);
    assert.equal((await server.command('restart', name)).exitCode, 0);
    assert.equal((await server.get(name)).body, 'one');
  });

  test('until maintenance ends, visitors of the tool get 503 and the tool’s own page or a plain one, also after a push', async () => {
    const { name, tree } = await newTool();
    const on = await server.command('maintenance', 'on', name);
    assert.match(on.stdout, /get a plain page now/);
    const plain = await server.get(name);
    assert.equal(plain.status, 503);
    assert.match(plain.body, /is in maintenance/);
    await tree.commit('page', { 'public/maintenance.html': '<h1>Back at noon</h1>\n' });
    const pushed = await tree.push();
    assert.match(pushed.stderr, /is in maintenance, so visitors do not see v2 yet/);
    const seen = await server.get(name);
    assert.deepEqual([seen.status, seen.body], [503, '<h1>Back at noon</h1>\n']);
    assert.match((await server.command('ps', name)).stdout, /in maintenance[\s\S]*web\.1 +v2 +up/);
    assert.match(
      (await server.command('tools')).stdout,
      new RegExp(`^${name} +v2 +up \\(in maintenance\\)`, 'm'),
    );
    assert.equal((await server.command('maintenance', 'off', name)).exitCode, 0);
    assert.equal((await server.get(name)).body, 'one');
  });

  test('if a process crashes after its release went live, the commands `ps` and `releases` and the next push show the crash', async () => {
    const files = webTool('one');
    const crashing = `import http.server, os
class Crash(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == '/crash': os._exit(7)
        self.send_response(200); self.end_headers(); self.wfile.write(b'up')
http.server.HTTPServer(('', int(os.environ['PORT'])), Crash).serve_forever()
`;
    const { name, tree } = await newTool({ ...files, 'server.py': crashing });
    const crashes = async () => {
      const [live] = JSON.parse((await server.command('releases', name, '--json')).stdout);
      return (live.crashes[0]?.count ?? 0) as number;
    };
    for (const count of [1, 2, 3]) {
      await until(async () => (await server.get(name)).body === 'up', 'the tool answers');
      await server.get(name, '/crash').catch(() => null);
      await until(async () => (await crashes()) === count, `crash ${count}`);
    }
    const warning = /web\.1 of v1 has crashed 3 times, the last time at [\d: -]+ UTC: exited with code 7/;
    assert.match((await server.command('ps', name)).stdout, warning);
    assert.match((await server.command('releases', name)).stdout, warning);
    await tree.commit('two', webTool('two'));
    const pushed = await tree.push();
    assert.match(pushed.stderr, warning);
    assert.doesNotMatch((await server.command('ps', name)).stdout, warning);
    await tree.commit('broken', { 'server.py': "raise SystemExit('no luck today')\n" });
    assert.notEqual((await tree.push()).exitCode, 0);
    const found = await server.command('logs', name, '--since', '1h', '--grep', "'no luck'");
    assert.match(found.stdout, /web\.1: no luck today$/);
  });

  test('the command `cancel` ends the running deployment: its push is rejected with this reason, and main does not move', async () => {
    const { name, tree, first } = await newTool();
    const slow = await tree.commit('slow', webTool('slow', 'echo busy; sleep 100'));
    const pushing = tree.push();
    await until(
      async () => (await server.command('builds', name, '--json')).stdout.includes(slow),
      'the build runs',
    );
    assert.equal((await server.command('cancel', name)).exitCode, 0);
    const pushed = await pushing;
    assert.notEqual(pushed.exitCode, 0);
    assert.match(pushed.stderr, /! \[remote rejected\] main -> main \(cancelled by .*; v1 is still live\)/);
    assert.equal(await main(name), first);
    assert.equal((await server.command('cancel', name)).exitCode, 1);
  });

  test('the command `logs` shows the output of processes, and with --build the log of a deployment', async () => {
    const files = webTool('one');
    const { name } = await newTool({
      ...files,
      'server.py': `print('printed by web', flush=True)\n${files['server.py']}`,
    });
    await until(
      async () => (await server.command('logs', name)).stdout.includes('printed by web'),
      'the line',
    );
    const [build] = JSON.parse((await server.command('builds', name, '--json')).stdout) as { id: string }[];
    const log = await server.command('logs', name, '--build', build?.id ?? '');
    assert.match(log.stdout, /v1 is live/);
  });

  test('a maintainer adds another user, who can then use the tool and remove others, but not the last maintainer', async () => {
    await server.addTool('shared');
    const { stdout } = await server.local('user', 'add', 'carol');
    const asCarol = (words: string) => overHttp(words, `carol:${/Password: (\S+)/.exec(stdout)?.[1]}`);
    assert.match((await asCarol('ps shared')).text, /There is no tool shared that carol maintains/);
    const added = await server.command('maintainer', 'add', 'shared', 'carol');
    assert.equal(added.stdout, 'carol now maintains shared.', added.stderr);
    assert.equal(
      (await asCarol('maintainer list shared')).text,
      `${[server.user, 'carol'].sort().join('\n')}\n`,
    );
    assert.equal((await asCarol(`maintainer remove shared ${server.user}`)).status, 200);
    assert.match((await server.command('ps', 'shared')).stderr, /There is no tool shared that/);
    assert.match(
      (await asCarol('maintainer remove shared carol')).text,
      /Nobody else maintains shared, so carol cannot be removed/,
    );
  });

  test('commands also work over HTTP with a password, and with the local binary', async () => {
    const { name } = await newTool();
    const releases = await overHttp(`releases ${name}`);
    assert.equal(releases.status, 200);
    assert.match(releases.text, /v1/);
    assert.equal((await overHttp('releases no-such-tool')).status, 404);
    const restarted = await overHttp(`restart ${name}`);
    assert.match(restarted.text, /v1 is live/);
    const local = await server.local('releases', name);
    assert.equal(local.exitCode, 0, local.stderr);
    assert.match(local.stdout, /v1/);
  });

  for (const door of ['ssh', 'http'] as const) {
    test(`in a clone with a remote over ${door}, toolforge-push runs commands on the server of the remote, for the tool of the remote`, async () => {
      const { name, tree } = await newTool();
      await tree.git('remote', 'set-url', 'toolforge', server.remote(door, name));
      const listed = await tree.client(['ps', '--json']);
      assert.deepEqual([listed.exitCode, listed.stderr], [0, '']);
      assert.equal(JSON.parse(listed.stdout)[0].process, 'web.1');
      const value = `it's "two"\n $HOME $(id) \\ -x `;
      const set = await tree.client(['config', 'set', `WORDS=${value}`, '--no-restart']);
      assert.equal(set.exitCode, 0, set.stderr);
      assert.equal((await tree.client(['config', 'get', 'WORDS'])).stdout, value);
      const typed = await tree.client(['config', 'set', 'KEY', '-', '--no-restart'], { input: 'two\nlines' });
      assert.equal(typed.exitCode, 0, typed.stderr);
      await writeFile(join(tree.folder, '.env'), 'A=1\n');
      const imported = await tree.client(['config', 'import', '.env', '--no-restart']);
      assert.equal(imported.exitCode, 0, imported.stderr);
      const vars = JSON.parse(
        (await tree.client(['config', 'list', '--show-values', '--json'])).stdout,
      ) as object[];
      assert.deepEqual(vars.slice(0, 2), [
        { name: 'A', value: '1' },
        { name: 'KEY', value: 'two\nlines' },
      ]);
      const script = 'cat; echo bad >&2; printf "%s|" "$@"; exit 9';
      const ran = await tree.client(['run', 'sh', '-c', script, 'sh', '--help', '*', ''], { input: 'in\n' });
      assert.deepEqual(ran, { exitCode: 9, stdout: 'in\n--help|*||', stderr: 'bad' });
      await writeFile(join(tree.folder, 'server.py'), webTool('without git')['server.py'] ?? '');
      const deployed = await tree.client(['deploy', '-m', "it's new"]);
      assert.equal(deployed.exitCode, 0, deployed.stderr);
      assert.equal((await server.get(name)).body, 'without git');
    });
  }

  test('over HTTP, toolforge-push asks git for the password, and says so if the password is wrong', async () => {
    const { name, tree } = await newTool();
    await tree.git('remote', 'set-url', 'toolforge', `http://${server.user}@${server.http}/${name}.git`);
    const none = await tree.client(['ps'], { env: { GIT_ASKPASS: 'false' } });
    assert.equal(none.exitCode, 1);
    assert.match(none.stderr, /Git has no password for 127\.0\.0\.1:\d+\./);
    const helper = (password: string) =>
      `!f() { echo "$1 $(cat | tr '\\n' ' ')" >> asked; echo password=${password}; }; f`;
    await tree.git('config', 'credential.helper', helper('wrong'));
    const wrong = await tree.client(['ps']);
    assert.equal(wrong.exitCode, 1);
    assert.match(wrong.stderr, /^ ! {5}Log in with your user name and password/);
    await tree.git('config', 'credential.helper', helper(server.password));
    const right = await tree.client(['ps']);
    assert.equal(right.exitCode, 0, right.stderr);
    const asked = (await readFile(join(tree.folder, 'asked'), 'utf8')).trimEnd().split('\n');
    assert.deepEqual(
      asked.map((line) => line.split(' ')[0]),
      ['get', 'erase', 'get', 'store'],
    );
  });

  test('toolforge-push says which server it asked; --local, --remote and the operator’s settings choose another server', async () => {
    const { name, tree } = await newTool();
    const here = { env: { TOOLFORGE_PUSH_DATA: join(server.folder, 'data') } };
    const nowhere = { env: { TOOLFORGE_PUSH_DATA: join(server.folder, 'nowhere') } };
    const asOperator = await tree.client(['tools'], here);
    assert.match(asOperator.stdout, /^TOOL/);
    assert.match((await tree.client(['ps'], here)).stderr, /ps needs the name of a tool/);
    assert.equal((await tree.client(['ps', '--remote', 'toolforge'], here)).exitCode, 0);
    assert.equal((await tree.client(['ps', '--tool', name], here)).exitCode, 0);
    const down = await tree.client(['ps', name], nowhere);
    assert.equal(down.exitCode, 1);
    assert.match(
      down.stderr,
      /No server runs on this data folder\.[\s\S]*the git remote toolforge \(ssh:\/\/.*add --remote toolforge/,
    );
    const missing = await tree.client(['ps', '--remote', 'beta']);
    assert.match(missing.stderr, /This folder has no git remote “beta”\.\n.*It has: toolforge\./);
    const other = await tree.client(['ps', 'nobodys']);
    assert.deepEqual([other.exitCode, other.stdout], [1, '']);
    assert.match(other.stderr, /^ ! {5}There is no tool nobodys that /);
    const doubtful = await tree.client(['restart', 'wrong']);
    assert.equal(doubtful.exitCode, 1);
    assert.match(
      doubtful.stderr,
      /has no process type “wrong”[\s\S]*If “wrong” is the tool, add --tool wrong/,
    );
    const doctor = await tree.client(['doctor', '--remote', 'toolforge']);
    assert.equal(doctor.exitCode, 1);
    assert.match(doctor.stderr, /The command doctor works only on the machine of its server/);
    await tree.git('remote', 'add', 'dead', `ssh://alice@127.0.0.1:1/${name}.git`);
    const dead = await tree.client(['ps', '--remote', 'dead']);
    assert.equal(dead.exitCode, 255);
    assert.match(
      dead.stderr,
      /It was to run this command at ssh:\/\/alice@127\.0\.0\.1:1\/.*the git remote dead/,
    );
    assert.match(
      (await tree.client(['help', 'scale'])).stdout,
      /^ {4}toolforge-push scale wikibot web=2 worker=1$/m,
    );
  });

  test('CVE-2017-1000117: a remote whose host is an option of ssh starts no program', async () => {
    const { name, tree } = await newTool();
    for (const host of ['-oProxyCommand=touch%20hacked', '%2DoProxyCommand=touch%20hacked@host']) {
      await tree.git('config', 'remote.toolforge.url', `ssh://${host}/${name}.git`);
      const { exitCode, stderr } = await tree.client(['ps']);
      assert.equal(exitCode, 1);
      assert.match(stderr, /The git remote toolforge .* is not the address of a tool/);
      await assert.rejects(readFile(join(tree.folder, 'hacked')), { code: 'ENOENT' });
    }
  });

  test('threat 29: over SSH, somebody else’s tool and a missing tool get the same answer', async () => {
    assert.equal((await server.local('user', 'add', 'bob')).exitCode, 0);
    assert.equal((await server.local('tool', 'add', 'bobs', '--maintainer', 'bob')).exitCode, 0);
    const theirs = await server.command('releases', 'bobs');
    const nobodys = await server.command('releases', 'nobodys');
    assert.equal(theirs.exitCode, 1);
    assert.equal(theirs.stderr.replaceAll('bobs', 'X'), nobodys.stderr.replaceAll('nobodys', 'X'));
  });
});

test('after a restart of the server, a live tool starts again, and a stopped tool does not', async () => {
  const { name } = await newTool();
  const stopped = await newTool();
  assert.equal((await server.command('stop', stopped.name)).exitCode, 0);
  const told = server.told.length;
  await server.kill('SIGTERM');
  await server.boot();
  await until(async () => (await server.get(name)).body === 'one', 'up again');
  assert.equal((await server.get(stopped.name)).status, 503);
  const again = server.told.slice(told);
  assert.match(again, /git remote add toolforge ssh:\/\/USER@/);
  assert.doesNotMatch(again, /Welcome|Password/);
});

test('threat 85: a second server on the same data folder refuses to start and names the process id of the first', async () => {
  const second = await run(process.execPath, [join(import.meta.dirname, '../../src/main.ts')], {
    env: { ...server.environment, TOOLFORGE_PUSH_SSH: '127.0.0.1:0', TOOLFORGE_PUSH_HTTP: '127.0.0.1:0' },
  });
  assert.equal(second.exitCode, 1);
  assert.match(second.stderr, new RegExp(`DATA_IN_USE.*${server.pid}`));
});

test('threat 85: a second server refuses to start even if the lock file of the first was deleted', async () => {
  const { name } = await newTool();
  await rm(join(server.folder, 'data/server.lock'));
  const second = await run(process.execPath, [join(import.meta.dirname, '../../src/main.ts')], {
    env: { ...server.environment, TOOLFORGE_PUSH_SSH: '127.0.0.1:0', TOOLFORGE_PUSH_HTTP: '127.0.0.1:0' },
    signal: AbortSignal.timeout(60_000),
  });
  assert.equal(second.exitCode, 1);
  assert.match(second.stderr, /DATA_IN_USE.*server\.lock/);
  assert.equal((await server.get(name)).status, 200);
});

test('the server does not start with an unknown setting, and the error names the setting', async () => {
  const file = join(server.folder, 'settings.yaml');
  await writeFile(file, 'colour: perhaps\n');
  const refused = await run(process.execPath, [join(import.meta.dirname, '../../src/main.ts')], {
    env: { ...server.environment, TOOLFORGE_PUSH_CONFIG: file },
  });
  assert.equal(refused.exitCode, 1);
  assert.match(refused.stderr, /BAD_SETTING.*colour.*TOOLFORGE_PUSH_COLOUR/s);
});
