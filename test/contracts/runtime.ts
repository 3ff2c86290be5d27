import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { ToolName } from '../../src/core/names.ts';
import type { Artifact, Process } from '../../src/core/types.ts';
import type { LogLine, Runtime } from '../../src/run/runtime.ts';
import {
  failingRollOut,
  logOf,
  releaseOf,
  releasePhase,
  rollOut,
  textOf,
  until,
  withLongSettleTime,
} from '../run/contract-steps.ts';
import {
  acceptingTool,
  crashingTool,
  dyingWorkersTool,
  everyMinute,
  hungTool,
  politeWorker,
  rawAnswerTool,
  silentTool,
  web,
  webTool,
  worker,
  wrongPortTool,
} from '../run/tool-sources.ts';
import { maintenanceContract } from './runtime-maintenance.ts';
import { scaleContract } from './runtime-scale.ts';

export interface Answer {
  readonly status: number;
  readonly body: string;
}

/** A runtime, with functions that make artifacts and send web requests. */
export interface RuntimeBench {
  /** Has a release_time of 3 s, a settle_time of less than 2 s, and short pauses between restarts. */
  readonly runtime: Runtime;
  /** Makes an artifact with these files in its source folder. */
  artifact(
    files: Readonly<Record<string, string>>,
    processes: readonly Process[],
    healthCheckPath?: string,
  ): Promise<Artifact>;
  /** Sends a web request to the tool, like a browser. Rejects if the connection fails. */
  request(tool: ToolName, path: string): Promise<Answer>;
  /** Sets the clock of schedules forward by a minute if possible; otherwise waits a minute. */
  passMinute(): Promise<void>;
  close(): Promise<void>;
  /** The tools whose schedules are paused. */
  readonly paused: Set<string>;
  /** The scheduled runs that have ended: `TOOL/TYPE` and the exit code. */
  readonly ended: [string, number | null][];
  /** How long the rollout of a small tool may take, in seconds. */
  readonly rollOutSeconds: number;
  /** The runtime's settings, of which a test may change `settle_time` for a while. */
  readonly config: { settle_time: number; readonly health_time: number };
}

/**
 * The promises of every Runtime.
 *
 * @param concurrency - How many tests run at once. Each uses its own tool.
 */
