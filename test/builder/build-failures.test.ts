import assert from 'node:assert/strict';
import { test } from 'node:test';
import { noBuildpack, stepFailed } from '../../src/builder/build-failures.ts';

const limits = { processes: 64, memoryBytes: 1024 ** 3, fileBytes: 1024 ** 3 };
const why = (...lastLines: string[]) =>
  stepFailed({ name: 'pip', code: 1, signal: null, isOutOfMemory: false, lastLines }, limits).message;

test('the reason that a push gives for a failed build step is the error line of the step, with the cause that follows', () => {
  const cause = 'Because flaskk was not found in the package registry, nothing can be installed.';
  const error = 'error: No solution found when resolving dependencies:';
  const told = `pip exited 1: No solution found when resolving dependencies: ${cause}`;
  assert.equal(why('Resolving', error, `  cause: ${cause}`), told);
  assert.equal(why('Resolving', error, `  ├─▶ first`, `  ╰─▶ ${cause}`), told);
  assert.equal(why('cause: of something before', error), `pip exited 1: ${error}`);
});

test('the reason of a failed build step has at most 160 characters: the error line and its cause if both fit, otherwise the one that fits, otherwise the beginning of the error line', () => {
  const long = 'x'.repeat(140);
  assert.equal(why(`error: ${long}`, 'cause: it is so'), `pip exited 1: ${long}: it is so`);
  assert.equal(why(`error: ${long}${long}`, 'cause: it is small'), 'pip exited 1: it is small');
  assert.equal(why('error: small', `cause: ${long}${long}`), 'pip exited 1: small');
  assert.equal(why(`error: ${long}${long}`), `pip exited 1: error: ${'x'.repeat(152)}…`);
});

test('without an error line, the reason of a failed build step is the last line with words; a final ` !` line of the buildpack wins over an error line', () => {
  assert.equal(why('one', 'two', '---'), 'pip exited 1: two');
  assert.equal(why('error: it failed', ' !     Use another version.'), 'pip exited 1: Use another version.');
});

test('if a build fails after a warning of a buildpack, the warning is not the reason of the failure', () => {
  const warning = ' !     The folder node_modules in the repository is not used. Remove it.';
  assert.equal(why(warning, '       npm error code ERESOLVE'), 'pip exited 1: ERESOLVE');
  assert.equal(
    why(warning, '-----> npm run build', 'src/a.ts: no such name'),
    'pip exited 1: src/a.ts: no such name',
  );
});

test('if the reason of a failed build step is a long ` !` line of a buildpack, the line is not cut, because it says what to do', () => {
  const lastLines = ['-----> Installing', ` !     ${'The file a.lock is old. '.repeat(12)}Make it again.`];
  const { message, hint } = stepFailed(
    { name: 'pip', code: 1, signal: null, isOutOfMemory: false, lastLines },
    limits,
  );
  assert.match(message, /Make it again\.$/);
  assert.equal(hint, 'Correct this, commit and push again.');
});

for (const line of [
  '       error in decorator setup command: use_2to3 is invalid.',
  '       yarl/_quoting.c:6:12: fatal error: longintrepr.h: No such file or directory',
  "       AttributeError: module 'pkgutil' has no attribute 'ImpImporter'. Did you mean: 'zipimporter'?",
  "       error: the configured Python interpreter version (3.13) is newer than PyO3's maximum supported version (3.12)",
  "       ModuleNotFoundError: No module named 'distutils'",
  '       SyntaxError: multiple exception types must be parenthesized',
  "       ModuleNotFoundError: No module named 'pkg_resources'",
  '       m.c:661:5: error: implicit declaration of function ‘Py_TRASHCAN_SAFE_END’; did you mean ‘Py_TRASHCAN_END’?',
  '       m.c:12:9: error: ‘PyTypeObject’ {aka ‘struct _typeobject’} has no member named ‘tp_print’',
  '       g.cpp:1341:36: error: ‘PyThreadState’ {aka ‘struct _ts’} has no member named ‘trash’',
  "       TypeError: ForwardRef._evaluate() missing 1 required keyword-only argument: 'recursive_guard'",
]) {
  test(`if a package is too old for the Python of the build, the hint says so: ${line.trim()}`, () => {
    const step = { name: 'pip', code: 1, signal: null, isOutOfMemory: false, lastLines: [line] };
    assert.match(
      stepFailed(step, limits).hint ?? '',
      /newer versions of the packages.* older Python in \.python-version/,
    );
  });
}

