import assert from 'node:assert/strict';
import { access, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ABuilder } from '../support/a-builder.ts';
import { SampleBuildpacks, webProcess } from '../support/sample-buildpacks.ts';
import { artifactsOf, aSource, failsWith, withBuilder } from '../support/with-builder.ts';

const source = aSource();

test('bin/detect and bin/build run in the workspace, with the variables of the Buildpack API', async () => {
  const asked = 'pwd; cat file.txt; echo "$CNB_TARGET_OS $CNB_TARGET_ARCH $CNB_TARGET_DISTRO_NAME"';
  const show = `${asked}; ls "$CNB_PLATFORM_DIR/env" "$CNB_BUILDPACK_DIR"; test "$2" = "$CNB_PLATFORM_DIR"; test "$3" = "$CNB_BP_PLAN_PATH"; test "$1" = "$CNB_LAYERS_DIR"; ${webProcess}`;
  const detect = `test "$(cat file.txt)" = 'of the tool'; test "$2" = "$CNB_BUILD_PLAN_PATH"; test "$1" = "$CNB_PLATFORM_DIR"; echo seen`;
  await withBuilder({ one: { detect, build: show } }, async (builder) => {
    await builder.build(source.folder, { configVars: { GREETING: 'hello' } });
    assert.match(
      builder.said,
      /Detecting buildpacks\n {7}seen\n {7}builds with [a-z]+\n-----> Building \(limit 10 min\)/,
    );
    assert.match(builder.said, /of the tool\n {7}linux (amd64|arm64) debian\n/);
    assert.match(builder.said, /GREETING\n/);
    assert.match(builder.said, /buildpack\.toml/);
    if (builder.sandbox.mode === 'isolated') assert.match(builder.said, / {7}\/workspace\n/);
  });
});

test('an isolated build trusts the certificate authorities of the machine, unless a config var names others', async () => {
  const build = `cmp "$SSL_CERT_FILE" /etc/ssl/certs/ca-certificates.crt && test "$PIP_CERT" = /own.pem && echo "trusted $GIT_SSL_CAINFO"; ${webProcess}`;
  await withBuilder({ one: { build } }, async (builder) => {
    if (builder.sandbox.mode !== 'isolated') return;
    await builder.build(source.folder, { configVars: { PIP_CERT: '/own.pem' } });
    assert.match(builder.said, /trusted \/etc\/ssl\/certs\/ca-certificates\.crt\n/);
  });
});

test('a buildpack gets its plan entries, and the programs and variables of earlier buildpacks’ layers for builds, but not of layers only for launch', async () => {
  const one = `mkdir -p "$CNB_LAYERS_DIR/l/bin" "$CNB_LAYERS_DIR/l/env" "$CNB_LAYERS_DIR/not/env"
    printf '#!/bin/sh\\necho tool of one\\n' >"$CNB_LAYERS_DIR/l/bin/of-one"; chmod +x "$CNB_LAYERS_DIR/l/bin/of-one"
    printf yes >"$CNB_LAYERS_DIR/l/env/FROM_ONE"; printf yes >"$CNB_LAYERS_DIR/not/env/NOT"
    printf '[types]\\nbuild = true\\n' >"$CNB_LAYERS_DIR/l.toml"; printf '[types]\\nlaunch = true\\n' >"$CNB_LAYERS_DIR/not.toml"
    cat "$CNB_BP_PLAN_PATH"`;
  const provides = `printf '[[provides]]\\nname = "x"\\n' >"$CNB_BUILD_PLAN_PATH"`;
  const requires = `printf '[[requires]]\\nname = "x"\\nmetadata = { version = "7" }\\n' >"$CNB_BUILD_PLAN_PATH"`;
  await withBuilder(
    {
      one: { detect: provides, build: one },
      two: { detect: requires, build: `of-one; echo "$FROM_ONE \${NOT:-no}"; ${webProcess}` },
    },
    async (builder) => {
      const artifact = await builder.build(source.folder);
      assert.match(builder.said, /\[\[entries\]\]\n {7}name = "x"/);
      assert.match(builder.said, /version = "7"/);
      assert.match(builder.said, /tool of one\n {7}yes no\n/);
      assert.deepEqual(await readdir(join(artifact.reference, 'layers/sample_one')), ['not', 'not.toml']);
    },
  );
});

