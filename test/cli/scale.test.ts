import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ProcessStatus } from '../../src/run/runtime.ts';
import { Desk } from '../support/cli-services.ts';
import { artifactOf, deploymentOf, releaseOf, wikibot } from '../support/store-records.ts';

function deskWithLive(): Desk {
  const desk = new Desk();
  desk.maintain(wikibot, 'alice');
  const processes = ['web', 'worker', 'release'].map((type) => ({ type, command: [type], isDefault: false }));
  desk.store.addDeployment(deploymentOf('d1'));
  desk.store.addRelease(releaseOf('d1', { artifact: { ...artifactOf('b1'), processes } }));
  desk.store.goLive(wikibot, 1, 'd1', 1);
  return desk;
}

const status = (name: string, change: Partial<ProcessStatus> = {}): ProcessStatus => ({
  name,
  version: 1,
  state: 'up',
  command: 'x',
  startedAt: 0,
  restarts: 0,
  detail: null,
  ...change,
});

test('`scale` without counts lists how many processes of each type run and how many are wanted', async () => {
  using desk = deskWithLive();
  desk.store.addDeployment(deploymentOf('d2', { kind: 'scale' }));
  desk.store.setReplicas(wikibot, { web: 3, gone: 7 }, 'd2', 2);
  desk.runtime.statuses = [
    status('web.1'),
    status('web.2'),
    status('web.3', { state: 'crashed' }),
    status('web.1', { version: 0 }),
    status('worker.1'),
  ];
  const list = await desk.type(['scale', 'wikibot']);
  assert.deepEqual(list, {
    status: 0,
    out: 'TYPE    RUNNING  ASKED  MEMORY   CPU\nweb     2        3      512 MiB  -\nworker  1        1      512 MiB  -\n',
    err: '',
  });
  assert.deepEqual(JSON.parse((await desk.type(['scale', 'wikibot', '--json'])).out), [
    { type: 'web', running: 2, asked: 3, memoryBytes: 512 * 2 ** 20, cpuCores: null },
    { type: 'worker', running: 1, asked: 1, memoryBytes: 512 * 2 ** 20, cpuCores: null },
  ]);
  assert.deepEqual(desk.deployments.calls, []);
  assert.deepEqual(desk.events, [], 'the audit log has a command that only lists numbers');
});

test('`scale` of a tool without a live release says how to deploy the tool', async () => {
  using desk = new Desk();
  desk.maintain(wikibot, 'alice');
  const { status: code, out } = await desk.type(['scale', 'wikibot']);
  assert.deepEqual([code, out], [0, 'Nothing of wikibot is live yet: git push toolforge main\n']);
  assert.equal((await desk.type(['scale', 'wikibot', '--json'])).out, '[]\n');
});

for (const { words, says } of [
  { words: ['web=two'], says: /“web=two” is not of the form TYPE=COUNT, for example web=2/ },
  { words: ['web=-1'], says: /“web=-1” is not of the form TYPE=COUNT/ },
  { words: ['web=1.5'], says: /“web=1\.5” is not of the form/ },
  { words: ['web='], says: /“web=” is not of the form/ },
  { words: ['web'], says: /“web” is not of the form/ },
  { words: ['=2'], says: /“=2” is not of the form/ },
  { words: ['web=1001'], says: /COUNT is from 0 to 1000/ },
  { words: [`web=${'9'.repeat(40)}`], says: /COUNT is from 0 to 1000/ },
  { words: ['web=1', 'worker=0', 'web=2'], says: /web is given twice/ },
  { words: ['web\u001b[2J=x'], says: /“web=x” is not of the form|“web\[2J=x” is not of the form/ },
  { words: ['web=2', '--json'], says: /--json prints the list of process types/ },
]) {
  test(`the command \`scale wikibot\` with ${JSON.stringify(words.join(' ').slice(0, 30))} is a usage error`, async () => {
    using desk = deskWithLive();
    const { status: code, out, err } = await desk.type(['scale', 'wikibot', ...words]);
    assert.equal(code, 2);
    assert.equal(out, '');
    assert.match(err, says);
    assert.match(err, /Usage: ssh -p 2222 alice@127\.0\.0\.1 scale TOOL \[TYPE=COUNT\[:SIZE\] …\]/);
    assert.deepEqual(desk.deployments.calls, []);
  });
}

test('threat 29: a read token can list numbers of processes with `scale`, but not change them; a maintainer’s change is in the audit log', async () => {
  using desk = deskWithLive();
  const reader = { ...desk.alice, scope: 'read' } as const;
  assert.equal((await desk.type(['scale', 'wikibot'], { principal: reader })).status, 0);
  const { status: code, err } = await desk.type(['scale', 'wikibot', 'web=2'], { principal: reader });
  assert.equal(code, 1, err);
  assert.deepEqual(desk.deployments.calls, []);
  assert.equal((await desk.type(['scale', 'wikibot', 'web=2'])).status, 0);
  assert.deepEqual(
    desk.events.map(({ what, who, facts }) => [what, who.uid, facts]),
    [['scale', 'alice', { words: ['web=2'], status: 0 }]],
  );
});