test('the reason of a failed build of Next.js is the error above the last line', () => {
  const lines = [
    'Failed to compile.',
    '`next/font` error:',
    'Failed to fetch `Inter` from Google Fonts.',
    '> Build failed because of webpack errors',
  ];
  const step = { name: 'npm', code: 1, signal: null, isOutOfMemory: false, lastLines: lines };
  assert.equal(
    stepFailed(step, limits).message,
    'npm exited 1: `next/font` error: Failed to fetch `Inter` from Google Fonts.',
  );
});

test('the hint about a package that is too old for the Python of the build names the package', () => {
  const lastLines = [
    '       × Failed to build `multidict==4.7.6`',
    '       m.c:661:5: error: implicit declaration of function ‘Py_TRASHCAN_SAFE_END’',
  ];
  const step = { name: 'pip', code: 1, signal: null, isOutOfMemory: false, lastLines };
  assert.match(
    stepFailed(step, limits).hint ?? '',
    /^multidict==4\.7\.6 is too old for the Python of this build\./,
  );
});

for (const [line, hint] of [
  [
    'cause: Expected direct URL (`https://github.com/a/b/zipball/c`) to end in a supported file extension: `.whl`',
    /ends in \.zip.*archive\/BRANCH\.zip/,
  ],
  [
    'cause: Because pywin32==306 has no wheels with a matching Python ABI tag (e.g., `cp313`) and you require pywin32==306, we can conclude that your requirements are unsatisfiable.',
    /^This version of the package cannot be installed on Linux with the Python of this build/,
  ],
  ['error: Distribution not found at: file:///home/conda/feedstock_root/work', /as Conda writes it/],
  [
    'cause: Because pkg-resources was not found in the package registry and you require pkg-resources==0.0.0, we can conclude that your requirements are unsatisfiable.',
    /on Ubuntu adds it by mistake\. Remove its line/,
  ],
  [
    'cause: Because python was not found in the package registry and',
    /write the version into a file \.python-version/,
  ],
  ['cause: Because my-python was not found in the package registry and', /^Check the name/],
] as const) {
  test(`if no index can fulfil a requirement, the hint says why and what to write: ${line.slice(0, 60)}`, () => {
    const step = { name: 'pip', code: 1, signal: null, isOutOfMemory: false, lastLines: [line] };
    assert.match(stepFailed(step, limits).hint ?? '', hint);
  });
}

test('if a buildpack refuses a tool with a ` !` line, the hint does not come from earlier output lines, unless they name a missing library', () => {
  const hint = (...lastLines: string[]) =>
    stepFailed({ name: 'python', code: 1, signal: null, isOutOfMemory: false, lastLines }, limits).hint;
  const dns =
    '         Caused by: dns error: failed to lookup address information: Name or service not known';
  const refusal =
    'runtime.txt asks for Python 3.9, which this server cannot download. Write one of these versions there: 3.12 or 3.13. Or ask the operator to set UV_PYTHON_INSTALL_MIRROR.';
  assert.match(hint(dns), /^A host could not be reached from the build\. Push again later\./);
  assert.equal(hint(dns, ` !     ${refusal}`), 'Then push again.');
  assert.equal(hint(dns, ' !     Line 3 of the Procfile is wrong.'), 'Correct this, commit and push again.');
  assert.match(
    hint('fatal error: libpq-fe.h: No such file', ' !     The gem pg could not be installed.'),
    /^A package is compiled and needs a library\. Name libpq-dev in/,
  );
});

