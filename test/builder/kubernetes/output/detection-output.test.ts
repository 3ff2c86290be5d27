import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DetectionOutput } from '../../../../src/builder/kubernetes/output/detection-output.ts';
import { progressTo } from '../../../../src/core/progress.ts';
import { failsWith } from '../../support/with-builder.ts';

// The lines that the detector of lifecycle 0.21 prints at `-log-level debug`.
const FOUND = `
Starting detector...
Parsing inputs...
Ensuring privileges...
Executing command...
Timer: Detector started at 2026-11-24T18:30:00Z
======== Output: toolforge/python@0.1.0 ========
python 3.11 (service.template)
======== Output: toolforge/node@0.1.0 ========
note: package.json is only for linters
======== Output: toolforge/broken@0.1.0 ========
it says why
======== Error: toolforge/broken@0.1.0 ========
exit status 5
======== Results ========
skip: toolforge/apt@0.1.0
pass: toolforge/python@0.1.0
pass: toolforge/pip@0.1.0
skip: toolforge/node@0.1.0
err:  toolforge/broken@0.1.0 (5)
pass: toolforge/unused@0.1.0
Resolving plan... (try #1)
skip: toolforge/unused@0.1.0 provides unused thing
2 of 6 buildpacks participating
toolforge/python 0.1.0
toolforge/pip    0.1.0
Timer: Detector ran for 14.1ms and ended at 2026-11-24T18:30:00Z
`;

const NOTHING = `
======== Output: toolforge/node@0.1.0 ========
note: package.json is only for linters
======== Results ========
fail: toolforge/python@0.1.0
skip: toolforge/node@0.1.0
======== Output: toolforge/node@0.1.0 ========
note: package.json is only for linters
======== Results ========
fail: toolforge/node@0.1.0
ERROR: No buildpack groups passed detection.
`;

const nothing = { files: [], overlooked: [], warnings: [] };
const lost = {
  files: ['package.json', 'procfile.txt'],
  overlooked: ['procfile.txt is not used: rename it to Procfile (exactly this name)'],
  warnings: ['Git submodules are not supported.'],
};
const limits = { processes: null, memoryBytes: 2 ** 31, fileBytes: 2 ** 31 };

function reading(text: string): DetectionOutput {
  const output = new DetectionOutput();
  for (const line of text.trim().split('\n')) output.read(line);
  return output;
}

function said(speak: (progress: ReturnType<typeof progressTo>) => void): string[] {
  const lines: string[] = [];
  speak(progressTo((text) => lines.push(text.trimEnd())));
  return lines;
}

test('the report of the detection names what was found, what will build and start, then notes, then each bin/detect that failed', () => {
  assert.deepEqual(
    said((progress) => reading(FOUND).sayFound(progress, { webLine: 'gunicorn app:app' })),
    [
      '       python 3.11 (service.template) · pip',
      '       builds with python, pip; starts web: gunicorn app:app',
      '       package.json is only for linters',
      ' !     The bin/detect of the buildpack broken failed; the build continues without this buildpack.',
      '       it says why',
      '       exit status 5',
    ],
  );
});

test('if several groups of buildpacks were tried, the group that passed is reported', () => {
  const second = FOUND.replaceAll('toolforge/pip', 'toolforge/npm');
  const [first] = said((progress) => reading(NOTHING + second).sayFound(progress, { webLine: null }));
  assert.equal(first, '       python 3.11 (service.template) · npm');
});

test('if no buildpack detects the tool, the push shows each bin/detect’s output once and what each language needs; the refusal repeats notes and file names', () => {
  const lines = said((progress) =>
    assert.throws(
      () => reading(NOTHING).failFound(progress, { source: lost, named: [], limits }),
      failsWith(
        'NO_BUILDPACK',
        /only for linters\. procfile\.txt is not used: .* package\.json, procfile\.txt/,
      ),
    ),
  );
  assert.deepEqual(lines, [
    '       Looked for, at the top of the repository:',
    '         Python: requirements.txt, pyproject.toml, Pipfile, setup.py, or a file that ends in .py',
    '         Node: package.json with dependencies, a build script or a start script',
    '       node: package.json is only for linters',
    ' !     Git submodules are not supported.',
  ]);
});

test('if no buildpack detects the tool and a bin/detect broke, the push names this bin/detect and its error as the reason', () => {
  const broken = `${NOTHING}\n======== Output: a/b@1 ========\nBoom: it cannot\n======== Results ========\nerr:  a/b@1 (3)`;
  said((progress) =>
    assert.throws(
      () => reading(broken).failFound(progress, { source: nothing, named: [], limits }),
      failsWith('BUILD_FAILED', /^the detection of b exited 3: Boom: it cannot$/),
    ),
  );
});

test('only the first 100 lines of a detection with endless output are kept', () => {
  const output = reading('======== Output: a/b@1 ========');
  for (let line = 0; line < 10_000; line += 1) output.read(`line ${line}`);
  for (const line of ['======== Results ========', 'fail: a/b@1']) output.read(line);
  const lines = said((progress) =>
    assert.throws(() => output.failFound(progress, { source: nothing, named: [], limits })),
  );
  assert.equal(lines.length, 100);
});