test('a buildpack gets config vars in its environment, but a buildpack with clear-env gets them only as files in its platform folder', async () => {
  await withBuilder(
    {
      one: { build: `echo "one: \${COLOUR:-none}"` },
      two: {
        isEnvCleared: true,
        build: `echo "two: \${COLOUR:-none} $(cat "$CNB_PLATFORM_DIR/env/COLOUR")"; ${webProcess}`,
      },
    },
    async (builder) => {
      await builder.build(source.folder, { configVars: { COLOUR: 'blue' } });
      assert.match(builder.said, /one: blue\n {7}two: none blue\n/);
    },
  );
});

test('each build gets the same SOURCE_DATE_EPOCH, unless a config var sets another', async () => {
  const build = `echo "date: $SOURCE_DATE_EPOCH"; ${webProcess}`;
  await withBuilder({ one: { build } }, async (builder) => {
    await builder.build(source.folder);
    assert.match(builder.said, /date: 315532801\n/);
    await builder.build(source.folder, { configVars: { SOURCE_DATE_EPOCH: '1' } });
    assert.match(builder.said, /date: 1\n/);
  });
});

test('threat 53: a variable of the server’s own environment does not reach a build', async () => {
  process.env['SERVER_SECRET_FOR_TEST'] = 'leaked';
  await withBuilder({ one: { build: `env; ${webProcess}` } }, async (builder) => {
    await builder.build(source.folder);
    assert.doesNotMatch(builder.said, /SERVER_SECRET_FOR_TEST|leaked/);
  });
});

test('threat 63: values of config vars are masked in the output and in the error of a build', async () => {
  const build = `echo "key is $API_KEY"; printf "%s" "\${API_KEY:0:5}"; sleep 0.2; echo "\${API_KEY:5}"; exit 3`;
  await withBuilder({ one: { build } }, async (builder) => {
    await assert.rejects(
      builder.build(source.folder, { configVars: { API_KEY: 'very-secret-key' } }),
      failsWith('BUILD_FAILED', /^one exited 3: \[config var API_KEY\]$/),
    );
    assert.match(builder.said, /key is \[config var API_KEY\]/);
    assert.doesNotMatch(builder.said, /secret/);
  });
});

test('a failed build leaves no artifact, and the next build sees no file of the failed build', async () => {
  const build = `echo x >made-by-build; test ! -e "$CNB_LAYERS_DIR/old"; mkdir "$CNB_LAYERS_DIR/old"; ${webProcess}; exit "\${STATUS:-0}"`;
  await withBuilder({ one: { build } }, async (builder) => {
    await assert.rejects(
      builder.build(source.folder, { configVars: { STATUS: '1' } }),
      failsWith('BUILD_FAILED', /^one exited 1/),
    );
    assert.deepEqual(await artifactsOf(builder), []);
    await builder.build(source.folder);
    assert.deepEqual(await artifactsOf(builder), ['build-2']);
    const kept = await readdir(join(builder.data, 'artifacts/wikibot/build-2'));
    assert.deepEqual(kept.sort(), ['complete', 'layers', 'outline', 'workspace']);
  });
});

test('threat 213: a program beside the server replaces equal files of layers by one file, and the build goes on if this program fails', async () => {
  const build = `mkdir "$CNB_LAYERS_DIR/l"; echo shared >"$CNB_LAYERS_DIR/l/file"; touch -d @1000000000 "$CNB_LAYERS_DIR/l/file"
    printf '[types]\\nlaunch = true\\n[metadata]\\nshared = true\\n' >"$CNB_LAYERS_DIR/l.toml"; ${webProcess}`;
  await withBuilder({ one: { build } }, async (builder) => {
    const linksAfterBuild = async () => {
      const { reference } = await builder.build(source.folder);
      return (await stat(join(reference, 'layers/sample_one/l/file'))).nlink;
    };
    assert.equal(await linksAfterBuild(), 2);
    assert.equal(await linksAfterBuild(), 3);
    await rm(join(builder.data, 'shared'), { recursive: true });
    await writeFile(join(builder.data, 'shared'), 'not a folder');
    assert.equal(await linksAfterBuild(), 1);
  });
});

