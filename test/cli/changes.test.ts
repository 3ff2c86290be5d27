import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DeployError } from '../../src/core/errors.ts';
import type { ToolName } from '../../src/core/names.ts';
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
  { line: 'restart wikibot web', call: ['restart', 'wikibot', 'web'] },
  { line: 'scale wikibot web=2 worker=0', call: ['scale', 'wikibot', { web: 2, worker: 0 }] },
  { line: 'config set wikibot A=1 B=x=y C=', call: ['configure', 'wikibot', { A: '1', B: 'x=y', C: '' }] },
]) {
  test(`the command ${line} prints the log of its deployment, and exits with 0 when the deployment is live`, async () => {
    using desk = newDesk();
    const { status, out, err } = await desk.type(line.split(' '));
    assert.deepEqual(desk.deployments.calls, [call, ['follow', 'd9', false]]);
    assert.deepEqual({ status, out, err }, { status: 0, out: desk.deployments.log.join(''), err: '' });
  });

  test(`the command ${line} prints the reason and exits with 1 if its deployment did not go live`, async () => {
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

  test(`the command ${line} exits with 130 if its client leaves, and does not cancel its deployment`, async () => {
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

  test(`the command ${line} prints the refusal if its deployment is refused`, async () => {
    using desk = newDesk();
    desk.deployments.refusal = new DeployError('NOTHING_LIVE', 'nothing is live', 'Push first.');
    const { status, err } = await desk.type(line.split(' '));
    assert.deepEqual({ status, err }, { status: 1, err: ' !     Nothing is live.\n !     Push first.\n' });
  });
}

test('`restart` ends if its client leaves after the last line of the deployment’s log, but before the verdict', async () => {
  using desk = newDesk();
  const leaving = new AbortController();
  desk.deployments.follow = async function* () {
    yield 'the last line\n';
    setImmediate(() => leaving.abort());
  };
  desk.deployments.isEndless = true;
  assert.equal((await desk.type(['restart', 'wikibot'], { signal: leaving.signal })).status, 130);
});

test('`maintenance on` and `maintenance off` say what visitors get, and `ps` shows the mode', async () => {
  using desk = newDesk();
  const on = await desk.type(['maintenance', 'on', 'wikibot']);
  assert.equal(
    on.out,
    'Visitors of wikibot get its own maintenance.html now. End this with: ssh -p 2222 alice@127.0.0.1 maintenance off wikibot\n',
  );
  const off = async () => (await desk.type(['maintenance', 'off', 'wikibot'])).out;
  assert.equal(await off(), 'The tool wikibot was not in maintenance.\n');
  desk.store.setMaintenance(wikibot, true);
  assert.equal(await off(), 'Visitors of wikibot get the tool again.\n');
  assert.deepEqual(desk.deployments.calls, [
    ['setMaintenance', 'wikibot', true],
    ['setMaintenance', 'wikibot', false],
    ['setMaintenance', 'wikibot', false],
  ]);
  assert.match((await desk.type(['ps', 'wikibot'])).out, /^wikibot is in maintenance\. End this with: /m);
  desk.store.setStopped(wikibot, true);
  assert.match(await off(), /^The tool wikibot is stopped\. Start it with: .* restart wikibot\n$/);
});

test('`stop` prints the command that starts the tool again', async () => {
  using desk = newDesk();
  const { status, out } = await desk.type(['stop', 'wikibot']);
  assert.equal(status, 0);
  assert.equal(out, 'wikibot is stopped. Start it with: ssh -p 2222 alice@127.0.0.1 restart wikibot\n');
  assert.deepEqual(desk.deployments.calls, [['stop', 'wikibot']]);
});

test('`stop` names the previews of the tool that still run', async () => {
  using desk = newDesk();
  for (const name of ['fix', 'stopped', 'never-live']) {
    const preview = `${name}--wikibot` as ToolName;
    desk.store.addPreview(preview, wikibot, { limits: {}, by: 'alice', at: 1 });
    if (name === 'never-live') continue;
    desk.store.addDeployment(deploymentOf(name, { tool: preview }));
    const { version } = desk.store.addRelease(releaseOf(name, { tool: preview }));
    desk.store.goLive(preview, version, name, 2);
    desk.store.setStopped(preview, name === 'stopped');
  }
  const { out } = await desk.type(['stop', 'wikibot']);
  assert.match(
    out,
    /^Its previews still run: fix\. To end one: ssh -p 2222 alice@127\.0\.0\.1 previews end wikibot NAME$/m,
  );
});

test('`cancel` ends the current deployment of a tool, or its deployment with the given id, but no deployment of another tool', async () => {
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

test('`config set TOOL NAME -` takes the value from standard input, without its last newline', async () => {
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
  test(`the command \`config set\` refuses a value that is ${name}`, async () => {
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
  test(`the command \`config set wikibot ${words.join(' ')}\` is a usage error, and the message repeats no value`, async () => {
    using desk = newDesk();
    const { status, out, err } = await desk.type(['config', 'set', 'wikibot', ...words]);
    assert.equal(status, 2);
    assert.equal(out, '');
    assert.match(
      err,
      /Usage: ssh -p 2222 alice@127\.0\.0\.1 config set TOOL NAME=value … \[--no-restart\] \| TOOL NAME - \[--no-restart\]/,
    );
    assert.ok(!err.includes('s3cret'));
    assert.deepEqual(desk.deployments.calls, []);
  });
}

test('`config set` before the first deployment says that the config vars are stored', async () => {
  using desk = newDesk();
  desk.deployments.isStoredOnly = true;
  const { status, out } = await desk.type(['config', 'set', 'wikibot', 'A=1']);
  assert.deepEqual(
    { status, out },
    { status: 0, out: 'The config vars are stored. The first deployment of wikibot will have them.\n' },
  );
});

test('`config unset` removes several config vars, but none of them if one of the names is not set', async () => {
  using desk = newDesk();
  desk.store.setConfigVars(wikibot, { A: '1', B: '2' }, 'alice');
  assert.equal((await desk.type(['config', 'unset', 'wikibot', 'A', 'B'])).status, 0);
  assert.deepEqual(desk.deployments.calls[0], ['configure', 'wikibot', { A: null, B: null }]);
  const missing = await desk.type(['config', 'unset', 'wikibot', 'A', 'constructor']);
  assert.equal(missing.status, 1);
  assert.match(missing.err, /wikibot has no config var constructor/);
  assert.equal(desk.deployments.calls.length, 2);
});

test('`config list` hides values without --show-values, and `config TOOL` is the same as `config list TOOL`', async () => {
  using desk = newDesk();
  desk.store.setConfigVars(wikibot, { TOKEN: 's3cret', A: 'two\nlines \u009b2J', EMPTY: '' }, 'alice');
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

test('config vars from outside are marked “(from outside)” in lists and shown by `config get`, but cannot be set and are not exported', async () => {
  using desk = newDesk();
  desk.runtime.outside = {
    source: 'the operator’s file wikibot.env',
    vars: { KEY: 's3cret', TOKEN: 'outside' },
  };
  desk.store.setConfigVars(wikibot, { A: '1', TOKEN: 'stored' }, 'alice');
  const type = async (line: string, input = '') => await desk.type(line.split(' '), { input });
  assert.equal((await type('config wikibot')).out, 'A\nKEY (from outside)\nTOKEN (from outside)\n');
  assert.equal((await type('config wikibot --show-values')).out, 'A=1\nKEY=s3cret\nTOKEN=outside\n');
  const { source } = desk.runtime.outside;
  assert.deepEqual(JSON.parse((await type('config wikibot --json')).out), [
    { name: 'A' },
    { name: 'KEY', source },
    { name: 'TOKEN', source },
  ]);
  assert.equal((await type('config get wikibot KEY')).out, 's3cret\n');
  assert.equal((await type('config export wikibot')).out, 'A=1\nTOKEN=stored\n');
  const set = await type('config set wikibot A=2 KEY=mine');
  assert.equal(set.status, 1);
  assert.match(
    set.err,
    /The value of KEY comes from the operator’s file wikibot\.env, so it cannot be set here/,
  );
  assert.match(
    set.err,
    /Change the value in the operator’s file wikibot\.env, and then: ssh .* restart wikibot/,
  );
  assert.deepEqual(desk.deployments.calls, []);
  const imported = await type('config import wikibot -', 'KEY=mine\nA=3\n');
  assert.match(imported.err, /Left out, because it comes from the operator’s file wikibot\.env: KEY\n/);
  assert.deepEqual(desk.deployments.calls[0], ['configure', 'wikibot', { A: '3' }]);
  await type('config unset wikibot TOKEN');
  assert.deepEqual(desk.deployments.calls.at(-2), ['configure', 'wikibot', { TOKEN: null }]);
});

test('`config get` prints the value of one config var unchanged', async () => {
  using desk = newDesk();
  desk.store.setConfigVars(wikibot, { TOKEN: ' s3cret ' }, 'alice');
  assert.equal((await desk.type(['config', 'get', 'wikibot', 'TOKEN'])).out, ' s3cret \n');
  const missing = await desk.type(['config', 'get', 'wikibot', 'NOPE']);
  assert.equal(missing.status, 1);
  assert.match(
    missing.err,
    /no config var NOPE.\n ! {5}To list the config vars: ssh -p 2222 alice@127\.0\.0\.1 config list wikibot/,
  );
});

test('`config list` of a disabled tool shows the names of config vars, but is refused with --show-values', async () => {
  using desk = new Desk();
  desk.maintain(wikibot, 'alice', true);
  desk.store.addDeployment(deploymentOf('d1'));
  desk.store.addRelease(releaseOf('d1'));
  desk.store.goLive(wikibot, 1, 'd1', 1);
  assert.equal((await desk.type(['config', 'wikibot'])).out, 'GREETING\n');
  const shown = await desk.type(['config', 'wikibot', '--show-values']);
  assert.deepEqual([shown.status, shown.out], [1, '']);
});

test('`config set --no-restart`, `config unset --no-restart` and `config import --no-restart` only store the change, and say so', async () => {
  using desk = newDesk();
  desk.store.setConfigVars(wikibot, { B: '2' }, 'alice');
  desk.store.addDeployment(deploymentOf('d1'));
  desk.store.addRelease(releaseOf('d1', { configVars: { B: '2' } }));
  desk.store.goLive(wikibot, 1, 'd1', 1);
  for (const [line, changes] of [
    ['config set wikibot A=1 --no-restart', { A: '1' }],
    ['config unset wikibot B --no-restart', { B: null }],
    ['config import wikibot - --no-restart', { C: '3' }],
  ] as const) {
    desk.deployments.calls.length = 0;
    assert.deepEqual(await desk.type(line.split(' '), { input: 'B=2\nC=3\n' }), {
      status: 0,
      out: 'The change is stored. The next push, promotion, redeploy or config command makes it live, for example: ssh -p 2222 alice@127.0.0.1 redeploy wikibot\n',
      err: '',
    });
    assert.deepEqual(desk.deployments.calls, [['configure for later', 'wikibot', changes]]);
  }
});

test('`config list` names the changes of config vars that the live release does not have yet', async () => {
  using desk = newDesk();
  desk.store.addDeployment(deploymentOf('d1'));
  desk.store.addRelease(releaseOf('d1', { configVars: { A: '1', B: '2' } }));
  desk.store.goLive(wikibot, 1, 'd1', 1);
  assert.equal((await desk.type(['config', 'wikibot'])).err, '');
  desk.store.setConfigVars(wikibot, { A: '3', C: '4' }, 'alice');
  assert.deepEqual(await desk.type(['config', 'wikibot']), {
    status: 0,
    out: 'A\nC\n',
    err: ' !     B removed, C added, A changed since v1, but not live yet: the next push, promotion, redeploy or config command makes this live.\n',
  });
  assert.deepEqual(JSON.parse((await desk.type(['config', 'wikibot', '--json'])).out), [
    { name: 'A' },
    { name: 'C' },
  ]);
});

test('threat 121: config vars are not stored if the person lost the right to the tool while sending them, for example because a preview ended', async () => {
  for (const line of ['config import wikibot - --no-restart', 'config set wikibot A - --no-restart']) {
    using desk = newDesk();
    const find = desk.directory.findTool.bind(desk.directory);
    let asked = 0;
    desk.directory.findTool = async (name) => {
      asked += 1;
      return asked === 1 ? await find(name) : null;
    };
    const { status, err } = await desk.type(line.split(' '), { input: 'A=1\n' });
    assert.equal(status, 1);
    assert.match(err, /There is no tool wikibot that alice maintains/);
    assert.deepEqual(desk.deployments.calls, []);
  }
});

test('`config import` changes only config vars whose values differ, leaves PORT out, and changes nothing if the file has an error', async () => {
  using desk = newDesk();
  desk.store.setConfigVars(wikibot, { SAME: 'x', OTHER: 'y' }, 'alice');
  const input = '# settings\nPORT=8000\nexport SAME="x"\nOTHER=z # now\nKEY="-----BEGIN\nEND-----\\n"\n';
  const { status, err } = await desk.type(['config', 'import', 'wikibot', '-'], { input });
  assert.deepEqual([status, err], [0, ' !     Left out, because the platform sets it: PORT\n']);
  assert.deepEqual(desk.deployments.calls[0], [
    'configure',
    'wikibot',
    { OTHER: 'z', KEY: '-----BEGIN\nEND-----\n' },
  ]);
  desk.deployments.calls.length = 0;
  const same = await desk.type(['config', 'import', 'wikibot', '-'], { input: 'SAME=x\n' });
  assert.match(same.out, /^Nothing has changed/);
  const bad = await desk.type(['config', 'import', 'wikibot', '-'], { input: 'A=1\ns3cret\n' });
  assert.deepEqual([bad.status, bad.err.split('\n')[0]], [1, ' !     Line 2 is not NAME=value.']);
  const file = await desk.type(['config', 'import', 'wikibot', '.env']);
  assert.equal(file.status, 2);
  assert.match(file.err, /standard input: ssh -p 2222 alice@127\.0\.0\.1 config import wikibot - < FILE/);
  const http = await desk.type(['config', 'import', 'wikibot', '.env'], {
    principal: { ...desk.alice, door: 'http' },
  });
  assert.match(
    http.err,
    /\(echo config import wikibot -; cat FILE\) \| curl -u alice --data-binary @- http:\/\/127\.0\.0\.1:8080\/-\/command/,
  );
  assert.deepEqual(desk.deployments.calls, []);
});

test('`config import` of the output of `config export` sets exactly the same config vars', async () => {
  using desk = newDesk();
  const vars = {
    A: 'two\nlines',
    B: `all ' quotes " and \` and $B #`,
    C: 'C:\\new\r\n',
    D: '',
    E: ' é ',
    F: '\u009b',
  };
  desk.store.setConfigVars(wikibot, vars, 'alice');
  const { out } = await desk.type(['config', 'export', 'wikibot']);
  desk.store.setConfigVars(wikibot, {}, 'alice');
  await desk.type(['config', 'import', 'wikibot', '-'], { input: out });
  assert.deepEqual(desk.deployments.calls[0], ['configure', 'wikibot', vars]);
});

test('`config export` is refused for a credential that may only read, and the audit log has each export', async () => {
  using desk = newDesk();
  desk.store.setConfigVars(wikibot, { KEY: 's3cret' }, 'alice');
  const principal = { ...desk.alice, scope: 'read' } as const;
  const { status, out } = await desk.type(['config', 'export', 'wikibot'], { principal });
  assert.deepEqual([status, out], [1, '']);
  await desk.type(['config', 'export', 'wikibot']);
  assert.deepEqual(
    desk.events.map(({ what }) => what),
    ['config export'],
  );
});

test('`config history` lists who changed which config vars, without values', async () => {
  using desk = newDesk();
  assert.equal(
    (await desk.type(['config', 'history', 'wikibot'])).out,
    'no change of the config vars of wikibot is recorded\n',
  );
  desk.store.setConfigVars(wikibot, { A: 's3cret' }, 'bob');
  desk.store.addDeployment(deploymentOf('d1'));
  desk.store.addRelease(releaseOf('d1', { configVars: { A: 'other', B: '2' } }));
  desk.store.goLive(wikibot, 1, 'd1', Date.now());
  const { out } = await desk.type(['config', 'history', 'wikibot']);
  assert.equal(
    out,
    'RELEASE  CHANGE              BY     WHEN\nv1       B added, A changed  alice  just now\nnone     A added             bob    just now\n',
  );
  const listed = JSON.parse((await desk.type(['config', 'history', 'wikibot', '--json'])).out);
  assert.deepEqual(
    { ...listed[1], at: null },
    { version: null, by: 'bob', added: ['A'], changed: [], removed: [], at: null },
  );
});
