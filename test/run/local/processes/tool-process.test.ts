import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { DiskRoom } from '../../../../src/core/disk/disk-space.ts';
import { createLog } from '../../../../src/core/log/log.ts';
import type { ToolName } from '../../../../src/core/names.ts';
import { DiskWatch } from '../../../../src/run/local/processes/disk-watch.ts';
import { Ports } from '../../../../src/run/local/processes/ports.ts';
import { StartTurns } from '../../../../src/run/local/processes/start-turns.ts';
import { ToolProcess, type ToolProcessParts } from '../../../../src/run/local/processes/tool-process.ts';
import { ToolLog } from '../../../../src/run/logs/tool-log.ts';
import { releaseOf, until } from '../../contract-steps.ts';
import { silentTool, web, webTool } from '../../tool-sources.ts';
import { type LocalBench, localBench } from '../local-bench.ts';

const log = createLog('error');

describe('ToolProcess', { concurrency: 1 }, () => {
  let bench: LocalBench;
  before(async () => {
    bench = await localBench({ mode: 'trusted' });
  });
  after(() => bench.close());

  async function processOf(
    source: string,
    change: Partial<ToolProcessParts>,
    {
      vars = {},
      healthMs = 400,
      count = 1,
    }: {
      readonly vars?: Record<string, string>;
      readonly healthMs?: number;
      readonly count?: number;
    } = {},
  ) {
    const { sandbox, data, artifact } = bench;
    const parts: ToolProcessParts = {
      config: {
        health_time: healthMs,
        settle_time: 400,
        release_time: 400,
        schedule_time: 400,
        scheduled_processes: 2,
        grace_time: 400,
        run_processes: 64,
        run_memory: 256 * 1024 * 1024,
        run_disk: 0,
        build_environment: {},
      },
      sandbox,
      diskWatch: new DiskWatch({
        limits: { bytes: 0, entries: 0 },
        shareOf: (toolNumber) => toolNumber,
        room: new DiskRoom(data),
        log,
      }),
      runTurns: new StartTurns(StartTurns.RUNS),
      rolloutTurns: new StartTurns(StartTurns.ROLLOUTS),
      launchEnvironment: async ({ base }) => ({ ...base }),
      ports: new Ports(),
      log,
      folder: join(data, 'run'),
      pauses: { firstMs: 100, mostMs: 800, forgottenAfterMs: 300 },
      host: 'x.localhost',
      onCrash: () => {},
      ...change,
    };
    const release = releaseOf('x' as ToolName, 1, await artifact({ 'web.py': source }, [web()]), vars);
    const toolLog = new ToolLog({ folder: join(data, 'logs', 'x'), sizeBytes: 100_000, log });
    const others = Array.from(
      { length: count },
      (_, index) =>
        new ToolProcess({ release, toolNumber: 1, process: web(), name: `web.${index + 1}`, toolLog }, parts),
    );
    const process = others.shift() ?? assert.fail();
    const query = { process: null, lines: 100, follow: false, signal: new AbortController().signal };
    return {
      process,
      others,
      lines: async () => (await Array.fromAsync(toolLog.read(query))).flat().map(({ text }) => text),
    };
  }

  test('each time a process fails to start, the pause before its next start doubles, however long the failure took', async () => {
    const { process, lines } = await processOf(silentTool, {});
    process.keepUp();
    const pauses = async () => (await lines()).flatMap((line) => /again in ([\d.]+) s/.exec(line)?.[1] ?? []);
    await until(async () => (await pauses()).length >= 3, 'three attempts');
    await process.kill();
    assert.deepEqual((await pauses()).slice(0, 3), ['0.1', '0.2', '0.4']);
  });

  test('threat 211: the processes of one tool start one after the other, also when all have crashed at the same time, because the server serves nobody else while it starts a program', async () => {
    let [underWay, most, starts] = [0, 0, 0];
    const replicaFile = async () => {
      underWay += 1;
      starts += 1;
      most = Math.max(most, underWay);
      await wait(20);
      underWay -= 1;
      return null;
    };
    const { process, others } = await processOf('raise SystemExit(3)', { replicaFile }, { count: 6 });
    const all = [process, ...others];
    for (const one of all) one.keepUp();
    await until(async () => starts >= 15, 'each process to start again');
    await Promise.all(all.map((one) => one.kill()));
    assert.equal(most, 1);
  });

  test('threat 154: if memory runs out, the kernel ends a process that is not live yet before live processes; a live process that starts again still counts as live', async () => {
    const source = `
import os, threading, time
def tell():
    for _ in range(20): print('score', open('/proc/self/oom_score_adj').read().strip(), flush=True); time.sleep(0.05)
    os._exit(1)
threading.Thread(target=tell).start()
${webTool('scored')}`;
    const { process, lines } = await processOf(source, {}, { healthMs: 5000 });
    const scores = async () => (await lines()).flatMap((line) => /^score (\d+)$/.exec(line)?.[1] ?? []);
    const attempt = await process.start(new AbortController().signal, () => {});
    assert.equal(attempt.kind, 'healthy');
    await until(async () => (await scores()).length > 0, 'the first score');
    const before = new Set(await scores());
    process.keepUp();
    await until(async () => (await scores()).length > 25, 'the second start');
    await process.kill();
    assert.deepEqual([...before], ['900']);
    assert.deepEqual(new Set((await scores()).slice(-5)), new Set(['500']));
  });

  test('a port is given to another process only when the old process has ended', async () => {
    const left: number[] = [];
    // A folder of its own, because a process of another test may still be ending.
    const folder = await mkdtemp(join(bench.data, 'run-'));
    class WatchedPorts extends Ports {
      override giveBack(port: number): void {
        left.push(readdirSync(folder).length);
        super.giveBack(port);
      }
    }
    const { process } = await processOf(
      'import sys\nsys.exit(3)',
      {
        ports: new WatchedPorts(),
        folder,
      },
      { healthMs: 5000 },
    );
    assert.equal((await process.start(new AbortController().signal, () => {})).kind, 'exited');
    assert.deepEqual(left, [0]);
  });

  test('if a line of output is cut within a long config var, no part of the config var is shown', async () => {
    const KEY = Array.from({ length: 2000 }, (_, index) => `key${index}`).join('');
    const source = "import os\nprint('x' * 8000 + os.environ['KEY'] + 'y' * 10_000)";
    const { process } = await processOf(source, {}, { vars: { KEY }, healthMs: 5000 });
    const { lastLines } = await process.start(new AbortController().signal, () => {});
    assert.match((await lastLines()).join(), /^x*… \(cut\)$/);
  });

  test('threat 113: while the last long lines of a process are searched for secrets, the server does other work', async () => {
    const KEY = Array.from({ length: 3000 }, (_, index) => `key${index}`).join('');
    const source = "import os\nfor count in range(20): print((os.environ['KEY'] * 2)[count:16_000 + count])";
    const { process } = await processOf(source, {}, { vars: { KEY }, healthMs: 5000 });
    const { lastLines } = await process.start(new AbortController().signal, () => {});
    // The first call also prepares the search.
    assert.equal((await lastLines()).length, 20);
    let turns = 0;
    const turn = () => {
      turns += 1;
      next = setImmediate(turn);
    };
    let next = setImmediate(turn);
    await lastLines();
    clearImmediate(next);
    assert.ok(turns > 1, `${turns}`);
  });
});
