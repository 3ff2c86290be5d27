import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { TestServer } from '../../support/server.ts';
import { pushFixture } from './push-fixture.ts';

let server: TestServer;
before(async () => {
  server = await TestServer.start();
});
after(async () => server[Symbol.asyncDispose]());

for (const { fixture, says, answers } of [
  {
    fixture: 'ruby-vendored',
    says: /ruby >= 3\.0, < 4 \(Gemfile\)[\s\S]*Installing wiki-greeting 1\.0\.2[\s\S]*web: bundle exec ruby app\.rb/,
    answers:
      /^Hello from Ruby and a gem of vendor\/cache, production\nA program of the gem: Hello from Bundler and a gem of vendor\/cache$/m,
  },
  {
    fixture: 'ruby-rack',
    says: /there is no Gemfile\.lock[\s\S]*web: bundle exec puma/,
    answers: /^Hello from Rack at \/, production$/m,
  },
  {
    fixture: 'ruby-sinatra',
    says: /apt \(Aptfile\) · ruby[\s\S]*web: ruby app\.rb/,
    answers: /^Hello from Sinatra in production$/m,
  },
]) {
  test(`the sample tool ${fixture} is built and answers`, async () => {
    assert.match((await pushFixture(server, fixture)).first, says);
    const { status, body } = await server.get(fixture);
    assert.equal(status, 200, body);
    assert.match(body, answers);
  });
}
