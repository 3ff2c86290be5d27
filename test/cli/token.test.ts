import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toolName } from '../../src/core/names.ts';
import { Desk } from '../support/cli-services.ts';
import { wikibot } from '../support/store-records.ts';

function office() {
  const desk = new Desk();
  desk.maintain(wikibot, 'alice');
  const list = async () => JSON.parse((await desk.type(['token', 'list', 'wikibot', '--json'])).out);
  return { desk, list };
}

test('`token create` shows the new token and a git remote that uses it; `token list` does not show the secret', async () => {
  const { desk, list } = office();
  using _ = desk;
  const { status, out } = await desk.type(['token', 'create', 'wikibot', 'ci', '--days', '7']);
  assert.equal(status, 0);
  const secret = /^(tfp_\S+)\n/.exec(out)?.[1] ?? assert.fail(out);
  assert.match(out, /git remote add toolforge http:\/\/ci@127\.0\.0\.1:8080\/wikibot\.git\n$/);
  const [token] = await list();
  assert.equal(token.scope, 'deploy');
  assert.equal(token.by, 'alice');
  assert.equal(token.lastUsedAt, null);
  assert.equal(Date.parse(token.expiresAt) - Date.parse(token.createdAt), 7 * 24 * 3600_000);
  assert.ok(secret.includes(token.id));
  const table = (await desk.type(['token', 'wikibot'])).out;
  assert.match(
    table,
    /^TOKEN +NAME +MAY +BY +MADE +EXPIRES +LAST USED\n\S+ +ci +deploy +alice +just now +\S+ +never\n$/,
  );
  assert.doesNotMatch(table, new RegExp(secret.slice(-32)));
  assert.equal((await desk.type(['token', 'revoke', 'wikibot', token.id])).status, 0);
  assert.deepEqual(await list(), []);
});

test('threat 132: `token list` shows the tokens of previews too, and `token revoke --all` revokes them', async () => {
  const { desk, list } = office();
  using _ = desk;
  const preview = toolName('fix--wikibot') ?? assert.fail();
  desk.store.addPreview(preview, wikibot, { limits: {}, by: 'alice', at: 1 });
  desk.maintain(preview, 'alice');
  await desk.type(['token', 'create', 'wikibot', 'ci']);
  await desk.type(['token', 'create', 'fix--wikibot', 'of-preview']);
  assert.match(
    (await desk.type(['token', 'wikibot'])).out,
    /^TOKEN +TOOL +NAME .*\n\S+ +wikibot +ci .*\n\S+ +fix--wikibot +of-preview .*\n$/,
  );
  assert.match(
    (await desk.type(['token', 'revoke', 'wikibot', '--all'])).out,
    /^Revoked ci .*, of-preview .*: these/,
  );
  assert.deepEqual(await list(), []);
});

for (const { name, line, change, status, says } of [
  { name: 'without a name', line: ['create', 'wikibot'], change: {}, status: 2, says: /needs NAME/ },
  {
    name: 'a name with a space',
    line: ['create', 'wikibot', 'a b'],
    change: {},
    status: 2,
    says: /letters, digits/,
  },
  {
    name: 'with --days above 366',
    line: ['create', 'wikibot', 'ci', '--days', '4000'],
    change: {},
    status: 2,
    says: /--days must be a whole number from 1 to 366/,
  },
  {
    name: 'by a token (no token makes another)',
    line: ['create', 'wikibot', 'ci'],
    change: { scope: 'deploy', credential: 'token ci (abc)', onlyTool: wikibot },
    status: 1,
    says: /The token ci \(abc\) may only deploy wikibot, but this request needs the right to manage/,
  },
  {
    name: 'by the tool’s own account, whose key a removed maintainer may still have (threat 8)',
    line: ['create', 'wikibot', 'ci'],
    change: { uid: 'tools.wikibot', onlyTool: wikibot },
    status: 1,
    says: /Only a maintainer of the tool/,
  },
  {
    name: 'by the operator',
    line: ['create', 'wikibot', 'ci'],
    change: { uid: 'operator', isOperator: true },
    status: 1,
    says: /Only a maintainer of the tool/,
  },
  {
    name: 'no token has the name',
    line: ['revoke', 'wikibot', 'nothing'],
    change: {},
    status: 1,
    says: /no deploy token “nothing”/,
  },
] as const) {
  test(`the command \`token ${line[0]}\` is refused: ${name}`, async () => {
    const { desk, list } = office();
    using _ = desk;
    const answer = await desk.type(['token', ...line], { principal: { ...desk.alice, ...change } });
    assert.equal(answer.status, status, answer.err);
    assert.match(answer.err, says);
    assert.deepEqual(await list(), []);
  });
}

test('a tool has at most fifty deploy tokens', async () => {
  const { desk, list } = office();
  using _ = desk;
  for (let count = 0; count < 50; count++) await desk.type(['token', 'create', 'wikibot', `ci-${count}`]);
  const { status, err } = await desk.type(['token', 'create', 'wikibot', 'more']);
  assert.equal(status, 1);
  assert.match(err, /50 deploy tokens/);
  assert.equal((await list()).length, 50);
});

