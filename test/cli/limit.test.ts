import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Desk } from '../support/cli-services.ts';
import { artifactOf, deploymentOf, releaseOf, wikibot } from '../support/store-records.ts';

function limitDesk() {
  const desk = new Desk();
  desk.maintain(wikibot, 'alice');
  const operator = { ...desk.alice, uid: 'operator', isOperator: true };
  return { desk, asOperator: (line: string) => desk.type(line.split(' '), { principal: operator }) };
}

test('an operator sets limits for one tool and resets them, and the setting of the server applies again', async () => {
  const { desk, asOperator } = limitDesk();
  using _ = desk;
  const set = await asOperator('limit wikibot memory=2Gi builds=20');
  assert.equal(
    set.out,
    `LIMIT       VALUE     FROM
memory      2048 MiB  set for this tool (the setting run_memory is 512 MiB)
builds      20        set for this tool (the setting builds_a_day is 200)
replicas    4         max_replicas
repository  4096 MiB  repository_size
`,
  );
  assert.deepEqual(desk.store.ownLimits(wikibot), { memory: 2 ** 31, builds: 20 });
  assert.equal((await asOperator('limit wikibot memory=default')).status, 0);
  assert.deepEqual(desk.store.ownLimits(wikibot), { builds: 20 });
  assert.deepEqual(await asOperator('limit wikibot'), await asOperator('limit wikibot builds=20'));
});

for (const [words, says] of [
  ['memory=2', /the limit memory must be a size with a unit, from 16Mi to 1048576Mi/i],
  ['memory=1Mi', /from 16Mi/],
  ['builds=0', /the limit builds must be a whole number from 1 to 100000/i],
  ['builds=1.5', /whole number/],
  ['replicas=many', /whole number from 1 to 1000/],
  ['colour=red', /NAME is one of memory, builds, replicas, repository/],
  ['memory', /A limit is NAME=VALUE/],
] as const) {
  test(`the command \`limit wikibot builds=5 ${words}\` is refused and changes nothing`, async () => {
    const { desk, asOperator } = limitDesk();
    using _ = desk;
    const refused = await asOperator(`limit wikibot builds=5 ${words}`);
    assert.notEqual(refused.status, 0);
    assert.match(refused.err, says);
    assert.deepEqual(desk.store.ownLimits(wikibot), {});
  });
}

test('if an operator changes the memory limit of a live tool, `limit` says when the new limit applies', async () => {
  const { desk, asOperator } = limitDesk();
  using _ = desk;
  desk.store.addDeployment(deploymentOf('d1'));
  desk.store.addRelease(releaseOf('d1', { artifact: artifactOf('d1') }));
  desk.store.goLive(wikibot, 1, 'd1', 0);
  const says = /The new memory counts after the next restart: .*restart wikibot\n$/;
  assert.match((await asOperator('limit wikibot memory=1Gi')).out, says);
  assert.doesNotMatch((await asOperator('limit wikibot builds=5')).out, says);
});

test('a maintainer cannot set limits, but sees how much of each limit the tool uses, also during a rollout', async () => {
  const { desk, asOperator } = limitDesk();
  using _ = desk;
  const mine = await desk.type(['limit', 'wikibot', 'builds=1000']);
  assert.match(
    mine.err,
    /There is no command “limit” for maintainers: only the operator of this server has it\.\n.*Ask the operator/,
  );
  desk.store.addDeployment(deploymentOf('d1'));
  desk.store.addRelease(releaseOf('d1', { artifact: artifactOf('d1') }));
  desk.store.goLive(wikibot, 1, 'd1', 1);
  const process = { version: 1, state: 'up', startedAt: 1, restarts: 0, command: 'x', detail: null } as const;
  desk.runtime.statuses = ['web.1', 'web.2', 'worker.1'].map((name) => ({ ...process, name }));
  await asOperator('limit wikibot memory=100Mi');
  const { out } = await desk.type(['quota', 'wikibot']);
  assert.equal(
    out,
    `QUOTA                          USED     DURING A ROLLOUT  LIMIT
builds in 24 hours             0        -                 200
repository                     3 MiB    -                 4096 MiB
web processes                  2        4                 4
worker processes               1        2                 4
memory that processes may use  300 MiB  600 MiB           -
`,
  );
});

test('`quota` counts ending processes in a column of their own; its column DURING A ROLLOUT counts neither ending processes nor one-off commands', async () => {
  const { desk } = limitDesk();
  using _ = desk;
  for (const [id, version] of [
    ['d1', 1],
    ['d2', 2],
  ] as const) {
    desk.store.addDeployment(deploymentOf(id));
    desk.store.addRelease(releaseOf(id, { artifact: artifactOf(id) }));
    desk.store.goLive(wikibot, version, id, version);
  }
  const process = { version: 2, state: 'up', startedAt: 1, restarts: 0, command: 'x', detail: null } as const;
  desk.runtime.statuses = [
    { ...process, name: 'web.1' },
    { ...process, name: 'web.1', version: 1, state: 'stopping' },
    // A process of a rollout that is not live yet.
    { ...process, name: 'web.1', version: 3, state: 'starting' },
    { ...process, name: 'worker.1', version: 1, state: 'stopping' },
    { ...process, name: 'run.1' },
  ];
  assert.equal(
    (await desk.type(['quota', 'wikibot'])).out,
    `QUOTA                          USED      ENDING    DURING A ROLLOUT  LIMIT
builds in 24 hours             0         -         -                 200
repository                     3 MiB     -         -                 4096 MiB
web processes                  2         1         2                 4
worker processes               0         1         0                 4
run processes                  1         0         -                 -
memory that processes may use  1536 MiB  1024 MiB  1536 MiB          -
`,
  );
});
