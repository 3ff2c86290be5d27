import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { execa } from 'execa';
import { TestServer } from '../../support/server.ts';
import { pushFixture } from './push-fixture.ts';

/** A folder with a full stack, as `stack make` makes it in the data folder. The tools then run on this stack. */
const stacks = process.env['TOOLFORGE_PUSH_TEST_STACKS'];

/** The reason to skip a test: no full stack is given, and none of `programs` is there. False if the test can run. */
function without(...programs: string[]): string | false {
  const isThere = stacks !== undefined || programs.some((program) => existsSync(program));
  return isThere ? false : `needs ${programs[0]}, or TOOLFORGE_PUSH_TEST_STACKS`;
}

let server: TestServer;
before(async () => {
  server = await TestServer.start();
  if (stacks === undefined) return;
  await mkdir(join(server.folder, 'data'), { recursive: true });
  await execa('cp', ['-al', stacks, join(server.folder, 'data/stacks')]);
});
after(async () => server[Symbol.asyncDispose]());

for (const { fixture, skip, says, answers } of [
  {
    fixture: 'rust-http',
    skip: without('/usr/bin/cargo'),
    says: /web: rust-http \(to change it, add a Procfile\)/,
    answers: /^Hello from Rust, \/$/m,
  },
  {
    fixture: 'rust-workspace',
    skip: without('/usr/bin/cargo'),
    says: /commands: jobs site/,
    answers: /^SQLite 3\.\d+\.\d+\nanother program of the workspace$/m,
  },
  {
    fixture: 'go-vendored',
    skip: without('/usr/bin/go', '/usr/local/go/bin/go'),
    says: /go 1\.25\.5 \(go\.mod\)[\s\S]*Compiling with Go 1\.2[5-9][\s\S]*commands: server update/,
    answers: /^Hello from a vendored module\nanother command\n error: <nil>$/m,
  },
  {
    fixture: 'java-jar',
    skip: without('/usr/bin/mvn'),
    says: /web: java -jar target\/clock-1\.0\.jar/,
    answers: /^Hello from Java, heap below 400 MiB: true$/m,
  },
  {
    fixture: 'java-spring',
    // Maven downloads 60 MB for it.
    skip:
      process.env['TOOLFORGE_PUSH_TEST_ALL_SAMPLES'] === undefined
        ? 'TOOLFORGE_PUSH_TEST_ALL_SAMPLES is not set'
        : without('/usr/bin/mvn'),
    says: /web: java -jar target\/greeter-0\.0\.1-SNAPSHOT\.jar/,
    answers: /^Hello from Spring Boot$/m,
  },
]) {
  test(`the sample tool ${fixture} is built and answers`, { skip }, async () => {
    const { first: pushed } = await pushFixture(server, fixture);
    assert.match(pushed, says);
    const { status, body } = await server.get(fixture);
    assert.equal(status, 200, body);
    assert.match(body, answers);
  });
}
