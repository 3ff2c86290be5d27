import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DeployError } from '../../src/core/errors.ts';
import { Desk } from '../support/cli-services.ts';
import { deploymentOf, otherTool, releaseOf, wikibot } from '../support/store-records.ts';

function newDesk(): Desk {
  const desk = new Desk();
  desk.maintain(wikibot, 'alice');
  return desk;
}

for (const { line, call } of [
  { line: 'rollback wikibot', call: ['rollback', 'wikibot', null] },
  { line: 'rollback wikibot v12', call: ['rollback', 'wikibot', 12] },
  { line: 'rollback wikibot 12', call: ['rollback', 'wikibot', 12] },
  { line: 'redeploy wikibot', call: ['redeploy', 'wikibot', { useCache: true, isRebase: false }] },
  {
    line: 'redeploy wikibot --no-cache',
    call: ['redeploy', 'wikibot', { useCache: false, isRebase: false }],
  },
  { line: 'restart wikibot.git', call: ['restart', 'wikibot'] },
  { line: 'scale wikibot web=2 worker=0', call: ['scale', 'wikibot', { web: 2, worker: 0 }] },
  { line: 'config set wikibot A=1 B=x=y C=', call: ['configure', 'wikibot', { A: '1', B: 'x=y', C: '' }] },
]) {
  test(`${line} prints the log of its deployment, and exits with 0 when the deployment is live`, async () => {
    using desk = newDesk();
    const { status, out, err } = await desk.type(line.split(' '));
    assert.deepEqual(desk.deployments.calls, [call, ['follow', 'd9', false]]);
    assert.deepEqual({ status, out, err }, { status: 0, out: desk.deployments.log.join(''), err: '' });
  });

  test(`${line} prints the reason and exits with 1 if its deployment did not go live`, async () => {
    using desk = newDesk();
    desk.deployments.verdict = { isLive: false, reason: 'web.1 exited with code 1; v1 is still live' };
    const { status, out, err } = await desk.type(line.split(' '));
    assert.equal(status, 1);
    assert.equal(out, desk.deployments.log.join(''));
    assert.equal(
      err,
      ' !     web.1 exited with code 1; v1 is still live.\n !     To see the log of this deployment again: ssh -p 2222 alice@127.0.0.1 logs wikibot --build d9\n',
    );
  });

  test(`${line} exits with 130 if its client leaves, and does not cancel its deployment`, async () => {
    using desk = newDesk();
    desk.deployments.isEndless = true;
    const leaving = new AbortController();
    const onOut = (text: string) => {
      if (text.includes('live')) leaving.abort();
    };
    const { status, err } = await desk.type(line.split(' '), { signal: leaving.signal, onOut });
    assert.equal(status, 130);
    assert.equal(err, '');
    assert.deepEqual(desk.deployments.calls, [call, ['follow', 'd9', false]]);
  });

  test(`${line} prints the refusal if its deployment is refused`, async () => {
    using desk = newDesk();
    desk.deployments.refusal = new DeployError('NOTHING_LIVE', 'nothing is live', 'Push first.');
    const { status, err } = await desk.type(line.split(' '));
    assert.deepEqual({ status, err }, { status: 1, err: ' !     Nothing is live.\n !     Push first.\n' });
  });
}

test('restart ends if its client leaves after the last line of the log, before the verdict', async () => {
  using desk = newDesk();
  const leaving = new AbortController();
  desk.deployments.follow = async function* () {
    yield 'the last line\n';
    setImmediate(() => leaving.abort());
  };
  desk.deployments.isEndless = true;
  assert.equal((await desk.type(['restart', 'wikibot'], { signal: leaving.signal })).status, 130);
});

test('stop prints the command that starts the tool again', async () => {
  using desk = newDesk();
  const { status, out } = await desk.type(['stop', 'wikibot']);
  assert.equal(status, 0);
  assert.equal(out, 'wikibot is stopped. Start it with: ssh -p 2222 alice@127.0.0.1 restart wikibot\n');
  assert.deepEqual(desk.deployments.calls, [['stop', 'wikibot']]);
});

test('cancel ends the running deployment of a tool, or its deployment with the given id, but no deployment of another tool', async () => {
  using desk = newDesk();
  desk.store.addDeployment(deploymentOf('d1'));
  desk.store.addDeployment(deploymentOf('theirs', { tool: otherTool }));
  desk.deployments.cancel = (tool, id) => {
    desk.deployments.calls.push(['cancel', tool, id]);
    return deploymentOf('d1');
  };
  assert.deepEqual(await desk.type(['cancel', 'wikibot']), {
    status: 0,
    out: 'Cancelled deployment d1 (push of aaaaaaa by alice).\n',
    err: '',
  });
  assert.equal((await desk.type(['cancel', 'wikibot', 'd1'])).status, 0);
  const theirs = await desk.type(['cancel', 'wikibot', 'theirs']);
  assert.equal(theirs.status, 1);
  assert.match(theirs.err, /no build or deployment “theirs”/);
  assert.deepEqual(desk.deployments.calls, [
    ['cancel', 'wikibot', null],
    ['cancel', 'wikibot', 'd1'],
  ]);
});

