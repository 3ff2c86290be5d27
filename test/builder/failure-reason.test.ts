import assert from 'node:assert/strict';
import { test } from 'node:test';
import { failureReason } from '../../src/builder/failure-reason.ts';

/** What programs print when they fail, indented as in the output of a push, and the reason that the push gives. */
const FAILURES: readonly [what: string, output: string, reason: string][] = [
  [
    'Go: a module that is not the one in go.sum',
    `go: downloading github.com/google/uuid v1.6.0
     verifying github.com/google/uuid@v1.6.0: checksum mismatch
             downloaded: h1:NIvaJDMOsjHA8n1jAhLSgzrAzy1Hgr+hNrb57e+94F0=
             go.sum:     h1:NIvaJDMOsjHA8n1jAhLSgzrYzy1Hgr+hNrb57e+94F0=

     SECURITY ERROR
     This download does NOT match an earlier download recorded in go.sum.

     For more information, see 'go help module-auth'.`,
    'verifying github.com/google/uuid@v1.6.0: checksum mismatch',
  ],
  [
    'npm: two packages whose versions exclude each other',
    `npm error code ERESOLVE
     npm error ERESOLVE unable to resolve dependency tree
     npm error
     npm error While resolving: hello@1.0.0
     npm error Found: react@18.2.0
     npm error node_modules/react
     npm error   react@"18.2.0" from the root project
     npm error
     npm error Could not resolve dependency:
     npm error peer react@"^19.0.0" from react-dom@19.0.0
     npm error
     npm error Fix the upstream dependency conflict, or retry
     npm error this command with --force or --legacy-peer-deps
     npm error
     npm error For a full report see:
     npm error /layers/npm/cache/_logs/2026-01-01T00_00_00_000Z-eresolve-report.txt
     npm error A complete log of this run can be found in: /layers/npm/cache/_logs/debug-0.log`,
    'ERESOLVE: found react@18.2.0, but react-dom@19.0.0 needs react@"^19.0.0"',
  ],
  [
    'npm: a conflict of which only the last of three packages is a part',
    `npm error code ERESOLVE
     npm error ERESOLVE could not resolve
     npm error
     npm error While resolving: rr7@undefined
     npm error Found: react-router@7.18.5
     npm error node_modules/react-router
     npm error   react-router@"^7.5.0" from the root project
     npm error   peer react-router@"^7.18.4" from @react-router/dev@7.18.4
     npm error   node_modules/@react-router/dev
     npm error
     npm error Could not resolve dependency:
     npm error @react-router/serve@"^7.5.0" from the root project
     npm error
     npm error Conflicting peer dependency: react-router@7.18.4
     npm error node_modules/react-router
     npm error   peer react-router@"7.18.4" from @react-router/serve@7.18.4
     npm error   node_modules/@react-router/serve`,
    'ERESOLVE: found react-router@7.18.5, but @react-router/serve@7.18.4 needs react-router@"7.18.4"',
  ],
  [
    'npm: a lock file that does not match package.json',
    `npm error code EUSAGE
     npm error
     npm error \`npm ci\` can only install packages when your package.json and package-lock.json are in sync. Please update your lock file with \`npm install\` before continuing.
     npm error
     npm error Missing: left-pad@1.3.0 from lock file
     npm error
     npm error Clean install a project
     npm error
     npm error Usage:
     npm error npm ci
     npm error
     npm error Options:
     npm error [--install-strategy <hoisted|nested|shallow|linked>] [--legacy-bundling]
     npm error
     npm error aliases: clean-install, ic, install-clean, isntall-clean
     npm error
     npm error Run "npm help ci" for more info
     npm error A complete log of this run can be found in: /layers/npm/cache/_logs/debug-0.log`,
    'EUSAGE: `npm ci` can only install packages when your package.json and package-lock.json are in sync',
  ],
  [
    'npm: a package that does not exist',
    `npm ERR! code E404
     npm ERR! 404 Not Found - GET https://registry.example/no-such-thing - Not found
     npm ERR! 404
     npm ERR! 404  'no-such-thing@1.0.0' is not in this registry.`,
    'E404: 404 Not Found - GET https://registry.example/no-such-thing - Not found',
  ],
  [
    'npm: a version that does not exist',
    `npm error code ETARGET
     npm error notarget No matching version found for left-pad@99.0.0.
     npm error notarget In most cases you or one of your dependencies are requesting
     npm error notarget a package version that doesn't exist.`,
    'ETARGET: No matching version found for left-pad@99.0.0',
  ],
  [
    'npm: a file that is missing',
    `npm error code ENOENT
     npm error syscall open
     npm error path /workspace/package.json
     npm error errno -2
     npm error enoent Could not read package.json: Error: ENOENT: no such file or directory, open '/workspace/package.json'
     npm error enoent This is related to npm not being able to find a file.`,
    "ENOENT: Could not read package.json: Error: ENOENT: no such file or directory, open '/workspace/package.json'",
  ],
  [
    'npm: a script whose compiler says why',
    `src/app.ts(3,7): error TS2322: Type 'string' is not assignable to type 'number'.
     npm error Lifecycle script \`build\` failed with error:
     npm error code 2
     npm error path /workspace
     npm error workspace hello@1.0.0
     npm error location /workspace
     npm error command failed
     npm error command sh -c tsc`,
    "src/app.ts(3,7): error TS2322: Type 'string' is not assignable to type 'number'.",
  ],
  [
    'npm: a script that prints nothing',
    `npm error code 1
     npm error path /workspace/node_modules/thing
     npm error command failed
     npm error command sh -c node-gyp rebuild`,
    'sh -c node-gyp rebuild failed with 1',
  ],
  [
    'pnpm: a lock file that does not match package.json',
    ` ERR_PNPM_OUTDATED_LOCKFILE  Cannot install with "frozen-lockfile" because pnpm-lock.yaml is not up to date

     Note that in CI environments this setting is true by default.`,
    'ERR_PNPM_OUTDATED_LOCKFILE Cannot install with "frozen-lockfile" because pnpm-lock.yaml is not up to date',
  ],
  [
    'yarn 1: a lock file that does not match package.json',
    `[1/4] Resolving packages...
     error Your lockfile needs to be updated, but yarn was run with \`--frozen-lockfile\`.
     info Visit https://yarnpkg.com/en/docs/cli/install for documentation about this command.`,
    'error Your lockfile needs to be updated, but yarn was run with `--frozen-lockfile`.',
  ],
  [
    'yarn 4: a lock file that does not match package.json',
    `➤ YN0000: ┌ Resolution step
     ➤ YN0028: │ The lockfile would have been modified by this install, which is explicitly forbidden.
     ➤ YN0000: └ Completed
     ➤ YN0000: · Failed with errors in 0s 102ms`,
    'The lockfile would have been modified by this install, which is explicitly forbidden.',
  ],
  [
    'pnpm: a package that does not exist',
    ` ERR_PNPM_FETCH_404  GET https://registry.example/none: Not Found - 404

     This error happened while installing a direct dependency of /workspace

     No authorization header was set for the request.`,
    'ERR_PNPM_FETCH_404 GET https://registry.example/none: Not Found - 404',
  ],
  [
    'yarn 4: a package that does not exist',
    `➤ YN0035: │ none@npm:1: Package not found
     ➤ YN0035: │   Response Code: 404 (Not Found)
     ➤ YN0035: │   Request URL: https://registry.example/none
     ➤ YN0000: └ Completed in 0s 364ms
     ➤ YN0000: · Failed with errors in 0s 738ms`,
    'none@npm:1: Package not found',
  ],
  [
    'npm: a package whose content does not match its hash',
    `npm error code EINTEGRITY
     npm error Integrity checksum failed when using sha512: wanted sha512-${'x'.repeat(86)}== but got sha512-${'y'.repeat(86)}==.`,
    'EINTEGRITY: Integrity checksum failed when using sha512',
  ],
  [
    'npm: a package that cannot be compiled without make',
    `npm error code 1
     npm error path /workspace/node_modules/thing
     npm error command failed
     npm error command sh -c node-gyp rebuild
     npm error gyp ERR! build error
     npm error gyp ERR! stack Error: not found: make
     npm error gyp ERR! stack at getNotFoundError (which.js:16:17)
     npm error gyp ERR! not ok`,
    'not found: make',
  ],
  [
    'npm: a package whose C code is wrong',
    `npm error code 1
     npm error command sh -c node-gyp rebuild
     npm error ../answer.c:5:3: error: unknown type name 'napi_valu'
     npm error make: *** [answer.target.mk:113: answer.o] Error 1
     npm error gyp ERR! stack Error: \`make\` failed with exit code: 2
     npm error gyp ERR! not ok`,
    "../answer.c:5:3: error: unknown type name 'napi_valu'",
  ],
  [
    'a buildpack: only the first sentences of a refusal that is too long',
    ` !     The file requirements.txt has a line that pip does not know. ${'This is a very long explanation. '.repeat(50)}`,
    `The file requirements.txt has a line that pip does not know.${' This is a very long explanation.'.repeat(10)}`,
  ],
  [
    'uv: a version that does not exist',
    `Using Python 3.11.2 environment at: /layers/toolforge_pip/venv
     error: No solution found when resolving dependencies
       cause: Because there is no version of flask==0.0.1 and you require flask==0.0.1, we can conclude that your requirements are unsatisfiable.`,
    'there is no version of flask==0.0.1 and you require flask==0.0.1',
  ],
  [
    'uv: two requirements that exclude each other',
    `error: No solution found when resolving dependencies
       cause: Because flask==2.0.0 depends on werkzeug>=2.0 and you require flask==2.0, we can conclude that you require werkzeug>=2.0.
              And because you require werkzeug<2, we can conclude that your requirements are unsatisfiable.`,
    'flask==2.0.0 depends on werkzeug>=2.0 and you require flask==2.0, and you require werkzeug<2',
  ],
  [
    'uv: a package that does not exist, as an older release of uv prints it',
    `  × No solution found when resolving dependencies:
       ╰─▶ Because flaskk was not found in the package registry and you require flaskk, we can conclude that your requirements are unsatisfiable.`,
    'flaskk was not found in the package registry and you require flaskk',
  ],
  [
    'uv: a line that is not a requirement',
    `error: Couldn't parse requirement in \`requirements.txt\` at position 7
       cause: Expected one of \`@\`, \`(\`, \`<\`, \`=\`, \`>\`, \`~\`, \`!\`, \`;\`, found \`b\`
              foo bar baz
                  ^`,
    '`requirements.txt`: “foo bar baz” is not a requirement: Expected one of `@`, `(`, `<`, `=`, `>`, `~`, `!`, `;`, found `b`',
  ],
  [
    'uv: an exception with its text in the next line',
    `error: Failed to build \`pyicu==2.17\`
       cause: The build backend returned an error
       cause: Call to \`setuptools.build_meta.build_wheel\` failed (exit status: 1)

              [stderr]
              RuntimeError:
              Please install pkg-config on your system`,
    'Failed to build `pyicu==2.17`: RuntimeError: Please install pkg-config on your system',
  ],
  [
    'uv: an address that is no archive, if the cause is long',
    `error: Couldn't parse requirement in \`requirements.txt\` at position 6
       cause: Expected direct URL (\`https://github.com/wikimedia/pywikibot/zipball/master\`) to end in a supported file extension: \`.whl\`, \`.tar.gz\`, \`.zip\`
              https://github.com/wikimedia/pywikibot/zipball/master#egg=pywikibot
              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^`,
    '`requirements.txt`: “https://github.com/wikimedia/pywikibot/zipball/master#egg=pywikibot” is not a requirement',
  ],
  [
    'uv: a package that cannot be compiled',
    `Resolved 1 package in 265ms
        Building mysqlclient==2.2.7
     error: Failed to build \`mysqlclient==2.2.7\`
       cause: The build backend returned an error
       cause: Call to \`setuptools.build_meta.get_requires_for_build_wheel\` failed (exit status: 1)

              [stderr]
              Traceback (most recent call last):
                File "<string>", line 28, in find_package_name
              Exception: Can not find valid pkg-config name.
              Specify MYSQLCLIENT_CFLAGS and MYSQLCLIENT_LDFLAGS env vars manually

     hint: Build failures usually indicate a problem with the package or the build environment`,
    'Failed to build `mysqlclient==2.2.7`: Exception: Can not find valid pkg-config name.',
  ],
  [
    'uv: a header that the compiler does not find',
    `error: Failed to build \`python-ldap==3.4.4\`
       cause: The build backend returned an error
       cause: Call to \`setuptools.build_meta.build_wheel\` failed (exit status: 1)

              [stderr]
              Modules/constants.h:7:10: fatal error: ldap.h: No such file or directory
              compilation terminated.
              error: command '/usr/bin/gcc' failed with exit code 1`,
    'Failed to build `python-ldap==3.4.4`: Modules/constants.h:7:10: fatal error: ldap.h: No such file or directory',
  ],
  [
    'uv: a package index that refuses the connection',
    `error: Request failed after 3 retries in 1.0s
       cause: Failed to fetch: https://index.example/simple/flask/
       cause: client error (Connect)
       cause: Connection refused (os error 111)`,
    'Failed to fetch: https://index.example/simple/flask/: Connection refused (os error 111)',
  ],
  [
    'uv: a requirement from a git server that cannot be found',
    `error: Git operation failed
       cause: failed to clone into: /layers/toolforge_pip/downloads/git-v1/db/332a
       cause: process didn't exit successfully: \`/usr/bin/git fetch\` (exit status: 128)
              --- stderr
              fatal: unable to access 'https://git.example/x.git/': Could not resolve host: git.example`,
    "Git operation failed: fatal: unable to access 'https://git.example/x.git/': Could not resolve host: git.example",
  ],
  [
    'uv: a file that is missing',
    'error: File not found: requirements/base.txt',
    'error: File not found: requirements/base.txt',
  ],
  [
    'poetry: a lock file that does not match pyproject.toml',
    `pyproject.toml changed significantly since poetry.lock was last generated. Run \`poetry lock\` to fix the lock file.`,
    'pyproject.toml changed significantly since poetry.lock was last generated. Run `poetry lock` to fix the lock file.',
  ],
  [
    'pip: a package that does not exist',
    `ERROR: Could not find a version that satisfies the requirement flaskk (from versions: none)
     ERROR: No matching distribution found for flaskk`,
    'ERROR: No matching distribution found for flaskk',
  ],
  [
    'Node: a module that is missing',
    `node:internal/modules/cjs/loader:1143
       throw err;
       ^

     Error: Cannot find module './settings'
     Require stack:
     - /workspace/build.js
         at Module._resolveFilename (node:internal/modules/cjs/loader:1140:15) {
       code: 'MODULE_NOT_FOUND',
       requireStack: [ '/workspace/build.js' ]
     }

     Node.js v24.1.0`,
    "Error: Cannot find module './settings'",
  ],
  [
    'Python: an import that fails',
    `Traceback (most recent call last):
       File "/workspace/manage.py", line 3, in <module>
         import django
     ModuleNotFoundError: No module named 'django'`,
    "ModuleNotFoundError: No module named 'django'",
  ],
  [
    'vite: a file that cannot be found',
    `error during build:
     Error: Could not resolve "./missing.js" from "src/main.js"
         at getRollupError (file:///workspace/node_modules/rollup/dist/es/shared/parseAst.js:406:41)`,
    'Error: Could not resolve "./missing.js" from "src/main.js"',
  ],
  [
    'vite 6, in a workspace of npm: a file that cannot be found',
    `✗ Build failed in 89ms
     error during build:
     Could not resolve "./missing.css" from "main.js"
     file: /workspace/client/main.js
         at getRollupError (file:///workspace/node_modules/rollup/dist/es/shared/parseAst.js:355:41)
     npm error Lifecycle script \`build\` failed with error:
     npm error code 1
     npm error path /workspace/client
     npm error workspace client
     npm error location /workspace/client
     npm error command failed
     npm error command sh -c vite build`,
    'Error: Could not resolve "./missing.css" from "main.js"',
  ],
  [
    'vite 6, after a settings file that asked git in vain',
    `> vite build
     fatal: not a git repository (or any parent up to mount point /)
     Stopping at filesystem boundary (GIT_DISCOVERY_ACROSS_FILESYSTEM not set).
     ✗ Build failed in 423ms
     error during build:
     Could not resolve "./Application.vue" from "src/main.ts"
     file: /workspace/src/main.ts
      ELIFECYCLE  Command failed with exit code 1.`,
    'Error: Could not resolve "./Application.vue" from "src/main.ts"',
  ],
  [
    'vite 8: an error below a count of errors',
    `error during build:
     Build failed with 1 error:

     [UNRESOLVED_IMPORT] Error: Could not resolve './missing.css' in main.js
         ╭─[ main.js:1:8 ]`,
    "Error: Build failed with 1 error: [UNRESOLVED_IMPORT] Error: Could not resolve './missing.css' in main.js",
  ],
  [
    'npm: a package that gyp cannot configure, because a library is missing',
    `npm error code 1
     npm error path /workspace/node_modules/canvas
     npm error command failed
     npm error command sh -c node-pre-gyp install --fallback-to-build --update-binary
     npm error node-pre-gyp WARN Pre-built binaries not installable for canvas@2.11.2 and node@24.22.3 (falling back to source compile with node-gyp)
     npm error Package pixman-1 was not found in the pkg-config search path.
     npm error gyp: Call to 'pkg-config pixman-1 --libs' returned exit status 1 while in binding.gyp. while trying to load binding.gyp
     npm error gyp ERR! configure error
     npm error gyp ERR! stack Error: \`gyp\` failed with exit code: 1
     npm error node-pre-gyp ERR! not ok`,
    "gyp: Call to 'pkg-config pixman-1 --libs' returned exit status 1 while in binding.gyp. while trying to load binding.gyp",
  ],
  [
    'Next.js: an error that ends with a colon, before the line that says why',
    `[next]/internal/font/google/geist.module.css
     Error: next/font: error:
     Failed to fetch Geist from Google Fonts.
     If you are offline or behind a proxy, self-host the font with next/font/local.`,
    'Error: next/font: error: Failed to fetch Geist from Google Fonts.',
  ],
];

for (const [what, output, reason] of FAILURES) {
  test(`the reason of a failed build is found in its output: ${what}`, () => {
    const lines = output.split('\n').map((line) => line.replace(/^ {5}/, '       '));
    assert.equal(failureReason(lines), reason);
  });
}
