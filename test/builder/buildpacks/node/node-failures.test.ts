import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ABuilder, registryEnvironment } from '../../support/a-builder.ts';
import { buildFiles } from './build-files.ts';

let builder: ABuilder;
before(async () => {
  builder = await ABuilder.open({ limits: { build_environment: registryEnvironment } });
  // Later builds reuse the Node that this build has installed.
  await buildFiles(builder, { Procfile: 'web: node x.js\n', 'x.js': '' });
});
after(async () => builder[Symbol.asyncDispose]());

const json = (content: object) => `${JSON.stringify(content, null, 2)}\n`;
const start = { scripts: { start: 'node server.js' } };
const ms = { ...start, dependencies: { ms: '2.1.3' } };
const MS_HASH =
  'sha512-6FlzubTLZG3J2a/NVCAleEhjzq5oxgHyaCU9yYXvcLsvoVaHJq/s5xXI6/XXP6tz7R9xAOtHnSO/tXtF3WRTlA==';
/** A package in the repository with a program `hello`. */
const HELLO = {
  'hello/package.json': json({ name: 'hello-kit', version: '1.0.0', bin: { hello: 'hello.js' } }),
  'hello/hello.js': '#!/usr/bin/env node\n',
};
const lock = (packages: object) => json({ name: 'x', lockfileVersion: 3, packages: { '': {}, ...packages } });

