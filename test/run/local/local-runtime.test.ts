import assert from 'node:assert/strict';
import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import type { ToolName } from '../../../src/core/names.ts';
import { runtimeContract } from '../../contracts/runtime.ts';
import { SmallDisk } from '../../support/small-disk.ts';
import { logOf, releaseOf, rollOut, textOf, until } from '../contract-steps.ts';
import { stubbornWorker, web, webTool, worker } from '../tool-sources.ts';
import { type LocalBench, type LocalBenchOptions, localBench } from './local-bench.ts';

for (const mode of ['trusted', 'isolated'] as const) {
  runtimeContract(`local, ${mode}`, () => localBench({ mode }));

  describe(`LocalRuntime, ${mode}`, { concurrency: 1 }, () => {
    const within = async (
      options: Omit<LocalBenchOptions, 'mode'>,
      action: (bench: LocalBench) => Promise<void>,
    ) => {
      const bench = await localBench({ mode, ...options });
      try {
        await action(bench);
      } finally {
        await bench.close();
      }
    };

    test('a process that ignores SIGTERM is killed after the grace time, and the tool’s log says so', () =>
      within({ graceMs: 300 }, async ({ runtime, artifact }) => {
        const tool = 'stubborn' as ToolName;
        await rollOut(
          runtime,
          releaseOf(tool, 1, await artifact({ 'worker.py': stubbornWorker }, [worker()])),
        );
        await until(async () => (await textOf(runtime, tool)).includes('ready'), 'the handler');
        await runtime.stop(tool);
        assert.deepEqual(await runtime.status(tool), []);
        // The last line may be written a moment after the end of the process.
        const log = await until(async () => {
          const text = await textOf(runtime, tool);
          return text.includes('worker.1 did not end within the grace time and was killed') && text;
        }, 'the line about the kill');
        assert.match(log, /^no$/m);
      }));

    test('if a process exits between its start and the switch to its release, the tool’s log and the status show the exit', () =>
      within({}, async ({ runtime, artifact }) => {
        const tool = 'brief' as ToolName;
        const script = 'import sys, time\ntime.sleep(1.2); sys.exit(3)';
        const release = releaseOf(tool, 1, await artifact({ 'worker.py': script }, [worker()]));
        await rollOut(runtime, release, { beforeSwitch: () => wait(1000) });
        const [first] = await until(async () => {
          const lines = await logOf(runtime, tool, 'push');
          return lines.length > 0 && lines;
        }, 'a line');
        assert.equal(first?.text, 'worker.1 exited with code 3; starting again in 0.1 s');
        const [status] = await runtime.status(tool);
        assert.ok((status?.restarts ?? 0) > 0 || status?.state === 'crashed');
        await runtime.stop(tool);
      }));

    test('each process has its own folders, which are empty at each start and deleted at its end', () =>
      within({}, async ({ runtime, artifact, data }) => {
        const tool = 'folders' as ToolName;
        const script =
          'import os, time\nfor d in (os.environ["HOME"], os.environ["TMPDIR"]):\n    print("has", os.listdir(d)); open(d + "/mine", "w").write("x")\nprint(os.getcwd() != "/", "done"); time.sleep(1000)';
        const release = await artifact({ 'worker.py': script }, [worker()]);
        for (const version of [1, 2]) await rollOut(runtime, releaseOf(tool, version, release));
        const log = await until(async () => {
          const text = await textOf(runtime, tool, 'worker');
          return text.split('done').length === 3 && text;
        }, 'both to write');
        assert.equal(log.match(/^has \[\]$/gm)?.length, 4);
        await runtime.stop(tool);
        assert.deepEqual(await readdir(join(data, 'run')), []);
      }));

    test('the folder for files of running processes can be a file system of its own, and processes then have the disk space of this file system', {
      skip: SmallDisk.whyNot,
    }, async () => {
      using disk = new SmallDisk({ mebibytes: 64, entries: 5000 });
      await writeFile(join(disk.folder, 'left'), 'by a process of an earlier server');
      await within({ runDisk: disk.folder }, async ({ runtime, artifact, data }) => {
        const tool = 'apart' as ToolName;
        const script = `import os, shutil, time
${mode === 'isolated' ? "open('new', 'w').write('x')" : ''}
print('has', os.listdir(os.environ['TMPDIR']), shutil.disk_usage(os.environ['TMPDIR']).total < 1 << 27)
time.sleep(1000)`;
        await rollOut(runtime, releaseOf(tool, 1, await artifact({ 'worker.py': script }, [worker()])));
        await until(async () => (await textOf(runtime, tool)).includes('has [] True'), 'the folder');
        await runtime.stop(tool);
        assert.deepEqual([await readdir(join(data, 'run')), await readdir(disk.folder)], [[], []]);
      });
    });

    test('threat 60: a tool that forks endlessly or takes too much memory does not harm another tool', () =>
      within({}, async ({ runtime, artifact, request }) => {
        const good = 'good' as ToolName;
        await rollOut(runtime, releaseOf(good, 1, await artifact({ 'web.py': webTool('good') }, [web()])));
        // Without isolation and without a control group nothing limits processes, so the bomb is small.
        const bomb = `import os, time\nfor i in range(${mode === 'isolated' ? 1000 : 20}):\n    try:\n        if os.fork() == 0: time.sleep(1000)\n    except OSError: break\nprint('forked', i)\ntry: bytearray(3 * 10**9)\nexcept MemoryError: print('no memory')\ntime.sleep(1000)`;
        const bad = 'bad' as ToolName;
        await rollOut(runtime, releaseOf(bad, 1, await artifact({ 'worker.py': bomb }, [worker()])));
        const log = await until(async () => {
          const text = await textOf(runtime, bad);
          return text.includes('no memory') && text;
        }, 'the limits');
        assert.ok(Number(/forked (\d+)/.exec(log)?.[1]) < 64, log);
        assert.equal((await request(good, '/')).body, 'good');
        await runtime.stop(bad);
        assert.deepEqual(await runtime.status(bad), []);
      }));

    test('if the artifact of a release was deleted, the status says how to build the release again', () =>
      within({}, async ({ runtime, artifact }) => {
        const tool = 'lost' as ToolName;
        const release = releaseOf(tool, 1, {
          ...(await artifact({}, [web()])),
          reference: '/nowhere/at/all',
        });
        await runtime.resume(release, 1, {});
        const [status] = await until(async () => {
          const all = await runtime.status(tool);
          return all[0]?.state === 'crashed' && all;
        }, 'the crash');
        assert.match(status?.detail ?? '', /^has lost its files: .*redeploy lost/);
      }));

    test('a release that was built in another sandbox mode is not started, and the status, the tool’s page and the tool’s log say why', () =>
      within({}, async ({ runtime, request, artifact }) => {
        const tool = 'moved' as ToolName;
        const built = await artifact({ 'web.py': webTool('moved') }, [web()]);
        const mark = join(built.reference, 'trusted');
        if (mode === 'trusted') await rm(mark);
        else await writeFile(mark, '');
        await runtime.resume(releaseOf(tool, 1, built), 1, {});
        const [status] = await runtime.status(tool);
        assert.equal(status?.state, 'crashed');
        const how = mode === 'trusted' ? 'with isolation' : 'without isolation';
        assert.match(
          status.detail ?? '',
          new RegExp(`^was built ${how}, .+ again \\(ssh -p 2222 127\\.0\\.0\\.1 redeploy moved\\)$`),
        );
        const page = await request(tool, '/');
        assert.equal(page.status, 502);
        assert.match(page.body, new RegExp(`web\\.1 was built ${how}.+redeploy moved`));
        assert.match(await textOf(runtime, tool), new RegExp(`^web\\.1 was built ${how}`));
        await runtime.stop(tool);
        assert.deepEqual(await runtime.status(tool), []);
      }));

    test('if a tool answers / with an error status, the push mentions the status', () =>
      within({}, async ({ runtime, artifact }) => {
        const tool = 'ill' as ToolName;
        const source = webTool('ill').replace("'ill', 200", "'ill', 500");
        const seen = await rollOut(
          runtime,
          releaseOf(tool, 1, await artifact({ 'web.py': source }, [web()])),
        );
        assert.match(seen, /^ {7}web\.1 started · healthy after \d+\.\d s \(GET \/ answers 500\)$/m);
      }));

    test('the status of a process shows the line of the Procfile that started the process', () =>
      within({}, async ({ runtime, artifact }) => {
        const tool = 'lines' as ToolName;
        const line = 'python3 -u web.py  # "quoted"';
        const process = { type: 'web', command: ['bash', '-c', line], isDefault: true };
        await rollOut(runtime, releaseOf(tool, 1, await artifact({ 'web.py': webTool('x') }, [process])));
        assert.equal((await runtime.status(tool))[0]?.command, line);
      }));

    test('closing the local runtime ends all processes and waits for their end', async () => {
      const bench = await localBench({ mode });
      const tool = 'closing' as ToolName;
      await rollOut(
        bench.runtime,
        releaseOf(tool, 1, await bench.artifact({ 'web.py': webTool('x') }, [web()])),
      );
      await bench.runtime.close();
      assert.deepEqual(await bench.runtime.status(tool), []);
      assert.deepEqual(await readdir(join(bench.data, 'run')), []);
      await bench.close();
    });
  });
}

test('promise 4: a tool sees neither another tool’s files nor the data folder', async () => {
  const bench = await localBench({ mode: 'isolated' });
  const [mine, theirs] = ['mine' as ToolName, 'theirs' as ToolName];
  const other = await bench.artifact({ 'web.py': webTool('theirs'), 'secret.txt': 'x' }, [web()]);
  await rollOut(bench.runtime, releaseOf(theirs, 1, other));
  await rollOut(
    bench.runtime,
    releaseOf(mine, 1, await bench.artifact({ 'web.py': webTool('mine') }, [web()])),
  );
  const exists = async (path: string) => (await bench.request(mine, `/exists${path}`)).body;
  assert.equal(await exists('/workspace/web.py'), 'True');
  assert.equal(await exists('/workspace/secret.txt'), 'False');
  assert.equal(await exists(`${other.reference}/workspace/secret.txt`), 'False');
  assert.equal(await exists(bench.data), 'False');
  assert.ok((await logOf(bench.runtime, mine)).every(({ text }) => !text.includes('theirs')));
  await bench.close();
});
