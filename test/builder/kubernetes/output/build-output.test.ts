import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BuildOutput } from '../../../../src/builder/kubernetes/output/build-output.ts';
import { progressTo } from '../../../../src/core/progress.ts';
import { failsWith } from '../../support/with-builder.ts';

// The lines that the builder of lifecycle 0.21 prints at `-log-level debug`.
const begin = (id: string) => [
  `Running build for buildpack ${id}@0.1.0`,
  'Looking up buildpack',
  'Finding plan',
  'Creating plan directory',
  'Preparing paths',
  'Running build command',
];
const end = (id: string) => [
  'Processing layers',
  'Updating environment',
  'Reading output files',
  'Updating buildpack processes',
  'Updating process list',
  `Finished running build for buildpack ${id}@0.1.0`,
];
const limits = { processes: null, memoryBytes: 2 ** 31, fileBytes: 2 ** 31 };
const failed = { exitCode: 51, isOutOfMemory: false, message: '' };

function reading(lines: readonly string[]) {
  const said: string[] = [];
  const entered: string[] = [];
  const output = new BuildOutput(
    progressTo((text) => said.push(text.trimEnd())),
    (name) => entered.push(name),
  );
  for (const line of ['Starting builder...', 'Executing command...', ...lines]) output.read(line);
  return { said, entered, output };
}

test('the output of buildpacks is shown with its prefixes, and the output of the lifecycle is hidden', () => {
  const { said, entered } = reading([
    ...begin('toolforge/python'),
    '-----> Using Python 3.11.2',
    '       web: gunicorn',
    ...end('toolforge/python'),
    ...begin('toolforge/pip'),
    ' !     careful',
    'plain',
    ...end('toolforge/pip'),
    'Timer: Builder ran for 1s',
  ]);
  assert.deepEqual(said, [
    '-----> Using Python 3.11.2',
    '       web: gunicorn',
    ' !     careful',
    '       plain',
  ]);
  assert.deepEqual(entered, ['python', 'pip']);
});

for (const { name, lines, exit, code, message } of [
  {
    name: 'a buildpack that exits',
    lines: [
      'reason',
      'Timer: Builder ran for 11.8ms and ended at 2026-11-24T18:59:35Z',
      'ERROR: failed to build: exit status 4',
    ],
    exit: failed,
    code: 'BUILD_FAILED',
    message: /^pip exited 4: reason$/,
  },
  {
    name: 'a buildpack that printed a line like the lifecycle’s last line before',
    lines: ['ERROR: failed to build: exit status 9', 'reason', 'ERROR: failed to build: exit status 4'],
    exit: failed,
    code: 'BUILD_FAILED',
    message: /^pip exited 4: /,
  },
  {
    name: 'a buildpack that was killed',
    lines: ['reason', 'ERROR: failed to build: signal: terminated'],
    exit: failed,
    code: 'BUILD_FAILED',
    message: /^pip was ended by terminated: reason$/,
  },
  {
    name: 'a buildpack that needed too much memory',
    lines: ['ERROR: failed to build: signal: killed'],
    exit: { ...failed, isOutOfMemory: true },
    code: 'BUILD_OUT_OF_MEMORY',
    message: /^pip needs more/,
  },
  {
    name: 'a container that was killed for lack of memory',
    lines: ['reason'],
    exit: { ...failed, exitCode: 137, isOutOfMemory: true },
    code: 'BUILD_OUT_OF_MEMORY',
    message: /^pip needs more/,
  },
  {
    name: 'a buildpack that started too many processes',
    lines: ['fork: Resource temporarily unavailable', 'ERROR: failed to build: exit status 1'],
    exit: failed,
    code: 'BUILD_OUT_OF_PROCESSES',
    message: /^pip started more processes and threads than the kubelet allows one pod \(podPidsLimit\)/,
  },
  {
    name: 'a buildpack that breaks the rules of the Buildpack API',
    lines: [
      ...end('toolforge/pip').slice(0, 1),
      'ERROR: failed to build: failed to decode layer metadata file: no',
    ],
    exit: { ...failed, exitCode: 52 },
    code: 'BUILD_FAILED',
    message:
      /toolforge\/pip wrote a result that the server cannot use: failed to decode layer metadata file: no/,
  },
]) {
  test(`a failed build in a cluster is reported with the buildpack’s name and the reason: ${name}`, () => {
    const { output } = reading([...begin('toolforge/pip'), ...lines]);
    assert.throws(() => output.fail(exit, limits), failsWith(code, message));
  });
}

test('error lines at the end of a buildpack’s output are shown', () => {
  const { said, output } = reading([
    ...begin('a/b'),
    'ERROR: No matching distribution found for nothing',
    'Timer: Builder ran for 11.8ms and ended at 2026-11-24T18:59:35Z',
    'ERROR: failed to build: exit status 1',
  ]);
  assert.deepEqual(said, ['       ERROR: No matching distribution found for nothing']);
  assert.throws(
    () => output.fail(failed, limits),
    failsWith('BUILD_FAILED', /^b exited 1: ERROR: No matching/),
  );
});

test('a buildpack’s line that only looks like the lifecycle’s last line is shown', () => {
  const { said } = reading([...begin('a/b'), 'ERROR: failed to build: exit status 9', 'more', ...end('a/b')]);
  assert.deepEqual(said, ['       ERROR: failed to build: exit status 9', '       more']);
});

test('if the node has dropped the beginning of a build’s log, all lines that are left are shown after a warning', () => {
  for (const count of [5, 500]) {
    const said: string[] = [];
    const output = new BuildOutput(
      progressTo((text) => said.push(text.trimEnd())),
      () => undefined,
    );
    const lines = Array.from({ length: count }, (_, index) => `line ${index}`);
    for (const line of lines) output.read(line);
    if (count === 5) output.end();
    for (const line of end('toolforge/pip')) output.read(line);
    assert.deepEqual(said, [
      ' !     Lines of the build’s output may be missing here, because the cluster keeps only the newest lines.',
      ...lines.map((line) => `       ${line}`),
    ]);
  }
});

test('the complete log of a build is shown without a warning', () => {
  const said: string[] = [];
  const output = new BuildOutput(
    progressTo((text) => said.push(text.trimEnd())),
    () => undefined,
  );
  for (const line of ['Starting builder...', ...begin('toolforge/pip'), 'plain', ...end('toolforge/pip')]) {
    output.read(line);
  }
  output.end();
  assert.deepEqual(said, ['       plain']);
});

test('threat 55: fifty long lines that imitate the lifecycle are parsed in less than a second', () => {
  const line = `Running build for buildpack ${'@'.repeat(16_000)} x`;
  const began = performance.now();
  reading([...begin('toolforge/python'), 'Processing layers', ...Array<string>(50).fill(line)]);
  assert.ok(performance.now() - began < 1000);
});