test('threat 213: the next build reads the metadata of the last layers from a copy that no process of the tool sees, not from files that processes see', async () => {
  const build = `cat "$CNB_LAYERS_DIR/l.toml" 2>/dev/null || echo no layer; mkdir "$CNB_LAYERS_DIR/l"
    printf '[types]\\nlaunch = true\\n[metadata]\\nnote = "kept"\\n' >"$CNB_LAYERS_DIR/l.toml"; ${webProcess}`;
  await withBuilder({ one: { build } }, async (builder) => {
    const { reference } = await builder.build(source.folder);
    assert.match(builder.said, /no layer\n/);
    await rm(join(reference, 'layers/sample_one'), { recursive: true });
    await builder.build(source.folder);
    assert.match(builder.said, /note = "kept"\n/);
  });
});

test('a build with the id of an existing artifact fails, and the artifact stays', async () => {
  await withBuilder({ one: { build: webProcess } }, async (builder) => {
    const { reference } = await builder.build(source.folder, { id: 'same' });
    await assert.rejects(builder.build(source.folder, { id: 'same' }), { code: 'EEXIST' });
    await access(join(reference, 'workspace/file.txt'));
  });
});

test('threat 65: an artifact has no set-user bits, no pipes, no sockets, and no files that other users may write', async () => {
  const build = `cp /bin/true suid; chmod 6755 suid; mkfifo pipe; mkfifo "$CNB_LAYERS_DIR/pipe"; chmod 777 file.txt
    mkdir closed; echo x >closed/inner; chmod 0 closed
    python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'; ${webProcess}`;
  await withBuilder({ one: { build } }, async (builder) => {
    const { reference } = await builder.build(source.folder);
    const workspace = join(reference, 'workspace');
    assert.deepEqual((await readdir(workspace)).sort(), ['closed', 'file.txt', 'suid']);
    assert.equal((await stat(join(workspace, 'suid'))).mode & 0o7777, 0o755);
    assert.equal((await stat(join(workspace, 'file.txt'))).mode & 0o022, 0);
    assert.equal(await readFile(join(workspace, 'closed/inner'), 'utf8'), 'x\n');
    await builder.builder.remove(builder.request(source.folder).tool, 'build-1');
    assert.deepEqual(await artifactsOf(builder), []);
  });
});

test('threat 39: the server does not follow links that a build puts in place of folders', async () => {
  const outside = await mkdtemp(join(tmpdir(), 'outside-'));
  await writeFile(join(outside, 'precious'), 'keep');
  await writeFile(join(outside, 'launch.toml'), '[[processes]]\ntype = "stolen"\ncommand = ["x"]\n');
  const build = `rm -rf "$CNB_LAYERS_DIR"; ln -s ${outside} "$CNB_LAYERS_DIR"; ln -s ${outside} "$CNB_LAYERS_DIR/../more"`;
  await withBuilder({ one: { build: `${build} || true` }, two: { build: webProcess } }, async (builder) => {
    const { processes, reference } = await builder.build(source.folder);
    assert.deepEqual(
      processes.map((process) => process.type),
      ['web'],
    );
    assert.deepEqual(await readdir(join(reference, 'layers')), ['sample_two']);
    assert.equal(await readFile(join(outside, 'precious'), 'utf8'), 'keep');
  });
  await rm(outside, { recursive: true });
});

