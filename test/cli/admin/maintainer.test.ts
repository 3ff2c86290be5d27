import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DeployError } from '../../../src/core/errors.ts';
import type { ToolName } from '../../../src/core/names.ts';
import { Desk } from '../../support/cli-services.ts';
import { wikibot } from '../../support/store-records.ts';

/** Makes a `Desk` with the tool wikibot of alice and bob. Commands can change its maintainers. */
function memberDesk() {
  const desk = new Desk();
  const names = new Set(['alice', 'bob']);
  desk.directory.tools.set(wikibot, { name: wikibot, maintainers: names, isDisabled: false });
  desk.maintainers = {
    async addMaintainer(_tool, user) {
      if (names.has(user)) return false;
      names.add(user);
      return true;
    },
    async removeMaintainer(_tool, user) {
      if (!names.delete(user))
        throw new DeployError(
          'NOT_A_MAINTAINER',
          `the user ${user} does not maintain it`,
          'Name a maintainer.',
        );
    },
  };
  const type = (line: string, uid = 'alice') =>
    desk.type(line.split(' '), { principal: { ...desk.alice, uid } });
  return { desk, names, type };
}

test('a maintainer lists, adds and removes maintainers, and the audit log has each change', async () => {
  const { desk, names, type } = memberDesk();
  using _ = desk;
  assert.equal((await type('maintainer add wikibot Carol')).out, 'carol now maintains wikibot.\n');
  assert.match((await type('maintainer add wikibot carol')).out, /^Nothing changed: carol maintains/);
  assert.equal((await type('maintainer list wikibot')).out, 'alice\nbob\ncarol\n');
  assert.deepEqual(JSON.parse((await type('maintainer list wikibot --json')).out)[1], { name: 'bob' });
  assert.equal((await type('maintainer remove wikibot bob')).out, 'bob no longer maintains wikibot.\n');
  assert.equal((await type('maintainer remove wikibot bob')).status, 1);
  assert.deepEqual([...names], ['alice', 'carol']);
  assert.deepEqual(
    desk.events.map(({ what, tool, facts }) => [what, tool, facts]),
    [
      ['maintainer add', wikibot, { words: ['Carol'], status: 0 }],
      ['maintainer add', wikibot, { words: ['carol'], status: 0 }],
      ['maintainer remove', wikibot, { words: ['bob'], status: 0 }],
      ['maintainer remove', wikibot, { words: ['bob'], refused: 'NOT_A_MAINTAINER' }],
    ],
  );
});

test('the deploy tokens of a removed maintainer are revoked, and the deploy tokens of other maintainers stay', async () => {
  const { desk, type } = memberDesk();
  using _ = desk;
  for (const uid of ['alice', 'bob']) await type('token create wikibot ci', uid);
  assert.match(
    (await type('maintainer remove wikibot bob')).out,
    /^bob no longer maintains wikibot\.\nRevoked the deploy tokens that bob made: ci \([a-z0-9]{10}\)\n$/,
  );
  const left = JSON.parse((await type('token list wikibot --json')).out) as { by: string }[];
  assert.deepEqual(
    left.map(({ by }) => by),
    ['alice'],
  );
});

test('a stranger and a deploy token cannot change maintainers', async () => {
  const { desk, names, type } = memberDesk();
  using _ = desk;
  assert.match(
    (await type('maintainer add wikibot mallory', 'mallory')).err,
    /There is no tool wikibot that mallory/,
  );
  const principal = {
    ...desk.alice,
    scope: 'deploy',
    credential: 'token ci (abc)',
    onlyTool: wikibot,
  } as const;
  const refused = await desk.type(['maintainer', 'add', 'wikibot', 'mallory'], { principal });
  assert.match(refused.err, /may only deploy wikibot, but this request needs the right to manage/);
  assert.deepEqual([...names], ['alice', 'bob']);
});

test('with LDAP, maintainers are listed, and a change of maintainers is refused with the name of the LDAP group to change', async () => {
  using desk = new Desk();
  desk.maintain(wikibot, 'alice');
  assert.equal((await desk.type(['maintainer', 'list', 'wikibot'])).out, 'alice\n');
  for (const how of ['add', 'remove']) {
    const { status, err } = await desk.type(['maintainer', how, 'wikibot', 'bob']);
    assert.equal(status, 1);
    assert.match(
      err,
      /The maintainers of wikibot are the members of an LDAP group, which this server only reads\./,
    );
    assert.match(err, /Change the group tools\.wikibot below dc=example/);
  }
});

test('a change of the maintainers of a preview is refused, because a preview has the maintainers of its tool', async () => {
  const { desk, type } = memberDesk();
  using _ = desk;
  const preview = 'fix--wikibot' as ToolName;
  desk.store.addPreview(preview, wikibot, { limits: {}, by: 'alice', at: 1 });
  desk.directory.tools.set(preview, {
    name: preview,
    maintainers: new Set(['alice']),
    isDisabled: false,
    previewOf: wikibot,
  });
  assert.match(
    (await type('maintainer add fix--wikibot dave')).err,
    /The preview fix--wikibot has the maintainers of wikibot\.\n.*maintainer add wikibot USER/,
  );
});