for (const line of [
  'fork: Resource temporarily unavailable',
  'Error: spawn /bin/sh EAGAIN',
  "RuntimeError: can't start new thread",
]) {
  test(`if a build step fails because no process or thread could start, the reason names the limit: ${line}`, () => {
    assert.equal(
      why('make', line),
      'pip started more processes and threads than the build’s limit of 64 (build_processes)',
    );
  });
}

test('threat 55: the reason of a failed build step is found in 20 lines of 16,000 characters in less than half a second', () => {
  const began = performance.now();
  assert.match(why(...Array.from({ length: 20 }, () => 'fork'.repeat(4000))), /^pip exited 1/);
  assert.ok(performance.now() - began < 500);
});

test('threat 55: finding the reason of a failed build step takes less than a second, even in long rows of quotes or of one word', () => {
  const quotes = `thread '${"' ".repeat(8000)}`;
  const before = process.threadCpuUsage();
  const lines = Array.from({ length: 8 }, () => ['error: no', 'x', quotes]).flat();
  assert.equal(why(...lines), 'pip exited 1: error: no');
  assert.match(why(...Array.from({ length: 40 }, () => 'pycairo'.repeat(2000))), /^pip exited 1/);
  assert.match(why(...Array.from({ length: 120 }, () => 'fork '.repeat(2000))), /^pip exited 1/);
  const { user } = process.threadCpuUsage(before);
  assert.ok(user < 1_000_000, `${user} µs`);
});

test('if no buildpack recognises a source, the refusal names the language, the overlooked files, and the files at the top', () => {
  assert.equal(
    noBuildpack(['README.md', 'mix.exs'], ['procfile is not used']).message,
    'no buildpack recognises this tool. mix.exs is for Elixir, which has no buildpack here. procfile is not used. At the top of the repository: README.md, mix.exs',
  );
});

