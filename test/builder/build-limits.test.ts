import assert from 'node:assert/strict';
import { test } from 'node:test';
import { webProcess } from './support/sample-buildpacks.ts';
import { artifactsOf, aSource, failsWith, withBuilder } from './support/with-builder.ts';

const source = aSource();

test('a cancelled build ends with an AbortError and leaves no artifact', async () => {
  const cancel = new AbortController();
  await withBuilder(
    { one: { build: '(sleep 1000 & sleep 1000) & echo started; sleep 1000' } },
    async (builder) => {
      const push = builder.lines.push.bind(builder.lines);
      const building = builder.builder.build(
        builder.request(source.folder),
        {
          ...builder.progress(),
          line: (text) => {
            push(text);
            if (text === 'started') cancel.abort();
          },
        },
        cancel.signal,
      );
      await assert.rejects(building, { name: 'AbortError' });
      assert.deepEqual(await artifactsOf(builder), []);
    },
  );
});

for (const sandbox of ['auto', 'trusted'] as const) {
  test(`threat 61: a build does not wait for background processes that a buildpack started (sandbox ${sandbox})`, async () => {
    const build = `(sleep 1000; echo late) & setsid sleep 1000 & ${webProcess}`;
    await withBuilder(
      { one: { build } },
      async (builder) => {
        await builder.build(source.folder);
        assert.doesNotMatch(builder.said, /late/);
      },
      { sandbox },
    );
  });
}

for (const sandbox of ['auto', 'trusted'] as const) {
  test(`config vars that together are too large for the environment of a program fail the build, and the error says so (sandbox ${sandbox})`, async () => {
    const configVars = Object.fromEntries(
      Array.from({ length: 100 }, (_, n) => [`V${n}`, 'x'.repeat(32_000)]),
    );
    await withBuilder(
      { one: { build: webProcess } },
      async (builder) => {
        await assert.rejects(
          builder.build(source.folder, { configVars }),
          failsWith('NOT_PASSABLE', /together are too large to start a program/),
        );
        assert.deepEqual(await artifactsOf(builder), []);
      },
      { sandbox },
    );
  });
}

test('threat 60: a build that takes too long is ended, and the error names the time limit', async () => {
  await withBuilder(
    { slow: { build: 'sleep 1000' } },
    async (builder) => {
      await assert.rejects(
        builder.build(source.folder),
        failsWith('BUILD_TIMED_OUT', /limit of 3 s \(build_time\) and was ended during slow/),
      );
      assert.deepEqual(await artifactsOf(builder), []);
    },
    { limits: { build_time: 3000 } },
  );
});

test('an artifact larger than the setting artifact_size allows fails the build; the error names its largest folders, and no artifact is left', async () => {
  await withBuilder(
    { big: { build: `head -c 6000000 /dev/urandom > data; ${webProcess}` } },
    async (builder) => {
      await assert.rejects(
        builder.build(source.folder),
        failsWith(
          'BUILD_TOO_LARGE',
          /has 6 MiB, more than the limit of 4 MiB \(artifact_size\)\. Its largest folders: \/workspace\/data \(6 MiB\)/,
        ),
      );
      assert.deepEqual(await artifactsOf(builder), []);
    },
    { limits: { artifact_size: 4 * 1024 * 1024 } },
  );
});

test('if a build prints nothing for a while, the push says that the build still runs and how much time is left', async () => {
  await withBuilder(
    { quiet: { build: `sleep 1.2; ${webProcess}` } },
    async (builder) => {
      await builder.build(source.folder);
      assert.match(builder.said, /still running: quiet, \d+ s; the build must end within 9 min/);
    },
    { quietMs: 300 },
  );
});

test('threat 60: deleted files that a process still holds open count against the disk limit of a build', async () => {
  const program = `import os, time
held = []
for _ in range(60):
    held.append(os.open('/tmp', os.O_TMPFILE | os.O_RDWR))
    os.write(held[-1], bytes(1 << 20))
time.sleep(1000)`;
  await withBuilder(
    { hiding: { build: `python3 -c "${program}"` } },
    async (builder) => {
      await assert.rejects(
        builder.build(source.folder),
        failsWith('BUILD_OUT_OF_DISK', /limit of 32 MiB of disk \(build_disk\)/),
      );
      assert.deepEqual(await artifactsOf(builder), []);
    },
    { limits: { build_disk: 32 * 1024 * 1024, build_time: 60_000 } },
  );
});

test('threat 60: a build over the disk limit is ended, and the error names the largest folders', async () => {
  const build =
    'mkdir data; for n in 1 2 3 4 5 6; do dd if=/dev/zero of=data/$n bs=1M count=10 status=none; done; sleep 1000';
  await withBuilder(
    { big: { build } },
    async (builder) => {
      await assert.rejects(
        builder.build(source.folder),
        failsWith(
          'BUILD_OUT_OF_DISK',
          /limit of 32 MiB of disk \(build_disk\)\. Its largest folders: \/workspace\/data \(\d+ MiB\)/,
        ),
      );
      assert.deepEqual(await artifactsOf(builder), []);
    },
    { limits: { build_disk: 32 * 1024 * 1024 } },
  );
});

test('threat 60: if a build writes a single file that is larger than the disk limit, the build fails, and the error names the buildpack', async () => {
  await withBuilder(
    { big: { build: 'dd if=/dev/zero of=file bs=1M count=40 status=none' } },
    async (builder) => {
      await assert.rejects(
        builder.build(source.folder),
        failsWith('BUILD_OUT_OF_DISK', /a single file, written by big/),
      );
    },
    { limits: { build_disk: 32 * 1024 * 1024 } },
  );
});

test('threat 60: a build that prints more than the setting build_output allows is ended, and the error names the limit', async () => {
  await withBuilder(
    { loud: { build: 'yes "some line of output" | head -c 50000000; sleep 1000' } },
    async (builder) => {
      await assert.rejects(
        builder.build(source.folder),
        failsWith('BUILD_TOO_MUCH_OUTPUT', /limit of 2 MiB \(build_output\) and was ended during loud/),
      );
    },
    { limits: { build_output: 2 * 1024 * 1024 } },
  );
});

test('threat 60: a fork bomb fails the build with an error that names the limit build_processes', async () => {
  await withBuilder(
    {
      bomb: {
        build: `python3 -c 'import os, time
for n in range(300):
    if os.fork() == 0: time.sleep(30)'`,
      },
    },
    async (builder) => {
      await assert.rejects(
        builder.build(source.folder),
        failsWith('BUILD_OUT_OF_PROCESSES', /limit of 64 \(build_processes\)/),
      );
    },
    { limits: { build_processes: 64 } },
  );
});

test('threat 60: a build that needs more memory than the setting build_memory allows fails, and the error names the limit', async () => {
  await withBuilder(
    { fat: { build: `python3 -c 'x = bytearray(1600 * 1024 * 1024); print(len(x))'` } },
    async (builder) => {
      await assert.rejects(
        builder.build(source.folder),
        failsWith('BUILD_OUT_OF_MEMORY', /limit of 256 MiB of memory \(build_memory\)/),
      );
    },
    { limits: { build_memory: 256 * 1024 * 1024 } },
  );
});