for (const { name, build, why } of [
  {
    name: 'a launch.toml that is not TOML',
    build: 'echo "[" >"$CNB_LAYERS_DIR/launch.toml"',
    why: /launch\.toml cannot be used/,
  },
  {
    name: 'a layer file with its types outside of the table [types]',
    build: 'mkdir "$CNB_LAYERS_DIR/l"; echo "launch = true" >"$CNB_LAYERS_DIR/l.toml"',
    why: /l\.toml cannot be read/,
  },
  {
    name: 'a command that is a text, not a list',
    build: `printf '[[processes]]\\ntype = "web"\\ncommand = "x"\\n' >"$CNB_LAYERS_DIR/launch.toml"`,
    why: /launch\.toml cannot be used/,
  },
  {
    name: 'a process type that is a path',
    build: `printf '[[processes]]\\ntype = "../x"\\ncommand = ["x"]\\n' >"$CNB_LAYERS_DIR/launch.toml"`,
    why: /cannot be a process type/,
  },
  {
    name: 'two default processes',
    build: `printf '[[processes]]\\ntype = "a"\\ncommand = ["x"]\\ndefault = true\\n[[processes]]\\ntype = "b"\\ncommand = ["x"]\\ndefault = true\\n' >"$CNB_LAYERS_DIR/launch.toml"`,
    why: /more than one process is the default/,
  },
  {
    name: 'a launch layer without content',
    build: `printf '[types]\\nlaunch = true\\n' >"$CNB_LAYERS_DIR/l.toml"; ${webProcess}`,
    why: /has no content/,
  },
  {
    name: 'a build.toml with an unmet dependency that the build plan does not ask for',
    build: `printf '[[unmet]]\\nname = "x"\\n' >"$CNB_LAYERS_DIR/build.toml"`,
    why: /build\.toml names x as unmet, but the server did not ask/,
  },
]) {
  test(`a buildpack that breaks the rules of the Buildpack API fails the build with the reason: ${name}`, async () => {
    await withBuilder({ one: { build } }, async (builder) => {
      await assert.rejects(builder.build(source.folder), failsWith('BUILD_FAILED', why));
    });
  });
}

test('a process with working-dir in launch.toml starts in this folder, and the args of the process follow its command', async () => {
  const build = `printf '[[processes]]\\ntype = "web"\\ncommand = ["a", "b"]\\nargs = ["c"]\\nworking-dir = "/tmp"\\n' >"$CNB_LAYERS_DIR/launch.toml"`;
  await withBuilder({ one: { build } }, async (builder) => {
    const { processes } = await builder.build(source.folder);
    assert.deepEqual(processes[0]?.command.slice(-4), ['/tmp', 'a', 'b', 'c']);
  });
});

test('if a required bin/detect fails, the next group of buildpacks is tried, and the failure is shown', async () => {
  const order =
    '[[order]]\n[[order.group]]\nid = "sample/broken"\n[[order]]\n[[order.group]]\nid = "sample/good"\n';
  await using buildpacks = await SampleBuildpacks.write(
    { broken: { detect: 'echo oh no; exit 7', build: '' }, good: { build: webProcess } },
    order,
  );
  await using builder = await ABuilder.open({ buildpacks: buildpacks.folder });
  const { buildpacks: took } = await builder.build(source.folder);
  assert.deepEqual(took, ['sample/good 1']);
  assert.match(builder.said, /The bin\/detect of the buildpack broken failed[^\n]*\n {7}oh no\n/);
});

test('if no buildpack detects the tool, the reason is a broken bin/detect if there is one; otherwise the push shows what each bin/detect printed', async () => {
  await withBuilder({ broken: { detect: 'echo oh no; exit 7', build: '' } }, async (builder) => {
    await assert.rejects(
      builder.build(source.folder),
      failsWith('BUILD_FAILED', /detection of broken exited 7: oh no/),
    );
  });
  await withBuilder({ picky: { detect: 'echo I want more; exit 100', build: '' } }, async (builder) => {
    await assert.rejects(builder.build(source.folder), failsWith('NO_BUILDPACK', /file\.txt/));
    assert.match(builder.said, /picky: I want more/);
  });
  const leftAside = { detect: 'echo note: a.json is not used: it is broken; exit 100', build: '' };
  await withBuilder({ leftAside }, async (builder) => {
    const why = /^no buildpack recognises this tool\. a\.json is not used: it is broken\. At the top/;
    await assert.rejects(builder.build(source.folder), failsWith('NO_BUILDPACK', why));
  });
});

test('warming up copies the buildpacks before the first build; if this fails, the first build reports the error', async () => {
  await withBuilder({ one: { build: webProcess } }, async (builder) => {
    const copies = join(builder.data, 'buildpacks');
    await writeFile(copies, 'in the way');
    await builder.builder.warmUp();
    await assert.rejects(builder.build(source.folder), { code: 'EEXIST' });
    await rm(copies);
    await builder.builder.warmUp();
    const [copy] = await readdir(copies);
    assert.deepEqual(await readdir(join(copies, `${copy}`)), ['one', 'order.toml']);
    await builder.build(source.folder);
  });
});
