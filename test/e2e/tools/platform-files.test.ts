import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Run, TestServer } from '../../support/server.ts';
import { WorkTree } from '../../support/work-tree.ts';
import { pushFixture } from './push-fixture.ts';

let server: TestServer;
before(async () => {
  server = await TestServer.start();
});
after(async () => server[Symbol.asyncDispose]());

/** A Python program that answers each path `/NAME` with the value of the environment variable NAME. */
const program = `
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.environ.get(self.path[1:], 'not set').encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(('', int(os.environ['PORT'])), Handler).serve_forever()
`;

function succeeded(run: Run): string {
  assert.equal(run.exitCode, 0, run.stderr);
  return run.stdout + run.stderr;
}

test('env of app.json gives values to config vars that are not set, makes a random secret that stays, and refuses pushes that lack a required config var', async () => {
  const tool = 'heroku';
  await server.addTool(tool);
  const tree = await WorkTree.create(server, 'ssh', tool);
  const env = {
    GREETING: 'hello from app.json',
    SECRET_KEY: { generator: 'secret' },
    API_KEY: { description: 'A key' },
  };
  await tree.commit('one', {
    'app.py': program,
    Procfile: 'web: python3 app.py\n',
    'app.json': JSON.stringify({ env, addons: ['heroku-redis'] }),
  });
  const lacking = await tree.push();
  assert.equal(lacking.exitCode, 1);
  assert.match(
    lacking.stderr,
    /! {5}app\.json requires config vars that are not set: API_KEY *\nremote: +! {7}API_KEY: A key\. *\nremote: +! {5}Set them with ssh -p \d+ \S+ config set heroku API_KEY=…, and push again\./,
  );
  assert.match(
    lacking.stderr,
    /\[remote rejected\] main -> main \(app\.json requires config vars that are not set: API_KEY;/,
  );
  assert.doesNotMatch(lacking.stderr, /Procfile \(web\)/);
  succeeded(await server.command('config', 'set', tool, 'API_KEY=k'));
  const pushed = succeeded(await tree.push());
  assert.match(pushed, /! {5}app\.json: addons has no effect here\./);
  assert.match(pushed, /SECRET_KEY set to a random secret, as app\.json asks/);
  const answer = async (name: string) => (await server.get(tool, `/${name}`)).body;
  assert.equal(await answer('GREETING'), 'hello from app.json');
  const secret = await answer('SECRET_KEY');
  assert.match(secret, /^[0-9a-f]{64}$/);
  succeeded(await server.command('config', 'set', tool, 'GREETING=hi'));
  assert.deepEqual([await answer('GREETING'), await answer('SECRET_KEY')], ['hi', secret]);
  await tree.commit('two', { note: '' });
  const again = succeeded(await tree.push());
  assert.doesNotMatch(again, /random secret|not set/);
  assert.equal(await answer('SECRET_KEY'), secret);
  assert.match(
    succeeded(await server.command('config', 'unset', tool, 'API_KEY')),
    /! {5}app\.json requires config vars that are not set: API_KEY\. The next push is refused; to set them: `config set heroku API_KEY=…`/,
  );
  await tree.git('reset', '--hard', 'HEAD~1');
  const reused = await tree.git('push', '-f', 'toolforge', 'main');
  assert.equal(reused.exitCode, 1);
  assert.match(reused.stderr, /Using the earlier build of .*requires config vars that are not set: API_KEY/s);
  assert.equal(await answer('GREETING'), 'hi');
});

test('a push of a toolforge.yaml with a port and a health check script goes live; a component without a command is refused with its line', async () => {
  const tool = 'toolforge';
  await server.addTool(tool);
  const tree = await WorkTree.create(server, 'ssh', tool);
  const yaml = (script: string) =>
    `components:\n  site:\n    run: {command: web, port: 8080, publish: /}\n  bot:\n    run: {command: bot, health_check_script: "${script}"}\n`;
  await tree.commit('one', {
    'app.py': program,
    'bot.py': 'import time\nopen("/tmp/alive", "w").close()\ntime.sleep(1000)\n',
    Procfile: 'web: python3 app.py\nbot: python3 bot.py\n',
    'toolforge.yaml': yaml('test -e /tmp/alive'),
  });
  assert.match(succeeded(await tree.push()), /bot\.1 started/);
  assert.equal((await server.get(tool, '/PORT')).body, '8080');
  await tree.commit('two', { 'toolforge.yaml': 'components:\n  bot:\n    run: {comand: bot}\n' });
  const refused = await tree.push();
  assert.notEqual(refused.exitCode, 0);
  assert.match(refused.stderr, /bot in toolforge\.yaml has no command \(line 3\)/);
  assert.equal((await server.get(tool, '/PORT')).body, '8080');
});

test('the sample tool own-buildpack is built by a buildpack in its own repository, and runs as many processes as its toolforge.yaml sets', async () => {
  const name = 'own-buildpack';
  assert.match((await pushFixture(server, name)).first, /greeter · Procfile \(web\)/);
  assert.match((await server.get(name)).body, /^Hello from a buildpack of this repository\nbuilt with /);
  const rows = JSON.parse(succeeded(await server.command('ps', name, '--json')));
  const states = rows.map((row: Record<string, string>) => `${row['process']} ${row['state']}`).sort();
  // The processes of the release before may still be ending.
  const now = states.filter((state: string) => !state.endsWith(' stopping'));
  assert.deepEqual(now, ['clock.1 up', 'clock.2 up', 'web.1 up', 'web.2 up']);
});