test('if only a generator makes the pages of a web site, the refusal names the generator and asks for the pages', () => {
  const { message, hint } = noBuildpack(['README.md', 'docs', 'mkdocs.yml'], []);
  assert.equal(
    message,
    'no buildpack recognises this tool. mkdocs.yml is for MkDocs, and no buildpack makes the site with it. At the top of the repository: README.md, docs, mkdocs.yml',
  );
  assert.match(hint ?? '', /^Make the site on your machine, commit the pages as a folder public\//);
  assert.match(noBuildpack(['_config.yml', 'index.md'], []).message, /_config\.yml is for Jekyll/);
});

for (const [line, hint] of [
  [
    'Exception: Can not find valid pkg-config name.',
    /Name default-libmysqlclient-dev and pkg-config in a file Aptfile/,
  ],
  ['Error: pg_config executable not found.', /Name libpq-dev in/],
  [
    'npm error Package pixman-1 was not found in the pkg-config search path.',
    /Name libcairo2-dev, libpango1\.0-dev/,
  ],
  [
    'Package vips-cpp was not found in the pkg-config search path.',
    /needs vips-cpp\. Name the Debian package/,
  ],
  [
    'src/x.c:3:10: fatal error: sodium.h: No such file or directory',
    /needs sodium\.h\. Name the Debian package/,
  ],
  ['error: invalid peer certificate: UnknownIssuer', /authority of a certificate/],
  ['npm error code SELF_SIGNED_CERT_IN_CHAIN', /authority of a certificate/],
  ["fatal: unable to access 'https://x.example/': Could not resolve host: x.example", /could not be reached/],
  ['npm error code ECONNREFUSED', /could not be reached/],
  [
    '  cause: Because nope was not found in the package registry and you require nope, we can conclude that your requirements are unsatisfiable.',
    /^Check the name and the version/,
  ],
  [
    'error: cannot run ssh: No such file or directory',
    /^A dependency comes over SSH, for which builds have no key/,
  ],
  ['git@git.example: Permission denied (publickey).', /^A dependency comes over SSH/],
  [
    'npm error command git --no-replace-objects ls-remote ssh://git@git.example/expressjs/express.git\nnpm error ssh: not found',
    /^npm could reach git\.example\/expressjs\/express neither by HTTPS nor by SSH/,
  ],
  [
    'error[E0432]: unresolved import `actix_cors`',
    /^If actix_cors is a package, add it to Cargo\.toml with `cargo add actix-cors`/,
  ],
  [
    'Error: [vite]: Rollup failed to resolve import "axios" from "/workspace/src/main.jsx".',
    /^The build needs axios, but nothing installs it/,
  ],
  [
    "Module not found: Error: Can't resolve './App' in '/workspace/src'",
    /^There is no file \.\/App\. Check the name: upper/,
  ],
  ["Module not found: Can't resolve '@/lib/utils'", /^There is no file @\/lib\/utils\./],
  ["Module not found: Can't resolve '@mui/material'", /^The build needs @mui\/material/],
  [
    '[ERROR] Fatal error compiling: java.lang.IllegalAccessError: class lombok.javac.apt.LombokProcessor (in unnamed module) cannot access class',
    /^This version of Lombok is too old for the JDK/,
  ],
  [
    "Error: Cannot find module '/workspace/scripts/setup.js'\n    at x {\n  code: 'MODULE_NOT_FOUND',\n  requireStack: []\n}\nnpm error code 1",
    /^The build runs scripts\/setup\.js, which is not in the repository\./,
  ],
  [
    'fatal: not a git repository (or any of the parent directories): .git',
    /^Builds get the files of the commit, without the folder \.git/,
  ],
  ['npm error code E404', /^Check the name and the version/],
  [
    'npm error code ERESOLVE',
    /^Two packages need different versions.* legacy-peer-deps=true into a file \.npmrc/,
  ],
  ["  code: 'ERR_OSSL_EVP_UNSUPPORTED'", /^This version of webpack does not run on Node 17 or newer\./],
  [
    '  cause: Because a==1 depends on b>=3 and you require a==1, we can conclude that your requirements are unsatisfiable.',
    /^Two packages need different versions/,
  ],
  [
    '  cause: Because you require werkzeug==2.2.3 and werkzeug==1.0.1, we can conclude that your requirements are unsatisfiable.',
    /^The requirements ask for two versions of the same package\. Remove one of these lines/,
  ],
  [
    'npm error The `npm ci` command can only install with an existing package-lock.json or',
    /^A script runs npm ci in a folder without a package-lock\.json\./,
  ],
  ['[ERROR] Could not find artifact a:b:jar:1 in central', /^Check the name and the version/],
  ['  cause: Hash mismatch for `bottle==0.13.2`', /^The downloaded package is not the one/],
  ['sh: 1: vite: not found', /^The build runs vite, but nothing installs it/],
  ["ModuleNotFoundError: No module named 'yaml'", /^The build needs yaml, but nothing installs it/],
  ["Error: Cannot find module './settings'", /^Look for the first error/],
  [
    '[ERROR] Source option 6 is no longer supported. Use 8 or later.',
    /^The JDK of this build compiles for Java 8 or newer\. Write 8 into the source and target/,
  ],
  [
    `ERROR - Config value 'plugins': The "macros" plugin is not installed`,
    /^mkdocs\.yml names the plugin macros, but nothing installs it\./,
  ],
  ['TypeError: no', /^Look for the first error/],
] as const) {
  test(`the hint of a failed build step says what to do about a known cause, and otherwise to look for the first error: ${line}`, () => {
    const step = { name: 'pip', code: 1, signal: null, isOutOfMemory: false, lastLines: [line] };
    assert.match(stepFailed(step, limits).hint, hint);
  });
}
