import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BuildLimits } from '../../../../src/builder/build-limits.ts';
import { BuildNarrator } from '../../../../src/builder/kubernetes/output/build-narrator.ts';
import type { PreparedSource } from '../../../../src/builder/source/prepared-source.ts';
import { progressTo } from '../../../../src/core/progress.ts';
import { failsWith } from '../../support/with-builder.ts';

const WELL = { exitCode: 0, isOutOfMemory: false, message: '' };

// The lines that the detector and the builder of lifecycle 0.21 print at `-log-level debug` in one container.
const DETECTOR = [
  'Starting detector...',
  'Timer: Detector started at 2026-11-24T18:30:00Z',
  '======== Output: toolforge/python@0.1.0 ========',
  'python 3.11 (service.template)',
  '======== Results ========',
  'pass: toolforge/python@0.1.0',
  'Resolving plan... (try #1)',
  'toolforge/python 0.1.0',
  'Timer: Detector ran for 14.1ms and ended at 2026-11-24T18:30:00Z',
];
const BUILDER = [
  'Starting builder...',
  'Running build for buildpack toolforge/python@0.1.0',
  'Running build command',
  '-----> Using Python 3.11.2',
];

function narrator({ isInspection = false } = {}) {
  const said: string[] = [];
  const steps: string[] = [];
  const source: PreparedSource = {
    ...{ folder: '/none', leftOut: null, buildVariables: {}, warnings: [], files: ['app.py'], webLine: null },
    ...{
      own: { first: [], beforeProcfile: [], last: [], warnings: [] },
      procfile: new Map(),
      overlooked: [],
    },
    ...{ processes: [], requests: [] },
  } as unknown as PreparedSource;
  const narrates = new BuildNarrator({
    progress: progressTo((text) => said.push(text.trim())),
    guard: { enter: (step: string) => void steps.push(step) } as unknown as BuildLimits,
    source,
    config: { build_time: 60_000, build_memory: 2 ** 30, build_disk: 2 ** 30 },
    job: { image: 'registry.example.org/tool-wc/tool-wc:one', isInspection },
  });
  narrates.enter('build');
  const read = (lines: readonly string[]) => {
    for (const line of lines) narrates.line('build', line);
  };
  return { narrates, said, steps, read };
}

test('a build in the cluster reports what was detected before the first line of a buildpack', () => {
  const { narrates, said, steps, read } = narrator();
  read([...DETECTOR, ...BUILDER]);
  narrates.ended('build', WELL);
  assert.ok(said.findIndex((line) => line.includes('python 3.11')) >= 0, said.join('\n'));
  assert.ok(
    said.findIndex((line) => line.includes('python 3.11')) < said.indexOf('-----> Using Python 3.11.2'),
    said.join('\n'),
  );
  assert.deepEqual(steps, ['detection', 'the build', 'python']);
});

test('a failed buildpack of a build in the cluster is named, although detection ran in the same container', () => {
  const { narrates, read } = narrator();
  read([...DETECTOR, ...BUILDER, 'ERROR: failed to build: exit status 7']);
  assert.throws(
    () => narrates.ended('build', { ...WELL, exitCode: 51 }),
    failsWith('BUILD_FAILED', /^python exited 7/),
  );
});

test('if the detection of a build in the cluster finds no buildpack, the build fails and the error says so', () => {
  const { narrates, read } = narrator();
  read(['Starting detector...', '======== Results ========', 'fail: toolforge/python@0.1.0']);
  assert.throws(() => narrates.ended('build', { ...WELL, exitCode: 20 }), failsWith('NO_BUILDPACK', /./));
});

test('a detector that breaks in the cluster is reported with its exit status', () => {
  const { narrates, read } = narrator();
  read(['Starting detector...', 'ERROR: cannot read the order']);
  assert.throws(
    () => narrates.ended('build', { ...WELL, exitCode: 3 }),
    failsWith('BUILD_FAILED', /^the detection exited 3/),
  );
});

test('if the cluster has dropped the beginning of the output, the rest is shown as output of the build', () => {
  const { narrates, said, read } = narrator();
  read(['compiling 8000 of 9000', 'compiling 8001 of 9000']);
  narrates.ended('build', WELL);
  assert.match(said.join('\n'), /Lines .* may be missing/);
  assert.ok(said.includes('compiling 8001 of 9000'));
});

test('a line that a bin/detect prints and that looks like the first line of the builder does not count as the end of the detection', () => {
  const { narrates, said, read } = narrator();
  read([...DETECTOR.slice(0, 4), 'Starting builder...', ...DETECTOR.slice(4), ...BUILDER]);
  narrates.ended('build', WELL);
  assert.equal(said.filter((line) => line.includes('python 3.11')).length, 1);
  assert.ok(said.includes('-----> Using Python 3.11.2'));
});

test('an inspection in the cluster reports what was detected', () => {
  const { narrates, said, read } = narrator({ isInspection: true });
  read(DETECTOR);
  narrates.ended('build', WELL);
  assert.match(said.join('\n'), /python 3\.11/);
});
