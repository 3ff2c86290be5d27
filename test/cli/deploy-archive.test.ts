import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Desk } from '../support/cli-services.ts';
import { commitOf, deploymentOf, otherTool, releaseOf, wikibot } from '../support/store-records.ts';

function newDesk(): Desk {
  const desk = new Desk();
  desk.maintain(wikibot, 'alice');
  return desk;
}

test('`deploy` passes on the archive, the message and the options, and prints the output of the push', async () => {
  using desk = newDesk();
  const words = ['deploy', wikibot, '-m', 'Fix the search', '--dry-run', '--no-cache'];
  const { status, out, err } = await desk.type(words, { input: 'a tar' });
  assert.deepEqual({ status, out, err }, { status: 0, out: '-----> Received\n', err: '' });
  assert.deepEqual(desk.archives.sent, [
    {
      tool: wikibot,
      live: null,
      host: '127.0.0.1',
      message: 'Fix the search',
      options: ['no-color', 'dry-run', 'no-cache'],
      text: 'a tar',
    },
  ]);
});

test('if the commit of `deploy` does not go live, `deploy` prints the reason and exits with 1', async () => {
  using desk = newDesk();
  desk.archives.outcome = { kind: 'refused', reason: 'build failed: no' };
  const { status, err } = await desk.type(['deploy', wikibot]);
  assert.equal(status, 1);
  assert.match(err, /Build failed: no/);
});

test('threat 144: `deploy` of the files that are live fails if another commit goes live while these files arrive', async () => {
  using desk = newDesk();
  const goLive = (version: number, letter: string) => {
    desk.store.addDeployment(deploymentOf(`d${version}`));
    desk.store.addRelease(releaseOf(`d${version}`, { commit: commitOf(letter) }));
    desk.store.goLive(wikibot, version, `d${version}`, version);
  };
  goLive(1, 'a');
  desk.archives.outcome = { kind: 'unchanged' };
  const onOut = (text: string) => {
    if (/Received/.test(text)) goLive(2, 'b');
  };
  const late = await desk.type(['deploy', wikibot], { onOut });
  assert.equal(late.status, 1);
  assert.match(late.err, /v2 \(b{7}\) went live while you sent the files/);
  const again = await desk.type(['deploy', wikibot]);
  assert.equal(again.status, 0);
  assert.match(again.out, /Nothing has changed: v2 of wikibot is live/);
});

test('`deploy` exits with 130, without an error message, if its client leaves while the server handles the archive', async () => {
  using desk = newDesk();
  const leaving = new AbortController();
  const onOut = () => leaving.abort();
  const { status, err } = await desk.type(['deploy', wikibot], { signal: leaving.signal, onOut });
  assert.deepEqual({ status, err }, { status: 130, err: '' });
  assert.equal(desk.archives.sent.length, 1);
});

test('`deploy` refuses a folder that only the person’s computer has, and says how to send it', async () => {
  using desk = newDesk();
  const { status, err } = await desk.type(['deploy', wikibot, './src']);
  assert.equal(status, 2);
  assert.match(err, /tar cz \. \| ssh -p 2222 alice@127\.0\.0\.1 deploy wikibot/);
  const overHttp = { ...desk.alice, door: 'http' as const };
  const http = await desk.type(['deploy', wikibot, './src'], { principal: overHttp });
  assert.match(http.err, /\(echo deploy wikibot; tar cz \.\) \| curl .*--data-binary @-/);
  assert.deepEqual(desk.archives.sent, []);
});

test('`deploy` needs the right to deploy, and `download` only the right to read', async () => {
  using desk = newDesk();
  desk.maintain(otherTool, 'bob');
  const reader = { ...desk.alice, scope: 'read' as const };
  const refused = await desk.type(['deploy', wikibot], { principal: reader });
  assert.equal(refused.status, 1);
  assert.deepEqual(desk.archives.sent, []);
  const nothing = await desk.type(['download', wikibot], { principal: reader });
  assert.match(nothing.err, /The tool wikibot has nothing live yet/);
});

test('`download` writes the files of the live release, or of the release that --version names', async () => {
  using desk = newDesk();
  const commits = [commitOf('a'), commitOf('b')];
  for (const [index, commit] of commits.entries()) {
    const id = `d${index}`;
    desk.store.addDeployment(deploymentOf(id));
    desk.store.addRelease(releaseOf(id, { commit }));
    desk.store.goLive(wikibot, index + 1, id, index + 1);
  }
  assert.equal((await desk.type(['download', wikibot])).out, `tar of ${commits[1]}`);
  assert.equal((await desk.type(['download', wikibot, '--version', 'v1'])).out, `tar of ${commits[0]}`);
  const unknown = await desk.type(['download', wikibot, '--version', 'v7']);
  assert.equal(unknown.status, 1);
  assert.match(unknown.err, /has no release v7/);
  assert.equal((await desk.type(['download', wikibot, '--version', 'new'])).status, 2);
});
