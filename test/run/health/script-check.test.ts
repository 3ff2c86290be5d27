import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { ToolName } from '../../../src/core/names.ts';
import type { Artifact, Process } from '../../../src/core/types.ts';
import { untilScriptPasses } from '../../../src/run/health/script-check.ts';
import { argumentsOf, childrenOf } from '../../../src/sandbox/process/process-table.ts';
import type { SandboxProcess } from '../../../src/sandbox/sandbox.ts';
import { failing, releaseOf, rollOut, until } from '../contract-steps.ts';
import { type LocalBench, localBench } from '../local/local-bench.ts';
import { RunningOneOff } from '../one-off-steps.ts';
import { web, webTool, worker } from '../tool-sources.ts';

let bench: LocalBench;
before(async () => {
  bench = await localBench({ mode: 'isolated', healthMs: 10_000 });
});
after(async () => {
  await bench.close();
});

const checked = (process: Process, healthCheckScript: string): Process => ({
  ...process,
  settings: { healthCheckScript },
});

/** A worker that makes the file /tmp/alive each second, to report that it is healthy, for `beats` seconds. */
const beating = (beats: number) => `
import time
for beat in range(${beats}):
    open('/tmp/alive', 'w').close()
    time.sleep(1)
time.sleep(1000)
`;

test('a release goes live once the health check script has passed; the script sees the files, processes and config vars of the worker', async () => {
  const script = `unlink /tmp/alive && grep -q worker.py /proc/*/cmdline && test "$WORD" = yes`;
  const artifact = await bench.artifact({ 'worker.py': beating(1000) }, [checked(worker(), script)]);
  const seen = await rollOut(bench.runtime, releaseOf('beats' as ToolName, 1, artifact, { WORD: 'yes' }));
  assert.match(seen, /worker\.1 started/);
});

test('a health check script may leave a program running', async () => {
  const artifact = await bench.artifact({ 'worker.py': beating(0) }, [checked(worker(), 'sleep 100 & true')]);
  const seen = await rollOut(bench.runtime, releaseOf('leaves' as ToolName, 1, artifact));
  assert.match(seen, /worker\.1 started/);
});

test('a config var at the beginning of a long line is masked in the output of a health check script', async () => {
  const script = `printf '%s-%0280d\\n' "$API_KEY" 0; false`;
  const artifact = await bench.artifact({ 'worker.py': beating(0) }, [checked(worker(), script)]);
  const release = releaseOf('tells' as ToolName, 1, artifact, { API_KEY: 'first-half.second-half' });
  const { seen } = await failing(rollOut(bench.runtime, release));
  assert.match(seen, /health_check_script failed: \[config var API_KEY\]-0/);
});

test('threat 63: no part of a config var is shown if a health check script prints a long line', async () => {
  const script = `printf '%s%03980d\\nsecond line\\n' "$API_KEY" 0; false`;
  const artifact = await bench.artifact({ 'worker.py': beating(0) }, [checked(worker(), script)]);
  const release = releaseOf('long' as ToolName, 1, artifact, { API_KEY: 'first-half.second-half' });
  const { seen } = await failing(rollOut(bench.runtime, release));
  assert.match(seen, /health_check_script failed: second line/);
  assert.doesNotMatch(seen, /half/);
});

test('if a health check script never passes within health_time, the rollout fails, and the error names the process', async () => {
  const artifact = await bench.artifact({ 'worker.py': beating(0) }, [
    checked(worker(), 'echo no beat; false'),
  ]);
  await assert.rejects(rollOut(bench.runtime, releaseOf('silent' as ToolName, 1, artifact)), {
    code: 'ROLLOUT_TIMED_OUT',
    message: /the health_check_script of worker\.1 did not end with 0; waited 10 s/,
  });
});

test('a process whose health check script begins to fail is started again', async () => {
  const tool = 'stops' as ToolName;
  const artifact = await bench.artifact({ 'worker.py': beating(2) }, [
    checked(worker(), 'unlink /tmp/alive'),
  ]);
  await rollOut(bench.runtime, releaseOf(tool, 1, artifact));
  const isAgain = async () => (await bench.runtime.status(tool)).some(({ restarts }) => restarts > 0);
  await until(isAgain, 'a restart', 60);
});

test('a web process can have a health check script instead of a path; PORT is the port that the tool asks for, also in a one-off', async () => {
  const tool = 'ports' as ToolName;
  const made = await bench.artifact({ 'web.py': webTool('hello') }, [web()]);
  const script = 'exec 3<>/dev/tcp/127.0.0.1/8080';
  const service = { healthCheckPath: null, port: 8080, healthCheckScript: script };
  const artifact: Artifact = { ...made, service };
  const release = releaseOf(tool, 1, artifact);
  await rollOut(bench.runtime, release);
  assert.equal((await bench.request(tool, '/env/PORT')).body, '8080');
  const oneOff = new RunningOneOff(bench.runtime, release, ['printenv', 'PORT'], {});
  await oneOff.end;
  assert.equal(oneOff.text, '8080\n');
});

test('threat 175: a child process, not the server, looks for the file by which a process reports its health, because the process can lock the folder for minutes', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'mark-'));
  const mark = join(folder, 'mark');
  const lookers = () => childrenOf(process.pid).filter((pid) => argumentsOf(pid).includes(mark));
  const running = { exited: new Promise(() => {}) } as unknown as SandboxProcess;
  const check = { process: running, name: 'worker.1', mark, timeoutMs: 60_000 };
  const passes = untilScriptPasses({ ...check, signal: new AbortController().signal });
  await until(async () => lookers().length === 1, 'the program that looks for the mark', 10);
  await writeFile(mark, '');
  assert.deepEqual(await passes, { kind: 'healthy', remark: null });
  await rm(mark);
  const cancelled = new AbortController();
  const ends = assert.rejects(untilScriptPasses({ ...check, signal: cancelled.signal }));
  await until(async () => lookers().length === 1, 'the second program', 10);
  cancelled.abort();
  await ends;
  await until(async () => lookers().length === 0, 'the end of the second program', 10);
  await rm(folder, { recursive: true });
});
