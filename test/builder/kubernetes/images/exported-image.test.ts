import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readLabels } from '../../../../src/builder/kubernetes/images/exported-image.ts';

const label = (build: unknown, layers: unknown = {}) => ({
  'io.buildpacks.build.metadata': JSON.stringify(build),
  'io.buildpacks.lifecycle.metadata': JSON.stringify(layers),
});

test('the processes of an image are read from a label of the image, sorted by type, with their arguments and working directory', () => {
  const { processes } = readLabels(
    label({
      processes: [
        {
          type: 'worker',
          command: ['python3'],
          args: ['w.py'],
          'working-dir': '/workspace/w',
          buildpackID: 'a',
        },
        { type: 'web', command: ['gunicorn', 'app:app'], args: null },
        { type: 'cron', command: 'one-word', args: [] },
      ],
      'buildpack-default-process-type': 'web',
    }),
  );
  assert.deepEqual(processes, [
    { type: 'cron', command: ['one-word'], isDefault: false },
    { type: 'web', command: ['gunicorn', 'app:app'], isDefault: true },
    {
      type: 'worker',
      command: ['/bin/sh', '-c', 'cd -- "$0" && exec "$@"', '/workspace/w', 'python3', 'w.py'],
      isDefault: false,
    },
  ]);
});

test('a buildpack is listed with the version of the runtime that it installed, otherwise with its own version', () => {
  const { buildpacks } = readLabels(
    label(
      {
        buildpacks: [
          { id: 'toolforge/python', version: '0.1.0' },
          { id: 'toolforge/procfile', version: '0.2.0' },
        ],
      },
      {
        buildpacks: [
          {
            key: 'toolforge/python',
            layers: {
              z: { launch: true, data: { version: '9' } },
              b: { launch: true, data: { version: '3.11.2' } },
              a: { launch: false, data: { version: '1' } },
            },
          },
        ],
      },
    ),
  );
  assert.deepEqual(buildpacks, ['toolforge/python 3.11.2', 'toolforge/procfile 0.2.0']);
});

test('if a buildpack names an invalid version of what it installed, the artifact lists the version of the buildpack', () => {
  const layers = {
    buildpacks: [{ key: 'a/b', layers: { l: { launch: true, data: { version: 'x\n y' } } } }],
  };
  const { buildpacks } = readLabels(label({ buildpacks: [{ id: 'a/b', version: '1' }] }, layers));
  assert.deepEqual(buildpacks, ['a/b 1']);
});

test('an invalid process type in an image is reported as the buildpack’s fault', () => {
  const build = { processes: [{ type: 'Web Server', command: ['x'], args: [], buildpackID: 'a/b' }] };
  assert.throws(() => readLabels(label(build)), { code: 'BUILD_FAILED', message: /a\/b .*"Web Server"/ });
});

test('threat 66: of thousands of buildpacks in the labels of an image, only 50 are kept, each with at most 200 characters', () => {
  const many = Array.from({ length: 10_000 }, () => ({ id: 'a', version: 'x'.repeat(50) }));
  const layers = Object.fromEntries(
    many.slice(0, 100).map((_, index) => [`l${index}`, { launch: true, data: {} }]),
  );
  const long = { id: 'b', version: 'x'.repeat(1000) };
  const { buildpacks } = readLabels(
    label({ buildpacks: [long, ...many] }, { buildpacks: [{ key: 'a', layers }] }),
  );
  assert.deepEqual([buildpacks.length, buildpacks[0]?.length], [50, 200]);
});

test('an image without labels has no processes', () => {
  assert.deepEqual(readLabels({}), { processes: [], buildpacks: [] });
});

test('threat 201: a build whose image has labels that are too large or of an invalid form fails with one clear sentence', () => {
  const empty = Array.from({ length: 5000 }, (_, index) => ({ type: `a${index}`, command: [] }));
  for (const [processes, why] of [
    [empty, /cannot be used: processes\.0\.command: .{1,100}$/],
    [Array(20).fill(empty).flat(), /more than 1 MiB$/],
  ] as const)
    assert.throws(
      () => readLabels(label({ processes })),
      (error: Error & { code?: string }) => error.code === 'BUILD_FAILED' && why.test(error.message),
    );
});

test('threat 201: a build whose image has a label that is not JSON fails with one clear sentence', () => {
  for (const name of Object.keys(label({}, {})))
    assert.throws(() => readLabels({ ...label({}, {}), [name]: '{"processes": [' }), {
      code: 'BUILD_FAILED',
      message: `the label ${name} of the built image cannot be used: it is not JSON`,
    });
});
