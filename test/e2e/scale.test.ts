import assert from 'node:assert/strict';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { type Run, TestServer, until } from '../support/server.ts';
import { type Files, liveTool, webTool } from '../support/work-tree.ts';

let server: TestServer;
before(async () => {
  // On a busy machine, a process may need more than the usual 300 ms until it crashes.
  server = await TestServer.start({ TOOLFORGE_PUSH_MAX_REPLICAS: '3', TOOLFORGE_PUSH_SETTLE_TIME: '2000' });
});
after(async () => server[Symbol.asyncDispose]());

let count = 0;
const newTool = (files?: Files) => {
  count += 1;
  return liveTool(server, `scaled-${count}`, files);
};

/** The files of a tool with a web process and a worker. */
const withWorker = (text: string): Files => ({
  ...webTool(text),
  'app.json': '{"formation": {"worker": {"quantity": 1}}}',
  Procfile: 'web: python3 server.py\nworker: python3 -c "import time; time.sleep(1000)"\n',
});

async function asked(name: string): Promise<Record<string, [running: number, asked: number]>> {
  const { stdout } = await server.command('scale', name, '--json');
  const rows = JSON.parse(stdout) as { type: string; running: number; asked: number }[];
  return Object.fromEntries(rows.map(({ type, running, asked }) => [type, [running, asked]]));
}

async function names(name: string): Promise<string[]> {
  const { stdout } = await server.command('ps', name, '--json');
  const all = JSON.parse(stdout) as { process: string; state: string }[];
  return all.filter(({ state }) => state === 'up').map(({ process }) => process);
}

async function overHttp(words: string): Promise<string> {
  const response = await fetch(`http://${server.http}/-/command`, {
    method: 'POST',
    headers: {
      authorization: `Basic ${Buffer.from(`${server.user}:${server.password}`).toString('base64')}`,
    },
    body: words,
  });
  return await response.text();
}

const succeeded = (run: Run) => assert.equal(run.exitCode, 0, run.stderr);