export function runtimeContract(name: string, makeBench: () => Promise<RuntimeBench>, concurrency = 1): void {
  describe(`Runtime: ${name}`, { concurrency }, () => {
    let bench: RuntimeBench;
    let runtime: Runtime;
    before(async () => {
      bench = await makeBench();
      runtime = bench.runtime;
    });
    after(() => bench.close());

    const webArtifact = (word: string) => bench.artifact({ 'web.py': webTool(word) }, [web()]);
    const ask = async (tool: ToolName, path = '/') => (await bench.request(tool, path)).body;

    test('a release answers as soon as its rollout returns', async () => {
      const tool = 'first' as ToolName;
      const seen = await rollOut(runtime, releaseOf(tool, 1, await webArtifact('one')));
      assert.deepEqual(await bench.request(tool, '/'), { status: 200, body: 'one' });
      assert.match(seen, /^ {7}web\.1 started · healthy after \d+\.\d s$/m);
      const [status] = await runtime.status(tool);
      assert.equal(status?.name, 'web.1');
      assert.equal(status?.state, 'up');
      assert.equal(status?.version, 1);
      assert.equal(status?.detail, null);
    });

    test('requests go to a new release only after it was recorded as live, and stay with the old release if this fails', async () => {
      const tool = 'switch' as ToolName;
      await rollOut(runtime, releaseOf(tool, 1, await webArtifact('old')));
      const next = await webArtifact('new');
      const during: string[] = [];
      const beforeSwitch = async () => {
        during.push(await ask(tool));
        throw new Error('the store is full');
      };
      await assert.rejects(rollOut(runtime, releaseOf(tool, 2, next), { beforeSwitch }), /the store is full/);
      assert.deepEqual(during, ['old']);
      assert.equal(await ask(tool), 'old');
      assert.deepEqual(
        (await runtime.status(tool)).map(({ version }) => version),
        [1],
      );
      await rollOut(runtime, releaseOf(tool, 2, next));
      assert.equal(await ask(tool), 'new');
    });

    test('if a process crashes at its start, the rollout fails with its exit code and last lines, the tool’s log keeps them, and the old release still serves', async () => {
      const tool = 'crash' as ToolName;
      await rollOut(runtime, releaseOf(tool, 1, await webArtifact('old')));
      const broken = await bench.artifact({ 'web.py': crashingTool }, [web()]);
      const { error, seen } = await failingRollOut(runtime, releaseOf(tool, 2, broken));
      assert.equal(error.code, 'ROLLOUT_CRASHED');
      assert.equal(error.message, 'web.1 exited with code 1');
      assert.match(seen, /web\.1 \| reading the settings\n.*web\.1 \| no database here/);
      assert.equal(await ask(tool), 'old');
      assert.deepEqual(
        (await runtime.status(tool)).map(({ version }) => version),
        [1],
      );
      const kept = async () => {
        const match = { since: null, until: null, text: 'no database' };
        const { signal } = new AbortController();
        const query = { process: 'web.1', lines: 10, follow: false, match, signal };
        return (await Array.fromAsync(runtime.logs(tool, query)))
          .flat()
          .map(({ version, text }) => `v${version} ${text}`);
      };
      await until(async () => (await kept()).length > 0, 'the log has the output of the failed release');
      // A cluster may have started the process again before the rollout was undone.
      assert.deepEqual([...new Set(await kept())], ['v2 no database here']);
    });

    test('promise 2: a process that opens its port before the tool is loaded is not yet healthy', async () => {
      const tool = 'forks' as ToolName;
      await rollOut(runtime, releaseOf(tool, 1, await webArtifact('old')));
      const broken = await bench.artifact({ 'web.py': acceptingTool }, [web()]);
      const { error, seen } = await failingRollOut(runtime, releaseOf(tool, 2, broken));
      assert.equal(error.message, 'web.1 exited with code 3');
      assert.match(seen, /the tool could not be loaded/);
      assert.equal(await ask(tool), 'old');
    });

    for (const { name, tool, source, message, printed } of [
      {
        name: 'accepts connections and never answers',
        tool: 'hangs' as ToolName,
        source: hungTool,
        message: /^web\.1 accepted connections on port \d+ but never answered GET \/;/,
        printed: /web\.1 \| waiting for the database/,
      },
      {
        name: 'loses one worker after the other',
        tool: 'dying' as ToolName,
        source: dyingWorkersTool,
        message: /^web\.1 does not answer GET \/: its workers are killed, as happens when they need too much/,
        printed: /web\.1 \| \[ERROR\] Worker \(pid:\d+\) was sent SIGKILL/,
      },
      {
        name: 'does not speak HTTP',
        tool: 'no-http' as ToolName,
        source: rawAnswerTool('\x00\x00\x12\x04\x00\x00\x00\x00\x00hello\nhello'),
        message: /^web\.1 listens on port \d+ but does not answer in HTTP\/1\.1;/,
        printed: /web\.1 \| listening/,
      },
    ]) {
      test(`promise 2: a web process that ${name} does not replace a working release`, async () => {
        await rollOut(runtime, releaseOf(tool, 1, await webArtifact('old')));
        const broken = await bench.artifact({ 'web.py': source }, [web()]);
        const { error, seen } = await failingRollOut(runtime, releaseOf(tool, 2, broken));
        assert.equal(error.code, 'ROLLOUT_TIMED_OUT');
        assert.match(error.message, message);
        assert.ok(error.message.endsWith(`; waited ${bench.config.health_time / 1000} s`), error.message);
        assert.match(seen, printed);
        assert.equal(await ask(tool), 'old');
        assert.deepEqual(
          (await runtime.status(tool)).map(({ version }) => version),
          [1],
        );
      });
    }

    for (const { name, tool, source, remark } of [
      {
        name: 'comes after two seconds',
        tool: 'late-first' as ToolName,
        source: rawAnswerTool('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', 2),
        remark: '',
      },
      {
        name: 'has an endless body',
        tool: 'streams' as ToolName,
        source: rawAnswerTool('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n'),
        remark: '',
      },
      {
        name: 'switches to another protocol',
        tool: 'switches' as ToolName,
        source: rawAnswerTool(
          'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n',
        ),
        remark: ' (GET / answers 101)',
      },
    ]) {
      test(`a web process is healthy if its answer ${name}`, async () => {
        const artifact = await bench.artifact({ 'web.py': source }, [web()]);
        const seen = await rollOut(runtime, releaseOf(tool, 1, artifact));
        const told = /web\.1 started · healthy after \d+\.\d s(.*)$/m.exec(seen);
        assert.equal(told?.[1], remark, seen);
      });
    }

    test('threat 63: config vars in the output of a crashed process are masked in the push', async () => {
      const tool = 'talkative' as ToolName;
      const script = "import os; print('key', os.environ['API_KEY'], flush=True); raise SystemExit(1)";
      const artifact = await bench.artifact({ 'web.py': script }, [web()]);
      const vars = { API_KEY: 'hunter2-hunter2' };
      const { seen } = await failingRollOut(runtime, releaseOf(tool, 1, artifact, vars));
      assert.match(seen, /web\.1 \| key \[config var API_KEY\]/);
      assert.doesNotMatch(seen, /hunter2/);
    });

    test('if the command of a process does not exist, the rollout fails and says that the command was not found', async () => {
      const tool = 'missing' as ToolName;
      const artifact = await bench.artifact({}, [
        { type: 'web', command: ['no-such-program'], isDefault: true },
      ]);
      const { error } = await failingRollOut(runtime, releaseOf(tool, 1, artifact));
      assert.equal(error.code, 'ROLLOUT_CRASHED');
      assert.match(error.hint, /not found/);
    });

    test('if a web process never opens a port, the rollout fails, and the error says so and mentions PORT', async () => {
      const tool = 'silent' as ToolName;
      const artifact = await bench.artifact({ 'web.py': silentTool }, [web()]);
      const { error, seen } = await failingRollOut(runtime, releaseOf(tool, 1, artifact));
      assert.equal(error.code, 'ROLLOUT_TIMED_OUT');
      assert.match(error.message, /^web\.1 never opened a port/);
      assert.match(error.hint, /PORT/);
      assert.match(seen, /web\.1 \| thinking/);
      assert.deepEqual(await runtime.status(tool), []);
    });

    test('a web process that listens on another port fails the rollout, and the reason names the port', async () => {
      const tool = 'elsewhere' as ToolName;
      const artifact = await bench.artifact({ 'web.py': wrongPortTool(15_123) }, [web()]);
      const { error } = await failingRollOut(runtime, releaseOf(tool, 1, artifact));
      assert.equal(error.code, 'ROLLOUT_TIMED_OUT');
      assert.match(error.message, /^web\.1 listens on port 15123, not on PORT \(\d+\)/);
    });

    test('a health check path that answers 302 makes a web process healthy; a health check path that answers 500 fails the rollout', async () => {
      const tool = 'health' as ToolName;
      const files = { 'web.py': webTool('well') };
      await rollOut(runtime, releaseOf(tool, 1, await bench.artifact(files, [web()], '/status/302')));
      const ill = await bench.artifact(files, [web()], '/status/500');
      const { error } = await failingRollOut(runtime, releaseOf(tool, 2, ill));
      assert.equal(error.code, 'ROLLOUT_TIMED_OUT');
      assert.match(error.message, /^GET \/status\/500 answered 500/);
      assert.equal(await ask(tool), 'well');
    });

    test('a web process that answers GET / with the status 500 goes live, and the push shows the status', async () => {
      const tool = 'erring' as ToolName;
      const source = webTool('erring').replace(
        "body, status = 'erring', 200",
        "body, status = 'erring', 500",
      );
      const seen = await rollOut(
        runtime,
        releaseOf(tool, 1, await bench.artifact({ 'web.py': source }, [web()])),
      );
      assert.match(seen, /web\.1 started · healthy after \d+\.\d s \(GET \/ answers 500\)/);
    });

    const releasing = (script: string): Process => ({
      type: 'release',
      command: ['python3', '-u', '-c', script],
      isDefault: false,
    });

    test('the release phase runs once to its end, with the config vars, and is not restarted', async () => {
      const tool = 'migrating' as ToolName;
      const processes = [releasing("import os; print('to', os.environ['SCHEMA'])"), web()];
      const artifact = await bench.artifact({ 'web.py': webTool('migrated') }, processes);
      const release = releaseOf(tool, 1, artifact, { SCHEMA: 'seven' });
      assert.match(
        await releasePhase(runtime, release),
        /^-----> Running the release command\n {7}to seven$/m,
      );
      assert.deepEqual(await runtime.status(tool), []);
      await rollOut(runtime, release);
      assert.deepEqual(
        (await runtime.status(tool)).map(({ name }) => name),
        ['web.1'],
      );
      assert.equal((await textOf(runtime, tool, 'release')).trim(), 'to seven');
      assert.equal(await releasePhase(runtime, releaseOf(tool, 2, await webArtifact('none'))), '');
    });

    test('threat 63: if a long line of output is cut within a config var, no part of the value is shown', async () => {
      const secret = 'correct-horse-battery-staple';
      const script = `import os
for length in (0, 16384 - 20, 16384): print('x' * length + os.environ['SECRET'])
print('\\x1b[31m' + 'y' * (16384 - 25) + os.environ['SECRET'])`;
      const release = releaseOf('leaking' as ToolName, 1, await bench.artifact({}, [releasing(script)]), {
        SECRET: secret,
      });
      const seen = await releasePhase(runtime, release);
      assert.match(seen, /^ {7}\[config var SECRET\]$/m);
      assert.match(seen, /x{10000}/);
      assert.match(seen, /y{10000}/);
      assert.doesNotMatch(seen, /correct/);
    });

    for (const { name, tool, script, code, message } of [
      {
        name: 'exits with code 3',
        tool: 'migration-fails' as ToolName,
        script: 'raise SystemExit(3)',
        code: 'RELEASE_FAILED',
        message: /exited with code 3$/,
      },
      {
        name: 'prints an error and exits',
        tool: 'migration-error' as ToolName,
        script: 'raise KeyError("DATABASE_URL")',
        code: 'RELEASE_FAILED',
        message: /exited with code 1: KeyError: 'DATABASE_URL'$/,
      },
      {
        name: 'takes longer than release_time',
        tool: 'migration-long' as ToolName,
        script: 'import time; time.sleep(600)',
        code: 'RELEASE_TIMED_OUT',
        message: /longer than 3 s/,
      },
    ]) {
      test(`if a release command ${name}, the release phase fails, and the error gives the reason`, async () => {
        const release = releaseOf(tool, 1, await bench.artifact({}, [releasing(script)]));
        await assert.rejects(releasePhase(runtime, release), { code, message });
      });
    }

    test('a release phase that is cancelled ends with an AbortError', async () => {
      const tool = 'migration' as ToolName;
      const script = "import time; print('begun'); time.sleep(600)";
      const release = releaseOf(tool, 1, await bench.artifact({}, [releasing(script)]));
      const cancel = new AbortController();
      const running = releasePhase(runtime, release, { signal: cancel.signal });
      running.catch(() => {});
      await until(async () => (await textOf(runtime, tool)).includes('begun'), 'the release command');
      cancel.abort();
      await assert.rejects(running, { name: 'AbortError' });
    });

    test('after a rollout is cancelled, the old release answers, and no process of the new release is left', async () => {
      const tool = 'cancel' as ToolName;
      await rollOut(runtime, releaseOf(tool, 1, await webArtifact('old')));
      const stuck = await bench.artifact({ 'web.py': silentTool }, [web()]);
      const cancel = new AbortController();
      const rolling = rollOut(runtime, releaseOf(tool, 2, stuck), { signal: cancel.signal });
      rolling.catch(() => {});
      await until(async () => (await textOf(runtime, tool)).includes('thinking'), 'the new process');
      cancel.abort();
      await assert.rejects(rolling, { name: 'AbortError' });
      assert.equal(await ask(tool), 'old');
      assert.deepEqual(
        (await runtime.status(tool)).map(({ version }) => version),
        [1],
      );
    });

    test('a release runs all its process types; if one process crashes at its start, the rollout fails and the old processes stay', async () => {
      const tool = 'several' as ToolName;
      const files = { 'web.py': webTool('both'), 'worker.py': politeWorker };
      await rollOut(runtime, releaseOf(tool, 1, await bench.artifact(files, [web(), worker()])));
      assert.deepEqual((await runtime.status(tool)).map(({ name }) => name).sort(), ['web.1', 'worker.1']);
      const broken = await bench.artifact({ ...files, 'worker.py': crashingTool }, [web(), worker()]);
      const { error } = await withLongSettleTime(bench, () =>
        failingRollOut(runtime, releaseOf(tool, 2, broken)),
      );
      assert.equal(error.message, 'worker.1 exited with code 1');
      assert.deepEqual(
        (await runtime.status(tool)).map(({ version }) => version),
        [1, 1],
      );
    });

    test('config vars, and the values of app.json for unset config vars, reach the process; a config var PORT has no effect', async () => {
      const tool = 'vars' as ToolName;
      const vars = { API_KEY: 'a b\n"c"', PORT: '1' };
      const variables = { API_KEY: 'not used', GREETING: 'hello' };
      await rollOut(runtime, releaseOf(tool, 1, { ...(await webArtifact('vars')), variables }, vars));
      assert.equal(await ask(tool, '/env/API_KEY'), 'a b\n"c"');
      assert.equal(await ask(tool, '/env/GREETING'), 'hello');
      assert.notEqual(await ask(tool, '/env/PORT'), '1');
      assert.equal(await ask(tool, '/env/LANG'), 'C.UTF-8');
      assert.equal(await ask(tool, '/env/TOOL_DATA_DIR'), await ask(tool, '/env/HOME'));
      assert.equal(await ask(tool, '/env/RELEASE_VERSION'), 'v1');
      assert.match(await ask(tool, '/env/SOURCE_COMMIT'), /^[0-9a-f]{40}$/);
    });

    test('when a new release replaces an old one, the old process itself gets SIGTERM and can print before it ends', async () => {
      const tool = 'polite' as ToolName;
      const artifact = await bench.artifact({ 'worker.py': politeWorker }, [worker()]);
      await rollOut(runtime, releaseOf(tool, 1, artifact));
      await rollOut(runtime, releaseOf(tool, 2, artifact));
      await until(async () => (await textOf(runtime, tool)).includes('goodbye'), 'the old one to leave');
      await until(async () => (await runtime.status(tool)).length === 1, 'the old one to be gone');
      assert.equal((await runtime.status(tool))[0]?.version, 2);
    });

    test('an open request is answered by the release that accepted it', async () => {
      const tool = 'slow' as ToolName;
      await rollOut(runtime, releaseOf(tool, 1, await webArtifact('old')));
      const answer = bench.request(tool, '/slow');
      await until(async () => (await textOf(runtime, tool)).includes('slow begins'), 'the request to begin');
      await rollOut(runtime, releaseOf(tool, 2, await webArtifact('new')));
      assert.equal(await ask(tool), 'new');
      assert.deepEqual(await answer, { status: 200, body: 'old' });
    });

    test('no request fails while a tool is deployed three times', async () => {
      const tool = 'busy' as ToolName;
      await rollOut(runtime, releaseOf(tool, 1, await webArtifact('v1')));
      const stop = new AbortController();
      const answers: Answer[] = [];
      const client = async () => {
        while (!stop.signal.aborted) answers.push(await bench.request(tool, '/'));
      };
      const clients = Array.from({ length: 6 }, client);
      for (const version of [2, 3, 4]) {
        await rollOut(runtime, releaseOf(tool, version, await webArtifact(`v${version}`)));
      }
      const enough = answers.length + 50;
      await until(async () => answers.length > Math.max(enough, 250), 'enough requests');
      stop.abort();
      await Promise.all(clients);
      assert.deepEqual(
        answers.filter(({ status }) => status !== 200),
        [],
      );
      const words = new Set(answers.map(({ body }) => body));
      assert.ok(words.has('v1') && words.has('v4'), [...words].join());
      assert.equal(await ask(tool), 'v4');
    });

    test('a process that crashes is restarted, and the status and the tool’s log say so', async () => {
      const tool = 'again' as ToolName;
      await rollOut(runtime, releaseOf(tool, 1, await webArtifact('again')));
      await bench.request(tool, '/exit').catch(() => null);
      await until(async () => (await runtime.status(tool))[0]?.restarts === 1, 'the restart');
      await until(async () => (await bench.request(tool, '/')).status === 200, 'an answer');
      const said = /web\.1 exited with code 3; starting again in/;
      await until(async () => said.test(await textOf(runtime, tool)), 'the line in the log');
      const lastExit = async () => (await runtime.status(tool))[0]?.lastExit ?? null;
      const { words, at } = await until(lastExit, 'the last exit in the status');
      assert.equal(words, 'exited with code 3');
      assert.ok(Math.abs(Date.now() - at) < 60_000);
      // A cluster measures the memory only if it has a metrics server. The first look may come before the program has
      // started.
      await until(async () => {
        const bytes = (await runtime.status(tool))[0]?.memoryBytes ?? null;
        return bytes === null || (bytes > 2 ** 20 && bytes < 2 ** 30);
      }, 'a plausible figure of memory');
    });

    test('stop ends all processes, and a rollout or resume brings the tool back', async () => {
      const tool = 'stopped' as ToolName;
      const release = releaseOf(tool, 1, await webArtifact('back'));
      await rollOut(runtime, release);
      await runtime.stop(tool);
      assert.deepEqual(await runtime.status(tool), []);
      // The router answers 503. An ingress controller may answer 502 if a Service has no pod.
      assert.match(String((await bench.request(tool, '/')).status), /^50[23]$/);
      await runtime.resume(release, 1, {});
      await until(async () => (await bench.request(tool, '/')).status === 200, 'the resumed tool');
      await runtime.stop(tool);
      await rollOut(runtime, release);
      assert.equal(await ask(tool), 'back');
    });

    test('a scheduled process runs when due, and the tool’s log has its output and exit; a failed rollout keeps the schedule, a release without the process removes it', async () => {
      const tool = 'timed' as ToolName;
      const script = 'import os, sys; print("updated", os.environ.get("PORT")); sys.exit(3)';
      const files = { 'update.py': script, 'worker.py': politeWorker };
      const both = await bench.artifact(files, [everyMinute(), worker()]);
      const artifact = { ...both, processes: [everyMinute()] };
      const seen = await rollOut(runtime, releaseOf(tool, 1, artifact));
      assert.match(
        seen,
        /^ {7}update\.1 is scheduled: \* \* \* \* \*, next at \d{4}-\d\d-\d\d \d\d:\d\d UTC$/m,
      );
      const [waiting] = await runtime.status(tool);
      assert.deepEqual(
        [waiting?.name, waiting?.version, waiting?.schedule?.text],
        ['update.1', 1, '* * * * *'],
      );
      assert.equal(waiting?.command, 'python3 -u update.py');
      assert.ok((waiting?.schedule?.nextAt ?? 0) > 0);
      await bench.passMinute();
      await until(async () => (await textOf(runtime, tool)).includes('update.1 exited with'), 'a run', 100);
      assert.match(await textOf(runtime, tool, 'update'), /^updated None$/m);
      assert.match(await textOf(runtime, tool, 'push'), /^update\.1 exited with code 3 after \d+(\.\d)? s$/m);
      const [ended] = await runtime.status(tool);
      assert.equal(ended?.schedule?.lastRun?.exitCode, 3);
      assert.equal(ended?.schedule?.lastRun?.detail, 'exited with code 3');
      assert.ok((ended?.schedule?.lastRun?.endedAt ?? 0) >= (ended?.schedule?.lastRun?.startedAt ?? 1));

      const broken = await bench.artifact({ 'worker.py': crashingTool }, [worker()]);
      await failingRollOut(runtime, releaseOf(tool, 2, broken));
      assert.deepEqual(
        (await runtime.status(tool)).map(({ name, version }) => [name, version]),
        [['update.1', 1]],
      );
      await rollOut(runtime, releaseOf(tool, 3, { ...both, processes: [worker()] }));
      const types = async () => (await runtime.status(tool)).filter(({ schedule }) => schedule !== undefined);
      await until(async () => (await types()).length === 0, 'the schedule to go');
      await rollOut(runtime, releaseOf(tool, 1, artifact));
      assert.equal((await types())[0]?.version, 1);
      await runtime.stop(tool);
      assert.deepEqual(await runtime.status(tool), []);
      await runtime.resume(releaseOf(tool, 1, artifact), 1, {});
      assert.equal((await types())[0]?.state, 'scheduled');
      await runtime.stop(tool);
    });

    test('a run of a scheduled process can be started by hand, one at a time, even if the schedule is paused; a paused schedule has no next run', async () => {
      const tool = 'paused' as ToolName;
      const script = 'import time; print("by hand"); time.sleep(2)';
      const yearly = everyMinute('update.py', { text: '@yearly', cron: '0 0 1 1 *' });
      const artifact = await bench.artifact({ 'update.py': script }, [yearly]);
      await rollOut(runtime, releaseOf(tool, 1, artifact));
      await assert.rejects(runtime.startScheduledRun(tool, 'other'), { code: 'NO_SCHEDULE' });
      const status = async () => (await runtime.status(tool))[0];
      bench.paused.add(tool);
      await runtime.applyPauses(tool);
      assert.equal((await status())?.schedule?.nextAt, null);
      assert.equal((await status())?.detail, 'paused');
      await rollOut(runtime, releaseOf(tool, 2, artifact));
      assert.deepEqual([(await status())?.version, (await status())?.schedule?.nextAt], [2, null]);
      await runtime.startScheduledRun(tool, 'update');
      await until(async () => (await status())?.state === 'up', 'the run');
      await assert.rejects(runtime.startScheduledRun(tool, 'update'), { code: 'RUN_UNDER_WAY' });
      await until(async () => (await textOf(runtime, tool)).includes('update.1 exited with'), 'its end', 100);
      assert.match(await textOf(runtime, tool, 'update'), /^by hand$/m);
      assert.equal((await status())?.schedule?.lastRun?.exitCode, 0);
      assert.deepEqual(
        bench.ended.filter(([name]) => name.startsWith(`${tool}/`)),
        [[`${tool}/update`, 0]],
      );
      bench.paused.delete(tool);
      await runtime.applyPauses(tool);
      assert.ok(((await status())?.schedule?.nextAt ?? 0) > 0);
      await runtime.stop(tool);
      await assert.rejects(runtime.startScheduledRun(tool, 'update'), { code: 'NO_SCHEDULE' });
    });

    test('logs returns the newest lines of one process or of all processes, in the order of their times', async () => {
      const tool = 'logs' as ToolName;
      const files = { 'web.py': webTool('logging'), 'worker.py': politeWorker };
      await rollOut(runtime, releaseOf(tool, 1, await bench.artifact(files, [web(), worker()])));
      await until(async () => (await logOf(runtime, tool, 'worker')).length > 3, 'some lines');
      const all = await logOf(runtime, tool);
      assert.deepEqual(
        all.map(({ at }) => at),
        all.map(({ at }) => at).toSorted(),
      );
      assert.ok(all.some(({ process, text }) => process === 'web.1' && text === 'logging starts'));
      assert.ok(all.every(({ version }) => version === 1));
      const some = await logOf(runtime, tool, 'worker.1', 2);
      assert.equal(some.length, 2);
      assert.ok(some.every(({ process }) => process === 'worker.1'));
      assert.match(some[0]?.at ?? '', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    });

    test('a follower of a log gets each new line once and in order, and can leave', async () => {
      const tool = 'follow' as ToolName;
      const script = "import time\nfor i in range(1000000): print('line', i); time.sleep(0.005)\n";
      await rollOut(runtime, releaseOf(tool, 1, await bench.artifact({ 'worker.py': script }, [worker()])));
      const leave = new AbortController();
      const lines: LogLine[] = [];
      const query = { process: 'worker', lines: 10, follow: true, signal: leave.signal };
      for await (const batch of runtime.logs(tool, query)) {
        lines.push(...batch);
        if (lines.length >= 60) leave.abort();
      }
      const numbers = lines.map(({ text }) => Number(text.slice(5)));
      const first = numbers[0] ?? 0;
      assert.deepEqual(
        numbers,
        Array.from(numbers, (_, index) => first + index),
      );
    });

    scaleContract(() => bench);
    maintenanceContract(() => bench);

    test('a tool whose name cannot be a host name has no address', () => {
      assert.equal(runtime.address('with_underscore' as ToolName), null);
      assert.match(runtime.address('first' as ToolName) ?? '', /^https?:\/\/first\./);
    });
  });
}
