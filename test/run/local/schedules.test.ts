import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { ToolName } from '../../../src/core/names.ts';
import type { Artifact } from '../../../src/core/types.ts';
import { failingRollOut, releaseOf, rollOut, textOf, until } from '../contract-steps.ts';
import { crashingTool, everyMinute, web, webTool } from '../tool-sources.ts';
import { type LocalBench, type LocalBenchOptions, localBench } from './local-bench.ts';

const tool = 'timed' as ToolName;
const slow = `
import signal, sys, time
def leave(*_): print('goodbye'); sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print('ready')
time.sleep(1000)
`;

describe('schedules of the local runtime', { concurrency: 1 }, () => {
  const within = async (
    action: (bench: LocalBench) => Promise<void>,
    options: Partial<LocalBenchOptions> = {},
  ) => {
    const bench = await localBench({ mode: 'trusted', ...options });
    try {
      await action(bench);
    } finally {
      await bench.close();
    }
  };
  const log = ({ runtime }: LocalBench, process: string | null = null) => textOf(runtime, tool, process);
  const says = (bench: LocalBench, text: string, times = 1) =>
    until(async () => (await log(bench)).split(text).length > times, `${times} times: ${text}`);
  const release = (version: number, artifact: Artifact) => releaseOf(tool, version, artifact);

  test('a scheduled process has one run at a time, even across releases: an old release’s run continues until it ends or is stopped', () =>
    within(async (bench) => {
      const { runtime, clock, artifact } = bench;
      const source = await artifact({ 'update.py': slow }, [everyMinute()]);
      await rollOut(runtime, release(1, source));
      await clock.pass(60);
      await says(bench, 'ready');
      await clock.pass(60);
      await says(
        bench,
        'update.1 was not started at 2026-01-01 00:02 UTC: its run of 2026-01-01 00:01 UTC has not ended',
      );
      await rollOut(runtime, release(2, source));
      assert.deepEqual(
        (await runtime.status(tool)).map(({ version, state }) => [version, state]),
        [
          [2, 'scheduled'],
          [1, 'stopping'],
        ],
      );
      await clock.pass(60);
      await says(bench, 'was not started at 2026-01-01 00:03 UTC');
      assert.equal((await log(bench, 'update')).trim(), 'ready');
      await runtime.stop(tool);
      assert.deepEqual(await runtime.status(tool), []);
      assert.equal(await log(bench, 'update'), 'ready\ngoodbye');
      assert.match(await log(bench), /update\.1 exited with code 0 after/);
      await clock.pass(120);
      assert.equal((await log(bench, 'update')).includes('ready\ngoodbye\nready'), false);
    }));

  test('a paused schedule starts no run when it is due, and runs again after the pause', () =>
    within(async (bench) => {
      const { runtime, clock, artifact, paused } = bench;
      const source = await artifact({ 'update.py': 'print("ran")' }, [everyMinute()]);
      await rollOut(runtime, release(1, source));
      paused.add(tool);
      await clock.pass(120);
      assert.equal(await log(bench), '');
      paused.delete(tool);
      await clock.pass(60);
      await says(bench, 'update.1 exited with code 0');
      assert.deepEqual(bench.ended, [['timed/update', 0]]);
    }));

  test('when the scheduled run of an old release has ended, the new release’s runs begin', () =>
    within(async (bench) => {
      const { runtime, clock, artifact } = bench;
      const one = await artifact({ 'update.py': 'import time; print("old", flush=True); time.sleep(1)' }, [
        everyMinute(),
      ]);
      const two = await artifact({ 'update.py': 'print("new")' }, [everyMinute()]);
      await rollOut(runtime, release(1, one));
      await clock.pass(60);
      await says(bench, 'old');
      await rollOut(runtime, release(2, two));
      assert.deepEqual([...runtime.artifactsInUse(tool)].sort(), [one.id, two.id].sort());
      await says(bench, 'update.1 exited with code 0');
      await until(async () => (await runtime.status(tool)).length === 1, 'the old one to go');
      assert.deepEqual([...runtime.artifactsInUse(tool)], [two.id]);
      await clock.pass(60);
      await says(bench, 'update.1 exited with code 0', 2);
      assert.equal(await log(bench, 'update'), 'old\nnew');
    }));

  test('threat 60: runs of earlier releases that have not ended count towards the limit of scheduled runs of a tool, even if each release renames its scheduled processes', () =>
    within(async (bench) => {
      const { runtime, clock, artifact } = bench;
      const named = (...names: readonly string[]) =>
        artifact(
          { 'update.py': slow },
          names.map((type) => ({ ...everyMinute(), type })),
        );
      await rollOut(runtime, release(1, await named('one', 'two')));
      await clock.pass(60);
      await says(bench, 'ready', 2);
      await rollOut(runtime, release(2, await named('three')));
      await clock.pass(60);
      await says(
        bench,
        'three.1 was not started at 2026-01-01 00:02 UTC: 2 scheduled runs of timed have not ended, and no more are allowed',
      );
      assert.equal(await log(bench, 'three'), '');
      await rollOut(runtime, release(3, await named('one')));
      await runtime.stop(tool);
      await rollOut(runtime, release(4, await named('four', 'five')));
      await clock.pass(60);
      await says(bench, 'ready', 4);
    }));

  test('a scheduled run that takes longer than its timeout is ended, and the next run starts', () =>
    within(async (bench) => {
      const { runtime, clock, artifact } = bench;
      const process = everyMinute('update.py', { timeoutSeconds: 1, retry: 3 });
      await rollOut(runtime, release(1, await artifact({ 'update.py': slow }, [process])));
      await clock.pass(60);
      await says(bench, 'update.1 took longer than 1.0 s (timeout in toolforge.yaml) and was ended');
      assert.equal((await runtime.status(tool))[0]?.schedule?.lastRun?.exitCode, null);
      await clock.pass(60);
      await says(bench, 'and was ended', 2);
      assert.equal(await log(bench, 'update'), 'ready\ngoodbye\nready\ngoodbye');
    }));

  test('no scheduled run takes longer than the operator allows', () =>
    within(async (bench) => {
      const { runtime, clock, artifact } = bench;
      const process = everyMinute('update.py', { timeoutSeconds: 600 });
      await rollOut(runtime, release(1, await artifact({ 'update.py': slow }, [process])));
      await clock.pass(60);
      await says(bench, 'update.1 took longer than 8.0 s (schedule_time) and was ended');
    }));

  test('a scheduled run that fails is retried as often as its schedule says', () =>
    within(async (bench) => {
      const { runtime, clock, artifact } = bench;
      const process = everyMinute('update.py', { retry: 2 });
      await rollOut(
        runtime,
        release(1, await artifact({ 'update.py': 'print("try"); raise SystemExit(1)' }, [process])),
      );
      await clock.pass(60);
      await says(bench, 'update.1 exited with code 1', 3);
      assert.equal(await log(bench, 'update'), 'try\ntry\ntry');
      assert.match(await log(bench), /code 1 after \d\.\d s; starting again in 0\.1 s \(1 of 2\)/);
      assert.match(await log(bench), /code 1 after \d\.\d s$/m);
    }));

  test('if the machine slept when a scheduled run was due, the tool’s log says so, and the run is not caught up', () =>
    within(async (bench) => {
      const { runtime, clock, artifact } = bench;
      await rollOut(runtime, release(1, await artifact({ 'update.py': 'print("ran")' }, [everyMinute()])));
      await clock.set('2026-01-01T08:00:30');
      await says(bench, 'update.1 was not started at 2026-01-01 00:01 UTC: the machine slept');
      await clock.pass(60);
      await says(bench, 'exited with code 0');
      assert.equal(await log(bench, 'update'), 'ran');
    }));

  test('a failed rollout does not change the schedule of the live release', () =>
    within(async (bench) => {
      const { runtime, clock, artifact } = bench;
      await rollOut(runtime, release(1, await artifact({ 'update.py': 'print("one")' }, [everyMinute()])));
      const files = { 'update.py': 'print("two")', 'web.py': crashingTool };
      await failingRollOut(runtime, release(2, await artifact(files, [everyMinute(), web()])));
      await clock.pass(60);
      await says(bench, 'exited with code 0');
      assert.equal(await log(bench, 'update'), 'one');
    }));

  test('a schedule begins only when its release is live', () =>
    within(async (bench) => {
      const { runtime, clock, artifact, request } = bench;
      const files = { 'web.py': webTool('here'), 'update.py': 'print("ran")' };
      const source = await artifact(files, [everyMinute(), web()]);
      await rollOut(runtime, release(1, source), { beforeSwitch: () => clock.pass(60) });
      assert.equal((await request(tool, '/')).body, 'here');
      assert.equal(await log(bench, 'update'), '');
      await clock.pass(60);
      await says(bench, 'update.1 exited with code 0');
    }));

  test('a shutdown of the server ends a scheduled run like any other process, and leaves no folder', async () => {
    const bench = await localBench({ mode: 'trusted' });
    const { runtime, clock, artifact } = bench;
    await rollOut(runtime, release(1, await artifact({ 'update.py': slow }, [everyMinute()])));
    await clock.pass(60);
    await says(bench, 'ready');
    await runtime.close();
    assert.equal(await log(bench, 'update'), 'ready\ngoodbye');
    assert.deepEqual(await readdir(join(bench.data, 'run')), []);
    await bench.close();
  });

  test('if the files of a release were deleted, a scheduled run fails, the tool’s log says so, and the schedule continues', () =>
    within(async (bench) => {
      const { runtime, clock, artifact } = bench;
      const source = await artifact({}, [everyMinute()]);
      await rollOut(runtime, release(1, { ...source, reference: join(source.reference, 'gone') }));
      await clock.pass(60);
      const [status] = await until(async () => {
        const found = await runtime.status(tool);
        return found[0]?.schedule?.lastRun?.endedAt ? found : null;
      }, 'the end');
      assert.equal(status?.state, 'scheduled');
      assert.match(await log(bench), /update\.1 (could not be started|exited with code)/);
    }));

  test('if the command of a scheduled process does not exist, the tool’s log shows the exit code 127, and the next run is due as usual', () =>
    within(async (bench) => {
      const { runtime, clock, artifact } = bench;
      const process = { ...everyMinute(), command: ['no-such-program'] };
      await rollOut(runtime, release(1, await artifact({}, [process])));
      await clock.pass(60);
      await says(bench, 'update.1 exited with code 127');
      await clock.pass(60);
      await says(bench, 'update.1 exited with code 127', 2);
    }));
});
