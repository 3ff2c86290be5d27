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
    fixture: 'perl-psgi',
    says: /perl \(cpanfile\)[\s\S]*Successfully installed Wiki-Greeting-1\.02[\s\S]*web: starman/,
    answers: /^Hello from PSGI and a module of the cpanfile, deployment$/m,
  },
  {
    fixture: 'perl-mojolicious',
    says: /web: perl app\.pl daemon/,
    answers: /^Hello from Mojolicious at http, production$/m,
  },
  {
    fixture: 'perl-python-node',
    says: /python 3\.\d+ · node 24 · npm · pip · perl \(cpanfile\)/,
    answers:
      /^Perl greets three languages\nPython greets three languages as three languages\nNode greets three languages with function$/m,
  },
]) {
  test(`the sample tool ${fixture} is built and answers`, async () => {
    assert.match((await pushFixture(server, fixture)).first, says);
    const { status, body } = await server.get(fixture);
    assert.equal(status, 200, body);
    assert.match(body, answers);
  });
}

test('CGI scripts in Perl, Python and sh run beside the pages of public_html and get config vars; modules of the scripts are not served as pages', async () => {
  const { first: pushed } = await pushFixture(server, 'perl-cgi');
  assert.match(pushed, /CGI scripts \(cgi-bin\) · perl/);
  assert.match(
    pushed,
    /cgi-bin\/greet\.py: python3 is used, because there is no \/usr\/local\/bin\/python3 here/,
  );
  const set = await server.command('config', 'set', 'perl-cgi', `'GREETING=a "quoted" \\ value'`);
  assert.equal(set.exitCode, 0, set.stderr);
  const get = async (path: string) => (await server.get('perl-cgi', path)).body;
  assert.match(await get('/'), /Pages beside CGI scripts/);
  assert.match(await get('/cgi-bin/index.pl/a/b?name=Ada'), /^Hello Ada\npath: \/a\/b$/m);
  assert.match(await get('/cgi-bin/greet.py'), /^Hello from Python, config var: a "quoted" \\ value$/m);
  assert.match(await get('/cgi-bin/count.cgi'), /^Hello from sh, GET with 0 bytes$/m);
  assert.match(await get('/local.pl'), /^Perl is new enough$/m);
  for (const hidden of ['/cgi-bin/lib/Tool.pm', '/.git/config', '/cgi-bin/lib/'])
    assert.match(String((await server.get('perl-cgi', hidden)).status), /^40[34]$/, hidden);
});
