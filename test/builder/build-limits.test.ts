import assert from 'node:assert/strict';
import { test } from 'node:test';
import { webProcess } from './sample-buildpacks.ts';
import { artifactsOf, aSource, failsWith, withBuilder } from './with-builder.ts';

const source = aSource();

test('cancelling ends a build with an AbortError, and everything that it started', async () => {
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
  test(`threat 61: what a buildpack leaves running in the background is ended with it (${sandbox})`, async () => {
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
  test(`config vars that together are larger than a program can be given are told as such (${sandbox})`, async () => {
    const configVars = Object.fromEntries(
      Array.from({ length: 100 }, (_, n) => [`V${n}`, 'x'.repeat(32_000)]),
    );
    await withBuilder(
      { one: { build: webProcess } },
      async (builder) => {
        await assert.rejects(
          builder.build(source.folder, { configVars }),
          failsWith('NOT_PASSABLE', /too large to start a program with/),
        );
        assert.deepEqual(await artifactsOf(builder), []);
      },
      { sandbox },
    );
  });
}

test('threat 60: the time limit ends a build and is named', async () => {
  await withBuilder(
    { slow: { build: 'sleep 1000' } },
    async (builder) => {
      await assert.rejects(
        builder.build(source.folder),
        failsWith('BUILD_TIMED_OUT', /limit of 3 s \(build_time\), during slow/),
      );
      assert.deepEqual(await artifactsOf(builder), []);
    },
    { limits: { build_time: 3000 } },
  );
});

test('an artifact over its limit fails the build by name, with the largest places, and leaves nothing', async () => {
  await withBuilder(
    { big: { build: `head -c 6000000 /dev/urandom > data; ${webProcess}` } },
    async (builder) => {
      await assert.rejects(
        builder.build(source.folder),
        failsWith(
          'BUILD_TOO_LARGE',
          /has 6 MiB, more than its limit of 4 MiB \(artifact_size\)\. Largest: \/workspace\/data \(6 MiB\)/,
        ),
      );
      assert.deepEqual(await artifactsOf(builder), []);
    },
    { limits: { artifact_size: 4 * 1024 * 1024 } },
  );
});

test('a silent build says that it goes on, and how long it still may', async () => {
  await withBuilder(
    { quiet: { build: `sleep 1.2; ${webProcess}` } },
    async (builder) => {
      await builder.build(source.folder);
      assert.match(builder.said, /still running: quiet, \d+ s, 9 min left/);
    },
    { quietMs: 300 },
  );
});

test('threat 60: files without a name count against the disk limit of a build', async () => {
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

test('threat 60: the disk limit ends a build and names the largest folders', async () => {
  const build =
    'mkdir data; for n in 1 2 3 4 5 6; do dd if=/dev/zero of=data/$n bs=1M count=10 status=none; done; sleep 1000';
  await withBuilder(
    { big: { build } },
    async (builder) => {
      await assert.rejects(
        builder.build(source.folder),
        failsWith(
          'BUILD_OUT_OF_DISK',
          /limit of 32 MiB of disk \(build_disk\)\. Largest: \/workspace\/data \(\d+ MiB\)/,
        ),
      );
      assert.deepEqual(await artifactsOf(builder), []);
    },
    { limits: { build_disk: 32 * 1024 * 1024 } },
  );
});

test('threat 60: one file larger than the disk limit is told so by name', async () => {
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

test('threat 60: the output limit ends a build, and memory stays small', async () => {
  await withBuilder(
    { loud: { build: 'yes "some line of output" | head -c 50000000; sleep 1000' } },
    async (builder) => {
      await assert.rejects(
        builder.build(source.folder),
        failsWith('BUILD_TOO_MUCH_OUTPUT', /limit of 2 MiB \(build_output\), during loud/),
      );
    },
    { limits: { build_output: 2 * 1024 * 1024 } },
  );
});

test('threat 60: a fork bomb ends in an error that names the limit', async () => {
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

test('threat 60: a build that needs too much memory is told so by name', async () => {
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