test('config set TOOL NAME - takes the value from standard input, without its last newline', async () => {
  using desk = newDesk();
  for (const [input, value] of [
    ['s3cret\n', 's3cret'],
    ['two\nlines\n\n', 'two\nlines\n'],
    ['wïndows\r\n', 'wïndows'],
    ['', ''],
  ] as const) {
    desk.deployments.calls.length = 0;
    assert.equal((await desk.type(['config', 'set', 'wikibot', 'KEY', '-'], { input })).status, 0);
    assert.deepEqual(desk.deployments.calls[0], ['configure', 'wikibot', { KEY: value }]);
  }
});

for (const { name, input } of [
  { name: 'longer than 32 KiB', input: Buffer.alloc(32 * 1024 + 3, 'x') },
  { name: 'not UTF-8', input: Buffer.from([0x61, 0xff, 0xfe]) },
]) {
  test(`config set refuses a value that is ${name}`, async () => {
    using desk = newDesk();
    const { status, err } = await desk.type(['config', 'set', 'wikibot', 'KEY', '-'], { input });
    assert.equal(status, 1);
    assert.match(err, /longer than 32 KiB or is not UTF-8/);
    assert.deepEqual(desk.deployments.calls, []);
  });
}

for (const words of [
  ['NAME', 's3cret'],
  ['NAME', '=', 's3cret'],
  ['=s3cret'],
  ['NAME=1', 's3cret'],
  ['NAME=1', '-'],
  ['NAME=s3cret', 'NAME=1'],
  ['-'],
  [],
]) {
  test(`config set wikibot ${words.join(' ')} is a usage error, and the message repeats no value`, async () => {
    using desk = newDesk();
    const { status, out, err } = await desk.type(['config', 'set', 'wikibot', ...words]);
    assert.equal(status, 2);
    assert.equal(out, '');
    assert.match(err, /Usage: ssh -p 2222 alice@127\.0\.0\.1 config set TOOL NAME=value … \| TOOL NAME -/);
    assert.ok(!err.includes('s3cret'));
    assert.deepEqual(desk.deployments.calls, []);
  });
}

test('config set before the first deployment says that the config vars are stored', async () => {
  using desk = newDesk();
  desk.deployments.isStoredOnly = true;
  const { status, out } = await desk.type(['config', 'set', 'wikibot', 'A=1']);
  assert.deepEqual(
    { status, out },
    { status: 0, out: 'The config vars are stored. The first deployment of wikibot will have them.\n' },
  );
});

test('config unset removes several config vars, but none of them if one of the names is not set', async () => {
  using desk = newDesk();
  desk.store.setConfigVars(wikibot, { A: '1', B: '2' });
  assert.equal((await desk.type(['config', 'unset', 'wikibot', 'A', 'B'])).status, 0);
  assert.deepEqual(desk.deployments.calls[0], ['configure', 'wikibot', { A: null, B: null }]);
  const missing = await desk.type(['config', 'unset', 'wikibot', 'A', 'constructor']);
  assert.equal(missing.status, 1);
  assert.match(missing.err, /wikibot has no config var constructor/);
  assert.equal(desk.deployments.calls.length, 2);
});

test('config list hides values without --show-values, and config TOOL is the same as config list TOOL', async () => {
  using desk = newDesk();
  desk.store.setConfigVars(wikibot, { TOKEN: 's3cret', A: 'two\nlines \u009b2J', EMPTY: '' });
  const out = async (line: string) => (await desk.type(line.split(' '))).out;
  assert.equal(await out('config list wikibot'), 'A\nEMPTY\nTOKEN\n');
  assert.equal(await out('config wikibot'), 'A\nEMPTY\nTOKEN\n');
  assert.deepEqual(JSON.parse(await out('config wikibot --json')), [
    { name: 'A' },
    { name: 'EMPTY' },
    { name: 'TOKEN' },
  ]);
  assert.equal(
    await out('config list wikibot --show-values'),
    'A="two\\nlines \\u009b2J"\nEMPTY=\nTOKEN=s3cret\n',
  );
  assert.deepEqual(JSON.parse(await out('config list wikibot --show-values --json'))[2], {
    name: 'TOKEN',
    value: 's3cret',
  });
});

test('config get prints the value of one config var unchanged', async () => {
  using desk = newDesk();
  desk.store.setConfigVars(wikibot, { TOKEN: ' s3cret ' });
  assert.equal((await desk.type(['config', 'get', 'wikibot', 'TOKEN'])).out, ' s3cret \n');
  const missing = await desk.type(['config', 'get', 'wikibot', 'NOPE']);
  assert.equal(missing.status, 1);
  assert.match(
    missing.err,
    /no config var NOPE.\n ! {5}To list the config vars: ssh -p 2222 alice@127\.0\.0\.1 config list wikibot/,
  );
});

test('config list of a disabled tool shows the names of config vars, but is refused with --show-values', async () => {
  using desk = new Desk();
  desk.maintain(wikibot, 'alice', true);
  desk.store.addDeployment(deploymentOf('d1'));
  desk.store.addRelease(releaseOf('d1'));
  desk.store.goLive(wikibot, 1, 'd1', 1);
  assert.equal((await desk.type(['config', 'wikibot'])).out, 'GREETING\n');
  const shown = await desk.type(['config', 'wikibot', '--show-values']);
  assert.deepEqual([shown.status, shown.out], [1, '']);
});
