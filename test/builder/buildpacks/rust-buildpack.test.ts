import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFile, readlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { execa } from 'execa';
import { ASource } from './run-buildpack.ts';

/** The folder of this machine's cargo and rustc, or null. */
function rustFolder(): string | null {
  try {
    const root = execFileSync('rustc', ['--print', 'sysroot'], { encoding: 'utf8', stdio: 'pipe' }).trim();
    execFileSync(join(root, 'bin/cargo'), ['--version'], { stdio: 'pipe' });
    return join(root, 'bin');
  } catch {
    return null;
  }
}

const rust = rustFolder();
const skip = rust === null ? 'cargo and rustc are not installed' : false;
const environment = {
  PATH: `${rust}:/usr/local/bin:/usr/bin:/bin`,
  // Nothing answers at this address.
  RUSTUP_DIST_SERVER: 'http://127.0.0.1:9',
  CARGO_NET_OFFLINE: 'true',
};

const program = (text: string) => `fn main() {\n    println!("${text}");\n}\n`;
const manifest = (name: string, more = '') =>
  `[package]\nname = "${name}"\nversion = "0.1.0"\nedition = "2021"\n${more}`;
const lock = (...names: string[]) =>
  `version = 3\n${names.map((name) => `\n[[package]]\nname = "${name}"\nversion = "0.1.0"\n`).join('')}`;
const wikibot = {
  'Cargo.toml': manifest('wikibot'),
  'Cargo.lock': lock('wikibot'),
  'src/main.rs': program('one'),
};

test('rust: the only program is the web process, has a symbolic link in target/release, and is compiled again after a change of its source', {
  skip,
}, async () => {
  await using source = await ASource.of(wikibot);
  assert.equal((await source.run('rust', 'detect')).output, 'rust');
  const built = await source.run('rust', 'build', environment);
  assert.equal(built.code, 0, built.output);
  assert.match(built.output, /web: wikibot \(to change it, add a Procfile\)/);
  assert.deepEqual(await source.processes(), { web: ['wikibot'] });
  const command = join(source.layers, 'commands/bin/wikibot');
  assert.equal(await readlink(join(source.folder, 'target/release/wikibot')), command);
  const main = join(source.folder, 'src/main.rs');
  await writeFile(main, program('two'));
  // Makes the source older than the objects of the first build.
  await utimes(main, 1_000_000_000, 1_000_000_000);
  const again = await source.run('rust', 'build', environment);
  assert.equal(again.code, 0, again.output);
  assert.equal((await execa(command)).stdout, 'two');
});

const members = {
  'Cargo.toml': '[workspace]\nmembers = ["api", "jobs"]\nresolver = "2"\n',
  'Cargo.lock': lock('api', 'jobs'),
  'jobs/Cargo.toml': manifest('jobs'),
  'jobs/src/main.rs': program('jobs'),
  'api/src/main.rs': program('api'),
  'api/src/bin/import.rs': program('import'),
};

test('rust: all programs of a workspace are in PATH, and default-run names the web process', {
  skip,
}, async () => {
  await using source = await ASource.of({
    ...members,
    'api/Cargo.toml': manifest('api', 'default-run = "api"\n'),
  });
  const built = await source.run('rust', 'build', environment);
  assert.equal(built.code, 0, built.output);
  assert.match(built.output, /commands: api import jobs\n\s+web: api \(.* such as `web: import`\)/);
  assert.deepEqual(await source.processes(), { web: ['api'] });
});

test('rust: if nothing says which program of a workspace serves, the push asks for a Procfile', {
  skip,
}, async () => {
  await using source = await ASource.of({ ...members, 'api/Cargo.toml': manifest('api') });
  const built = await source.run('rust', 'build', environment);
  assert.equal(built.code, 0, built.output);
  assert.match(built.output, / !\s+No file says which of the commands serves requests: .*`web: api`/);
});

test('rust: a tool that has a Procfile and waits for no requests gets no web process', {
  skip,
}, async () => {
  await using source = await ASource.of({ ...wikibot, Procfile: 'worker: wikibot\n' });
  const built = await source.run('rust', 'build', environment);
  assert.equal(built.code, 0, built.output);
  await assert.rejects(readFile(join(source.layers, 'launch.toml')), { code: 'ENOENT' });
});

test('rust: if rustup cannot be reached, the installed version is used in place of the older version that the tool asks for, with a warning', {
  skip,
}, async () => {
  await using source = await ASource.of({
    ...wikibot,
    'rust-toolchain.toml': '[toolchain]\nchannel = "1.56.0"\n',
  });
  assert.equal((await source.run('rust', 'detect')).output, 'rust 1.56.0 (rust-toolchain.toml)');
  const built = await source.run('rust', 'build', environment);
  assert.equal(built.code, 0, built.output);
  assert.match(
    built.output,
    / !\s+rust-toolchain\.toml asks for Rust 1\.56\.0, .* does not answer\. Rust 1\.\d+/,
  );
});

