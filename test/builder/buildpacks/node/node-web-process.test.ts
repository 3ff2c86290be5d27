import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ABuilder, registryEnvironment } from '../../support/a-builder.ts';
import { buildFiles } from './build-files.ts';

let builder: ABuilder;
before(async () => {
  builder = await ABuilder.open({ limits: { build_environment: registryEnvironment } });
});
after(async () => builder[Symbol.asyncDispose]());

const json = (content: object) => `${JSON.stringify(content)}\n`;
const LISTENS = 'require("node:http").createServer().listen(process.env.PORT)\n';
const WORKER = 'worker: node bot.js\n';
const BOT = 'setInterval(() => console.log("still here"), 1000)\n';

/** A package in the repository with a program `hello`. */
const HELLO = {
  'hello/package.json': json({ name: 'hello-kit', version: '1.0.0', bin: { hello: 'hello.js' } }),
  'hello/hello.js': '#!/usr/bin/env node\n',
};

for (const { what, files } of [
  {
    what: 'the start script runs its program',
    files: {
      'package.json': json({
        scripts: { start: 'PORT=1 hello --port 1' },
        devDependencies: { hello: 'file:hello' },
      }),
    },
  },
  {
    what: 'the Procfile runs a script that runs its program',
    files: {
      Procfile: 'web: npm run serve\n',
      'package.json': json({
        scripts: { build: 'hello', serve: 'cd . && hello' },
        devDependencies: { 'hello-kit': 'file:hello' },
      }),
    },
  },
  {
    what: 'Node loads it before the tool',
    files: {
      'package.json': json({
        scripts: { start: 'node --import=hello/register server.js' },
        devDependencies: { hello: 'file:hello' },
      }),
      'server.js': LISTENS,
    },
  },
] as { what: string; files: Record<string, string> }[]) {
  test(`packages for development are kept if the tool needs one to start: ${what}`, async () => {
    const artifact = await buildFiles(builder, { ...HELLO, ...files });
    assert.ok(
      artifact.processes.some(({ type }) => type === 'web'),
      builder.said,
    );
    assert.match(
      builder.said,
      /hello(-kit)? (\(with hello(\/register)?\) )?is a devDependency, but the tool needs it to start\. So packages for development are kept\./,
    );
    assert.doesNotMatch(builder.said, /Removing packages for development/);
  });
}

for (const version of ['7.33.7', '8.7.4']) {
  test(`pnpm ${version} removes the packages for development after the build`, async () => {
    await buildFiles(builder, {
      'package.json': json({
        packageManager: `pnpm@${version}`,
        scripts: { build: 'true', start: 'node server.js' },
        devDependencies: { ms: '2.1.3' },
      }),
      'server.js': LISTENS,
    });
    assert.match(builder.said, /Removing packages for development/);
  });
}

for (const { what, files, web } of [
  {
    what: 'a start script',
    files: { 'package.json': json({ scripts: { start: 'node bot.js' } }), 'bot.js': BOT },
    web: ['npm', 'start'],
  },
  {
    what: 'no start script, but server.js',
    files: { 'package.json': json({ name: 'x' }), 'server.js': LISTENS },
    web: ['node', 'server.js'],
  },
  {
    what: 'a server of its own beside pages of Next.js',
    files: {
      'package.json': json({ scripts: { build: 'mkdir .next && echo 1 >.next/BUILD_ID' } }),
      'server.js': LISTENS,
    },
    web: ['node', 'server.js'],
  },
  {
    what: 'a main file with a space in its name',
    files: { 'package.json': json({ main: 'my "app".js' }), 'my "app".js': LISTENS },
    web: ['node', 'my "app".js'],
  },
  {
    what: 'service.template without a package.json',
    files: { 'service.template': 'type: node24\n', 'index.mjs': LISTENS },
    web: ['node', 'index.mjs'],
  },
  {
    what: 'what a build script makes for Node',
    files: {
      'package.json': json({ scripts: { build: 'node build.js' } }),
      'build.js':
        'const f = require("node:fs"); f.mkdirSync(".output/server", { recursive: true }); f.writeFileSync(".output/server/index.mjs", "")',
    },
    web: ['node', '.output/server/index.mjs'],
  },
  {
    what: 'what a build script makes for Node, as Angular does',
    files: {
      'package.json': json({ scripts: { start: 'ng serve', build: 'node build.js' } }),
      'build.js':
        'const f = require("node:fs"); f.mkdirSync("dist/wiki/server", { recursive: true }); f.writeFileSync("dist/wiki/server/server.mjs", "")',
    },
    web: ['node', 'dist/wiki/server/server.mjs'],
  },
  {
    what: 'start:prod, because the start script compiles the tool',
    files: {
      'package.json': json({ scripts: { start: 'nest start', 'start:prod': 'node dist/main' } }),
      'dist/main.js': LISTENS,
    },
    web: ['npm', 'run', 'start:prod'],
  },
  {
    what: 'the start script beside a start:prod, because it only runs the tool',
    files: {
      'package.json': json({ scripts: { start: 'node main.js', 'start:prod': 'pm2 start main.js' } }),
      'main.js': LISTENS,
    },
    web: ['npm', 'start'],
  },
  {
    what: 'none for a bot with a Procfile that has no web process',
    files: { 'package.json': json({ scripts: { start: 'node bot.js' } }), 'bot.js': BOT, Procfile: WORKER },
    web: undefined,
  },
  {
    what: 'a server, with a Procfile that has no web process',
    files: {
      'package.json': json({ scripts: { start: 'node main.cjs' } }),
      'main.cjs': LISTENS,
      'bot.js': BOT,
      Procfile: WORKER,
    },
    web: ['npm', 'start'],
  },
  {
    what: 'none for a development server in a Python tool, whose program is removed after the build',
    files: {
      'package.json': json({
        scripts: { build: 'dev-kit', start: 'dev-kit serve' },
        devDependencies: { 'dev-kit': 'file:dev-kit' },
      }),
      'dev-kit/package.json': json({ name: 'dev-kit', version: '1.0.0', bin: 'kit.js' }),
      'dev-kit/kit.js': '#!/usr/bin/env node\n',
      'requirements.txt': '',
      Procfile: 'worker: python3 -c 1\n',
    },
    web: undefined,
  },
] as { what: string; files: Record<string, string>; web: string[] | undefined }[]) {
  test(`the web process of a Node tool is chosen: ${what}`, async () => {
    const artifact = await buildFiles(builder, files);
    const found = artifact.processes.find(({ type }) => type === 'web');
    assert.deepEqual(found?.command, web, builder.said);
  });
}