describe('scale', () => {
  test('the command `scale` works over SSH, over HTTP and with the local binary; it is listed as a deployment, but makes no release', async () => {
    const { name } = await newTool(withWorker('one'));
    const up = await server.command('scale', name, 'web=2', 'worker=0');
    succeeded(up);
    assert.match(up.stdout, /^-----> Scaling v1 by \S+: web 1 → 2, worker 1 → 0$/m);
    assert.match(up.stdout, /^ {7}web\.2 started · healthy after \d+\.\d s$/m);
    assert.match(up.stdout, /^=====> v1 runs web=2 worker=0$/m);
    assert.deepEqual(await names(name), ['web.1', 'web.2']);
    assert.deepEqual(await asked(name), { web: [2, 2], worker: [0, 0] });
    assert.match(await overHttp(`scale ${name} worker=2`), /worker 0 → 2[\s\S]*v1 runs web=2 worker=2/);
    const local = await server.local('scale', name);
    assert.match(local.stdout, /^TYPE +RUNNING +ASKED +MEMORY +CPU\nweb +2 +2 .*\nworker +2 +2 /);
    succeeded(await server.local('scale', name, 'worker=1'));
    const { stdout } = await server.command('deployments', name, '--json');
    const deployments = JSON.parse(stdout) as Record<string, unknown>[];
    assert.deepEqual(
      deployments.map(({ kind, state, version, message }) => [kind, state, version, message]),
      [
        ['scale', 'live', 1, 'worker=1'],
        ['scale', 'live', 1, 'worker=2'],
        ['scale', 'live', 1, 'web=2 worker=0'],
        ['push', 'live', 1, 'one'],
      ],
    );
  });

  test('promise 2: no request fails while a tool is scaled up and down', async () => {
    const { name } = await newTool();
    const stop = new AbortController();
    const answers: string[] = [];
    const client = async () => {
      while (!stop.signal.aborted) {
        const { status, body } = await server.get(name);
        answers.push(`${status} ${body}`);
        await wait(10);
      }
    };
    const clients = [client(), client(), client()];
    for (const number of [3, 1, 2, 1]) succeeded(await server.command('scale', name, `web=${number}`));
    stop.abort();
    await Promise.all(clients);
    assert.ok(answers.length > 50);
    assert.deepEqual(
      answers.filter((answer) => answer !== '200 one'),
      [],
    );
  });

  test('later pushes, rollbacks, restarts and the next start of the server keep the numbers of processes that the command `scale` has set', async () => {
    const { name, tree } = await newTool();
    succeeded(await server.command('scale', name, 'web=2'));
    await tree.commit('two', withWorker('two'));
    const pushed = await tree.push();
    succeeded(pushed);
    assert.match(pushed.stderr, /web\.2 started/);
    assert.deepEqual(await asked(name), { web: [2, 2], worker: [1, 1] });
    succeeded(await server.command('scale', name, 'worker=3'));
    succeeded(await server.command('rollback', name));
    assert.deepEqual(await asked(name), { web: [2, 2] });
    succeeded(await server.command('restart', name));
    assert.deepEqual(await names(name), ['web.1', 'web.2']);
    succeeded(await server.command('rollback', name, 'v2'));
    await server.kill();
    await server.boot();
    await until(async () => (await names(name)).length === 5, 'all processes run again');
    assert.deepEqual(await asked(name), { web: [2, 2], worker: [3, 3] });
  });

  test('a tool with zero web processes answers 503 with this reason, and answers with its own page again after the command `scale` with web=1', async () => {
    const { name } = await newTool();
    succeeded(await server.command('scale', name, 'web=0'));
    const page = await server.get(name);
    assert.equal(page.status, 503);
    assert.match(page.body, /has no web process running/);
    // The old process may need some time to end.
    const ps = await until(async () => {
      const { stdout } = await server.command('ps', name);
      return !stdout.includes('web.1') && stdout;
    }, 'the end of web.1');
    assert.match(
      ps,
      /^\S+ is scaled to 0 processes at v1\. Start a process with: ssh \S.* scale \S+ web=1$/m,
    );
    succeeded(await server.command('scale', name, 'web=1'));
    assert.equal((await server.get(name)).body, 'one');
  });

  test('a memory or processor size that the command `scale` sets counts for new processes, also after a restart, until web=1:default resets it', async () => {
    const { name } = await newTool({
      ...withWorker('one'),
      // The limit `ulimit -d` of a process is 768 MiB more than its memory limit.
      Procfile:
        'web: python3 server.py\nworker: if [ "$(ulimit -d)" -lt 1000000 ]; then exit 9; fi; exec sleep 1000\n',
    });
    const small = await server.command('scale', name, 'worker=1:64Mi');
    assert.equal(small.exitCode, 1);
    assert.match(small.stderr, /Rollout failed: worker\.1 exited with code 9; v1 is still live/);
    const size = async () => JSON.parse((await server.command('scale', name, '--json')).stdout) as object[];
    const [web, worker] = await size();
    assert.partialDeepStrictEqual(worker, { type: 'worker', running: 1, memoryBytes: 512 * 2 ** 20 });
    assert.partialDeepStrictEqual(web, { type: 'web', running: 1, cpuCores: null });
    const larger = await server.command('scale', name, 'web=2:100Mi:500m', 'worker=1:300Mi');
    succeeded(larger);
    assert.match(larger.stdout, /Scale web=2:100Mi:0\.5 worker=1:300Mi by/);
    assert.match(larger.stdout, /v1 is live/);
    succeeded(await server.command('restart', name));
    assert.partialDeepStrictEqual(await size(), [
      { type: 'web', running: 2, memoryBytes: 100 * 2 ** 20, cpuCores: 0.5 },
      { type: 'worker', running: 1, memoryBytes: 300 * 2 ** 20 },
    ]);
    succeeded(await server.command('scale', name, 'web=1:default'));
    assert.partialDeepStrictEqual((await size())[0], {
      running: 1,
      memoryBytes: 512 * 2 ** 20,
      cpuCores: null,
    });
    const tooMuch = await server.command('scale', name, 'web=1:900Gi');
    assert.equal(tooMuch.exitCode, 1);
    assert.match(tooMuch.stderr, /Web would get 921600 MiB of memory, but .* at most 512 MiB/);
    const noUnit = await server.command('scale', name, 'web=1:512');
    assert.equal(noUnit.exitCode, 2);
    assert.match(noUnit.stderr, /asks for less than 16 MiB of memory\. Write a unit/);
  });

  test('the command `scale` for a stopped tool starts no process, but the next `restart` starts the number of processes that `scale` has set', async () => {
    const { name } = await newTool();
    succeeded(await server.command('stop', name));
    const kept = await server.command('scale', name, 'web=2');
    succeeded(kept);
    assert.match(kept.stdout, /is stopped at v1; a restart runs web=2/);
    assert.deepEqual(await names(name), []);
    succeeded(await server.command('restart', name));
    assert.deepEqual(await names(name), ['web.1', 'web.2']);
  });

  test('if a process that the command `scale` starts crashes, `scale` fails, the old process continues, and the recorded number does not change', async () => {
    const script = webTool('one')['server.py'] ?? '';
    const { name } = await newTool({
      ...webTool('one'),
      'server.py': `import os, sys\nif os.path.exists('crash'): sys.exit(7)\n${script}`,
    });
    const artifacts = join(server.folder, 'data/artifacts', name);
    for (const id of await readdir(artifacts)) await writeFile(join(artifacts, id, 'workspace/crash'), '');
    const failed = await server.command('scale', name, 'web=2');
    assert.equal(failed.exitCode, 1);
    assert.match(failed.stderr, /Rollout failed: web\.2 exited with code 7; v1 is still live/);
    assert.deepEqual(await asked(name), { web: [1, 1] });
    assert.equal((await server.get(name)).body, 'one');
  });

  test('the command `scale` above max_replicas, or for an unknown process type, is refused with advice, and makes no deployment', async () => {
    const { name } = await newTool(withWorker('one'));
    const many = await server.command('scale', name, 'web=4');
    assert.equal(many.exitCode, 1);
    assert.match(
      many.stderr,
      /4 web processes are too many: at most 3 processes of each type may run \(max_replicas\)/,
    );
    assert.match(
      many.stderr,
      /To run as many as are allowed: ssh \S.* scale \S+ web=3\. Or ask the operator/,
    );
    const unknown = await server.command('scale', name, 'wbe=1');
    assert.equal(unknown.exitCode, 1);
    assert.match(unknown.stderr, /v1 of \S+ has no process type “wbe”\. It has web, worker\./);
    const { stdout } = await server.command('deployments', name, '--json');
    assert.equal(JSON.parse(stdout).length, 1);
  });

  test('if service.template asks for more replicas than max_replicas, the push says so, and max_replicas processes run', async () => {
    const { name, tree } = await newTool();
    await tree.commit('many', { ...webTool('many'), 'service.template': 'type: python3.11\nreplicas: 9\n' });
    const pushed = await tree.push();
    succeeded(pushed);
    assert.match(
      pushed.stderr,
      /! {5}The tool is scaled to 9 web processes, but at most 3 processes of each type may run \(max_replicas\)/,
    );
    assert.deepEqual(await names(name), ['web.1', 'web.2', 'web.3']);
  });

  test('promise 3: the command `scale` waits for a running push, and then scales the release of this push', async () => {
    const { name, tree } = await newTool();
    await tree.commit('slow', { ...withWorker('two'), 'build.sh': 'echo busy; sleep 3\n' });
    const pushing = tree.push();
    await until(
      async () => (await server.command('builds', name, '--json')).stdout.includes('BUILD_RUNNING'),
      'the build',
    );
    const scaled = await server.command('scale', name, 'web=2');
    succeeded(scaled);
    assert.match(scaled.stdout, /Scaling v2 by/);
    succeeded(await pushing);
    assert.deepEqual(await asked(name), { web: [2, 2], worker: [1, 1] });
  });
});