test('rust: a version that the system lacks comes from rustup', { skip }, async () => {
  const rustup = `#!/bin/sh
mkdir -p "$CARGO_HOME/bin"
printf '#!/bin/sh\\necho "rustup $*"\\n' >"$CARGO_HOME/bin/rustup"
printf '#!/bin/sh\\necho "rustc 1.99.0-nightly (0 0)"\\n' >"$CARGO_HOME/bin/rustc"
printf '#!/bin/sh\\nprintf "#!/bin/sh\\\\n" >wikibot; chmod +x wikibot; echo "{\\\\"executable\\\\":\\\\"$PWD/wikibot\\\\"}"\\n' >"$CARGO_HOME/bin/cargo"
chmod +x "$CARGO_HOME"/bin/*
`;
  await using source = await ASource.of({
    ...wikibot,
    'rust-toolchain': 'nightly\n',
    [`rustup/dist/${process.arch === 'x64' ? 'x86_64' : 'aarch64'}-unknown-linux-gnu/rustup-init`]: rustup,
  });
  const built = await source.run('rust', 'build', {
    ...environment,
    RUSTUP_UPDATE_ROOT: `file://${source.folder}/rustup`,
  });
  assert.equal(built.code, 0, built.output);
  assert.match(
    built.output,
    /Installing Rust nightly\n\s+rustup toolchain install .*\n-----> Compiling with Rust 1\.99\.0-nightly/,
  );
});

for (const [title, change, says] of [
  [
    'code that does not compile',
    { 'src/main.rs': 'fn main() { nope(); }\n' },
    /E0425.*\n\s+--> src\/main\.rs:1:13/,
  ],
  [
    'a lock file that does not match Cargo.toml',
    {
      'Cargo.toml': manifest('wikibot', '[dependencies]\nshared = { path = "shared" }\n'),
      'shared/Cargo.toml': manifest('shared'),
      'shared/src/lib.rs': '',
    },
    / !\s+Cargo\.lock does not match Cargo\.toml: run `cargo update --workspace`/,
  ],
  [
    'a version that is not available',
    { 'rust-toolchain': 'nightly\n' },
    / !\s+rust-toolchain asks for Rust nightly, which cannot be downloaded, because http:\/\/127\.0\.0\.1:9 does not answer\. This server has Rust [\d.]+: delete/,
  ],
  [
    'a word that is not a version',
    { 'rust-toolchain.toml': '[toolchain]\nchannel = "newest"\n' },
    / !\s+rust-toolchain\.toml asks for Rust "newest", which is not a version/,
  ],
  [
    'an edition that does not exist',
    { 'Cargo.toml': manifest('wikibot').replace('2021', '2022') },
    /supported edition values are .* but `2022` is unknown/,
  ],
  [
    'a program that needs a feature which is off',
    {
      'Cargo.toml': manifest(
        'wikibot',
        '[[bin]]\nname = "wikibot"\npath = "src/main.rs"\nrequired-features = ["server"]\n[features]\nserver = []\n',
      ),
    },
    / !\s+Cargo made no program/,
  ],
] as const) {
  test(`rust: the build fails with the reason: ${title}`, { skip }, async () => {
    await using source = await ASource.of({ ...wikibot, ...change });
    const built = await source.run('rust', 'build', environment);
    assert.notEqual(built.code, 0, built.output);
    assert.match(built.output, says);
  });
}

test('rust: a library is not used, nor is a Cargo.toml that is not at the top', async () => {
  await using library = await ASource.of({ 'Cargo.toml': manifest('fast'), 'src/lib.rs': '' });
  const { code, output } = await library.run('rust', 'detect');
  assert.deepEqual(
    [code, output],
    [100, 'note: Cargo.toml is not used, because it has no program (src/main.rs, src/bin or [[bin]])'],
  );
  await using below = await ASource.of({ 'server/Cargo.toml': manifest('server') });
  assert.match((await below.run('rust', 'detect')).output, /^note: server\/Cargo\.toml is not used/);
});

test('rust: a program that Trunk compiles for browsers is not compiled, and its dist is a static site', async () => {
  const page = { ...wikibot, 'index.html': '<link data-trunk rel="rust" />' };
  await using source = await ASource.of(page);
  const { code, output } = await source.run('rust', 'detect');
  assert.equal(code, 100);
  assert.match(output, /^note: Cargo\.toml is not used, because Trunk .* run `trunk build --release`/);
  assert.equal((await source.run('static', 'detect')).code, 100);
  await using compiled = await ASource.of({ ...page, 'dist/index.html': '' });
  const detected = await compiled.run('rust', 'detect');
  assert.deepEqual(detected, { ...detected, code: 100, output: '' });
  assert.equal((await compiled.run('static', 'detect')).output, 'static site (dist/index.html)');
  assert.match((await compiled.run('static', 'build')).output, /Serving 1 file of dist/);
});