test('`token revoke` revokes a token by its name or, if several tokens have the name, by its id; --by revokes all tokens that a person made, and --all all tokens', async () => {
  const { desk, list } = office();
  using _ = desk;
  await desk.type(['token', 'create', 'wikibot', 'ci']);
  const byName = await desk.type(['token', 'revoke', 'wikibot', 'ci']);
  assert.match(byName.out, /^Revoked ci \([a-z0-9]{10}\): this token can no longer be used\.\n$/);
  await desk.type(['token', 'create', 'wikibot', 'ci']);
  const [older] = await list();
  const second = await desk.type(['token', 'create', 'wikibot', 'ci']);
  assert.match(
    second.out,
    new RegExp(`an older token with the name ci\\. .*token revoke wikibot ${older.id}\\n$`),
  );
  const which = await desk.type(['token', 'revoke', 'wikibot', 'ci']);
  assert.equal(which.status, 1);
  assert.match(
    which.err,
    new RegExp(`2 deploy tokens of the tool wikibot have the name “ci”, with the ids .*${older.id}`),
  );
  assert.equal((await desk.type(['token', 'revoke', 'wikibot', older.id])).status, 0);
  await desk.type(['token', 'create', 'wikibot', 'other']);
  assert.match(
    (await desk.type(['token', 'revoke', 'wikibot', '--all'])).out,
    /^Revoked other .*, ci .*these tokens can no longer be used/,
  );
  assert.deepEqual(await list(), []);
  assert.equal((await desk.type(['token', 'revoke', 'wikibot'])).status, 2);
  await desk.type(['token', 'create', 'wikibot', 'hers']);
  const none = await desk.type(['token', 'revoke', 'wikibot', '--by', 'bob']);
  assert.match(none.err, /wikibot has no deploy token that bob made/);
  assert.equal((await desk.type(['token', 'revoke', 'wikibot', 'hers', '--by', 'alice'])).status, 2);
  assert.match((await desk.type(['token', 'revoke', 'wikibot', '--by', 'Alice'])).out, /^Revoked hers /);
  assert.deepEqual(await list(), []);
});

test('with a read token, `logs` says that the output of processes is hidden and which logs can be read', async () => {
  const { desk } = office();
  using _ = desk;
  const principal = { ...desk.alice, scope: 'read', credential: 'token ci (a1)', onlyTool: wikibot } as const;
  const { status, err } = await desk.type(['logs', 'wikibot'], { principal });
  assert.equal(status, 1);
  assert.match(err, /may read wikibot, but not the output of its processes, which may contain secrets/);
  assert.match(err, /can read the logs of builds: .*logs wikibot --build ID/);
});

test('only the operator can use commands on a tool that was removed from the user directory', async () => {
  const { desk } = office();
  using _ = desk;
  desk.store.tool(wikibot);
  desk.directory.tools.clear();
  const operator = { ...desk.alice, uid: 'operator', door: 'local', isOperator: true } as const;
  assert.equal((await desk.type(['stop', 'wikibot'], { principal: operator })).status, 0);
  assert.equal(
    (await desk.type(['config', 'list', 'wikibot', '--show-values'], { principal: operator })).status,
    0,
  );
  assert.equal((await desk.type(['stop', 'wikibot'])).status, 1);
  const unused = await desk.type(['stop', 'never'], { principal: operator });
  assert.match(unused.err, /There is no tool never/);
});

test('threat 15: `token revoke` accepts the secret of a token in place of its name, and no error repeats the secret of a token', async () => {
  const { desk, list } = office();
  using _ = desk;
  const secretOf = async () =>
    /^tfp_\S+/.exec((await desk.type(['token', 'create', 'wikibot', 'ci'])).out)?.[0] ?? assert.fail();
  const secret = await secretOf();
  const revoked = await desk.type(['token', 'revoke', 'wikibot', secret]);
  assert.equal(revoked.status, 0, revoked.err);
  assert.match(revoked.out, /^Revoked ci \([a-z0-9]{10}\)/);
  assert.deepEqual(await list(), []);
  assert.equal(desk.services.tokens.identify(secret).kind, 'unknown');
  const valid = await secretOf();
  for (const line of [
    ['token', 'revoke', 'wikibot', `${valid}.`],
    ['token', 'revoke', 'wikibot', '--by', valid],
    ['token', 'revoke', valid],
    ['rollback', 'wikibot', valid],
    [valid],
  ]) {
    const { status, err } = await desk.type(line);
    assert.notEqual(status, 0, line.join(' '));
    assert.doesNotMatch(err, new RegExp(valid.slice(15, 23)), line.join(' '));
  }
  assert.equal(desk.services.tokens.identify(valid).kind, 'token');
});