for (const { what, files, reason } of [
  {
    what: 'a version file that names no version',
    files: { 'package.json': json(start), '.nvmrc': '# ours\ntwenty\n' },
    reason: /\.nvmrc line 2: "twenty" is not a version of Node\. Write a number such as 24, or lts\/\*\.$/,
  },
  {
    what: 'a range that npm does not understand',
    files: { 'package.json': json({ ...start, engines: { node: 'node 20' } }) },
    reason: /package\.json line 6: "node 20" is not a version of Node\. Write for example "engines": /,
  },
  {
    what: 'a range that no version fits',
    files: { 'package.json': json({ ...start, engines: { node: '>=99' } }) },
    reason:
      /package\.json line 6 asks for Node >=99, which is not available\. Ask for one of these: 10 11 12 .* 24 /,
  },
  {
    what: 'a package.json with a superfluous comma',
    files: { 'package.json': '{\n  "scripts": {\n    "start": "x",\n  }\n}\n' },
    reason: /package\.json line 4 is not valid JSON: a comma too many\.$/,
  },
  {
    what: 'a start script that runs a file which nothing makes',
    files: {
      'package.json': json({
        scripts: { start: 'NODE_ENV=production node --no-warnings dist/index.js', compile: 'tsc' },
      }),
      'src/index.ts': 'export {};\n',
    },
    reason:
      /package\.json line 3: the start script runs dist\/index\.js, which is neither in the repository nor made by a build script\. Correct its path, or add a script named build that makes it\.$/,
  },
  {
    what: 'a start script whose program nothing installs',
    files: { 'package.json': json({ scripts: { start: 'PORT=1 bun run index.ts' } }), 'bun.lock': '' },
    reason:
      /package\.json line 3: the start script runs bun, which nothing installs\. Add the package that has bun to the dependencies /,
  },
  {
    what: 'a start script that leaves the tool in the background',
    files: {
      'package.json': json({ scripts: { start: 'npm run up', up: 'pm2 start app.js' } }),
      'app.js': '',
    },
    reason:
      /The web process runs `pm2 start`, which starts the tool in the background and ends\. Run the file itself/,
  },
  {
    what: 'a package manager that does not exist',
    files: { 'package.json': json({ ...start, packageManager: 'pnpm@9.99.99' }) },
    reason:
      /pnpm 9\.99\.99 is not available from the npm registry: packageManager in package\.json asks for it\.$/,
  },
  {
    what: 'a package-lock.json that lacks a package',
    files: { 'package.json': json(ms), 'package-lock.json': lock({}) },
    reason:
      /package-lock\.json does not match package\.json \(Missing: ms@2\.1\.3 from lock file\)\. Run `npm install`, and commit package-lock\.json\.$/,
  },
  {
    what: 'a yarn.lock that lacks a package',
    files: { 'package.json': json(ms), 'yarn.lock': '# yarn lockfile v1\n' },
    reason: /yarn\.lock does not match package\.json\. Run `yarn install`, and commit yarn\.lock\.$/,
  },
  {
    what: 'a yarn.lock of yarn 4 that lacks a package',
    files: { 'package.json': json(ms), 'yarn.lock': '__metadata:\n  version: 8\n  cacheKey: 10c0\n' },
    reason: /yarn\.lock does not match package\.json\. /,
  },
  {
    what: 'a pnpm-lock.yaml that lacks a package',
    files: {
      'package.json': json(ms),
      'pnpm-lock.yaml':
        "lockfileVersion: '9.0'\nsettings:\n  autoInstallPeers: true\n  excludeLinksFromLockfile: false\nimporters:\n  .: {}\n",
    },
    reason:
      /pnpm-lock\.yaml does not match package\.json\. Run `pnpm install`, and commit pnpm-lock\.yaml\.$/,
  },
  {
    what: 'npm and a package that does not exist',
    files: { 'package.json': json({ ...start, dependencies: { '@toolforge-push/none': '1' } }) },
    reason: /^npm exited 1: E404: .*@toolforge-push%2fnone/,
  },
  {
    what: 'yarn and a package that does not exist',
    files: {
      'package.json': json({ ...start, dependencies: { '@toolforge-push/none': '1' } }),
      'yarn.lock': '',
    },
    reason: /^yarn exited 1: error Couldn't find package "@toolforge-push\/none" on the "npm" registry\.$/,
  },
  {
    what: 'yarn 4 and a package that does not exist',
    files: {
      'package.json': json({
        ...start,
        packageManager: 'yarn@4.9.4',
        dependencies: { '@toolforge-push/none': '1' },
      }),
    },
    reason: /^yarn exited 1: @toolforge-push\/none@npm:1: Package not found$/,
  },
  {
    what: 'pnpm and a package that does not exist',
    files: {
      'package.json': json({
        ...start,
        packageManager: 'pnpm@9.15.9',
        dependencies: { '@toolforge-push/none': '1' },
      }),
    },
    reason: /^pnpm exited 1: ERR_PNPM_FETCH_404 .*@toolforge-push%2Fnone/,
  },
  {
    what: 'npm and a registry in .npmrc that does not answer',
    files: {
      'package.json': json(ms),
      '.npmrc': 'registry=http://registry.invalid/\nfetch-retries=0\n',
    },
    reason: /^npm exited 1: E[A-Z_]+: .*registry\.invalid/,
  },
  {
    what: 'yarn 4 and a registry in .yarnrc.yml that does not answer',
    files: {
      'package.json': json({ ...ms, packageManager: 'yarn@4.9.4' }),
      '.yarnrc.yml': 'npmRegistryServer: https://registry.invalid\nhttpRetry: 0\n',
    },
    reason: /^yarn exited 1: .*registry\.invalid/,
  },
  {
    what: 'pnpm and a registry in .npmrc that does not answer',
    files: {
      'package.json': json({ ...ms, packageManager: 'pnpm@9.15.9' }),
      '.npmrc': 'registry=http://registry.invalid/\nfetch-retries=0\n',
    },
    reason: /^pnpm exited 1: ERR_PNPM_META_FETCH_FAIL .*registry\.invalid/,
  },
  {
    what: 'a package whose content is not what the lock file says',
    files: {
      'package.json': json(ms),
      'package-lock.json': lock({
        '': { dependencies: ms.dependencies },
        'node_modules/ms': { version: '2.1.3', integrity: MS_HASH.replace('6Flz', '7Flz') },
      }),
    },
    reason: /^npm exited 1: EINTEGRITY: Integrity checksum failed when using sha512$/,
  },
  {
    what: 'a start script whose program belongs to no package',
    files: { 'package.json': json({ scripts: { start: 'hello --port 1' }, dependencies: { ms: '2.1.3' } }) },
    reason: /package\.json line 3: the start script runs hello, which nothing installs\. /,
  },
  {
    what: 'npm and two packages that exclude each other',
    files: {
      'package.json': json({ ...start, dependencies: { react: '18.2.0', 'react-dom': '19.0.0' } }),
      'server.js': '',
    },
    reason: /^npm exited 1: ERESOLVE: found react@18\.2\.0, but react-dom@19\.0\.0 needs react@"\^19\.0\.0"$/,
  },
  {
    what: 'a package for development in another folder, which the build script may use but nothing installs',
    files: {
      'package.json': json({ scripts: { build: 'npm --prefix ui install && npm --prefix ui run build' } }),
      'ui/package.json': json({
        scripts: { build: 'hello && vite build' },
        devDependencies: { 'hello-kit': 'file:../hello' },
      }),
      ...HELLO,
    },
    reason: /^npm exited 127: sh: 1: vite: not found$/,
  },
  {
    what: 'a build script whose program nothing installs',
    files: { 'package.json': json({ scripts: { build: 'vite build' } }) },
    reason: /^npm exited 127: sh: 1: vite: not found$/,
  },
  {
    what: 'a build script that runs a script which package.json lacks',
    files: { 'package.json': json({ scripts: { build: 'npm run bundle' } }) },
    reason: /^npm exited 1: Missing script: "bundle"$/,
  },
  {
    what: 'a build script that fails',
    files: {
      'package.json': json({ scripts: { build: 'node build.js' } }),
      'build.js': 'require("./settings")\n',
    },
    reason: /^npm exited 1: Error: Cannot find module '\.\/settings'$/,
  },
  {
    what: 'a build script that makes no page',
    files: { 'package.json': json({ scripts: { build: 'true' } }) },
    reason: /The script build made no index\.html in dist\/.*Let it write the site there\. /,
  },
  {
    what: 'a build script of workspaces that makes a page in one of them',
    files: {
      'package.json': json({
        scripts: { build: 'mkdir -p apps/web/dist && touch apps/web/dist/index.html' },
      }),
    },
    reason:
      /made no index\.html in dist\/.* It made apps\/web\/dist\/index\.html: to serve that folder, write \{"root": "apps\/web\/dist"\} into a file static\.json\./,
  },
  {
    what: 'a static.json that names a folder that is missing',
    files: { 'index.html': '', 'static.json': '{"root": "site/"}' },
    reason:
      /static\.json asks for the folder site\/, which is not in the repository\. Correct root in static\.json\.$/,
  },
] as { what: string; files: Record<string, string>; reason: RegExp }[]) {
  test(`a Node tool that cannot be built is refused with the cause: ${what}`, async () => {
    await assert.rejects(buildFiles(builder, files), (error: Error) => {
      assert.match(error.message, reason, builder.said);
      return true;
    });
  });
}
