import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { readAppJson } from '../../../src/builder/source/app-json.ts';
import { requestedProcesses } from '../../../src/builder/source/components.ts';
import { testProcess } from '../../../src/core/replicas.ts';
import type { Process } from '../../../src/core/types.ts';

const processOf = (type: string): Process => ({
  type,
  command: ['bash', '-c', `run-${type}`],
  isDefault: false,
});

/** The processes of a build with these types, if app.json names this test command. */
function processesWith(types: readonly string[], command: string): readonly Process[] {
  const source = { components: [], formation: {}, template: { settings: {}, command: null }, test: command };
  return requestedProcesses(types.map(processOf), source, () => undefined).processes;
}

const testOf = (processes: readonly Process[]) => testProcess({ artifact: { processes } } as never);

test('a test command of app.json that is the name of a process type runs this process type, which stays a named command', () => {
  const processes = processesWith(['web', 'test'], 'test');
  assert.deepEqual(testOf(processes), { ...processOf('test'), replicas: 0, isTest: true });
  assert.equal(processes.length, 2);
});

test('a test command line of app.json runs in a shell, and a process type `test` of the build keeps its command', () => {
  assert.deepEqual(testOf(processesWith(['web'], 'npm test'))?.command, ['bash', '-c', 'npm test']);
  const processes = processesWith(['web', 'test'], 'npm test');
  assert.equal(testOf(processes)?.type, 'app-json-test');
  assert.deepEqual(processes.find(({ type }) => type === 'test')?.command, ['bash', '-c', 'run-test']);
});

async function read(context: TestContext, content: object) {
  const folder = await mkdtemp(join(tmpdir(), 'app-json-'));
  context.after(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, 'app.json'), JSON.stringify(content));
  return await readAppJson(folder);
}

test('a test command of app.json that is longer than 4096 bytes is refused', async (context) => {
  const environments = { test: { scripts: { test: 'x'.repeat(4097) } } };
  await assert.rejects(read(context, { environments }), { code: 'BUILD_APP_JSON', message: /4096 bytes/ });
});

test('environments in app.json without a test command have no effect, and the push says so', async (context) => {
  const { test: command, warnings } = await read(context, { environments: { review: {} } });
  assert.equal(command, null);
  assert.match(warnings.join(), /environments has no effect here/);
});
