import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate, setTimeout as wait } from 'node:timers/promises';
import { createLog } from '../../src/core/log/log.ts';
import { commitId } from '../../src/core/names.ts';
import { SteadyTime } from '../../src/core/steady-time.ts';
import type { Principal } from '../../src/core/types.ts';
import type { ParkedPush, Verdict } from '../../src/deploy/deployments.ts';
import { dropOldParked } from '../../src/deploy/old-refs.ts';
import { ToolPreviews, type ToolPreviewsOptions } from '../../src/deploy/previews.ts';
import { copyCommit } from '../../src/deploy/promotion.ts';
import { RepositoryTurns } from '../../src/git/repository-turns.ts';
import { alice } from '../support/alice.ts';
import { commitOf, deploymentOf, nameOf, wikibot } from '../support/store-records.ts';
import { Place } from './place.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

test('threat 167: a preview does not end if the server’s clock is 30 days fast but right again within an hour; it ends after seven real days without use', async () => {
  const ended: string[] = [];
  class Watched extends ToolPreviews {
    override async end(preview: string): Promise<void> {
      ended.push(preview);
    }
  }
  const [wall, sinceStart] = [{ ms: Date.UTC(2026, 11, 1) }, { ms: 0 }];
  const time = new SteadyTime(
    () => wall.ms,
    () => sinceStart.ms,
  );
  const made = { name: nameOf('fix--wikibot'), tool: nameOf('wikibot'), usedAt: wall.ms - 6 * DAY_MS };
  const store = { previews: () => [{ ...made, isEnding: false }], storedLimits: () => ({ memory: 1 }) };
  const options = { store, days: 7, log: createLog('silent'), time } as unknown as ToolPreviewsOptions;
  await using previews = new Watched(options);
  const lookAfter = async (ms: number, jumpMs = 0) => {
    wall.ms += ms + jumpMs;
    sinceStart.ms += ms;
    previews.start();
    await wait(20);
  };
  await lookAfter(0, 30 * DAY_MS);
  await lookAfter(HOUR_MS, -30 * DAY_MS);
  await lookAfter(HOUR_MS, 30 * DAY_MS);
  await lookAfter(HOUR_MS / 2, -30 * DAY_MS);
  assert.deepEqual(ended, []);
  await lookAfter(DAY_MS);
  assert.deepEqual(ended, ['fix--wikibot']);
});

/** Makes previews whose deployments all end with `verdict`. If `isJoined`, each push joins an earlier deployment. */
function previewsIn(
  place: Pick<Place, 'repositories'>,
  { isJoined, verdict }: { readonly isJoined: boolean; readonly verdict: Verdict },
): ToolPreviews {
  const submit = async ({ id }: ParkedPush) => ({ id, isJoined, verdict: Promise.resolve(verdict) });
  const store = { preview: () => null, previews: () => [], previewOf: () => wikibot };
  const line = { inspect: async () => ({}), submit };
  const options = { repositories: place.repositories, store, line, log: createLog('silent') };
  return new ToolPreviews(options as unknown as ToolPreviewsOptions);
}

const failed: Verdict = { isLive: false, reason: 'build failed' };

for (const isJoined of [false, true]) {
  test(`threat 228: if an atomic push to a preview ${isJoined ? 'joins' : 'makes'} a deployment that fails, the push leaves no temporary refs of its tags`, async () => {
    await using place = await Place.make();
    const push = await place.park('p1', { branchRef: 'refs/heads/preview/fix' });
    await place.repositories.git(wikibot, ['update-ref', 'refs/parked/p1/0', push.commit]);
    await using previews = previewsIn(place, { isJoined, verdict: failed });
    const { verdict } = await previews.submit(push);
    assert.deepEqual(await verdict, failed);
    assert.equal(await place.ref('refs/parked'), '');
    assert.equal(await place.ref('refs/deployments'), isJoined ? '' : push.commit);
  });
}

test('threat 228: of the refs refs/deployments/ID of a tool, the newest 1,000 are kept, and also older ones if their deployment has not ended', async () => {
  await using place = await Place.make();
  const { commit } = await place.park('first');
  const day = new Date().toISOString().replace(/[-:]/g, '').slice(0, 8);
  const ids = Array.from({ length: 1003 }, (_, index) => `${day}-${String(index).padStart(6, '0')}-x`);
  const input = ids.map((id) => `create refs/deployments/${id} ${commit}\n`).join('');
  await place.repositories.git(wikibot, ['update-ref', '-d', 'refs/deployments/first']);
  await place.repositories.git(wikibot, ['update-ref', '--stdin'], { input });
  place.store.addDeployment(deploymentOf(ids[1] ?? ''));
  await dropOldParked(place.context, wikibot);
  const names = await place.repositories.git(wikibot, ['for-each-ref', '--format=%(refname:lstrip=2)']);
  assert.deepEqual(names.split('\n'), [ids[1], ...ids.slice(3)]);
});

/** Previews whose copies of commits last until the test ends them. */
class HeldCopies implements AsyncDisposable {
  /** The previews whose copies have begun, in this order. */
  readonly begun: string[] = [];
  readonly #held = new Map<string, () => void>();
  readonly #previews: ToolPreviews;

  constructor() {
    const repositories = {
      ensure: async () => undefined,
      folder: (tool: string) => tool,
      turns: new RepositoryTurns(),
      git: async (tool: string, [command = '']: readonly string[]) => {
        if (command !== 'fetch') return '';
        this.begun.push(tool);
        await new Promise<void>((resolve) => this.#held.set(tool, resolve));
        return '';
      },
    };
    const place = { repositories } as unknown as Place;
    this.#previews = previewsIn(place, { isJoined: false, verdict: failed });
  }

  /** Pushes to a preview, such as `fix--wikibot`. Resolves when as many copies run as may run now. */
  async push(preview: string, principal: Partial<Principal>): Promise<void> {
    const [name = '', tool = ''] = preview.split('--');
    const pushing = this.#previews.submit({
      ...{ id: preview, tool: nameOf(tool), commit: commitOf('a'), oldCommit: null, message: null },
      ...{ principal: { ...alice, ...principal }, useCache: true, withUpdates: [] },
      branchRef: `refs/heads/preview/${name}`,
    });
    // The pushes that still wait when the test ends are refused.
    pushing.catch(() => undefined);
    await setImmediate();
  }

  /** Ends the copy into a preview. Resolves when the next one, if one waits, has begun. */
  async end(preview: string): Promise<void> {
    this.#held.get(preview)?.();
    await setImmediate();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#previews[Symbol.asyncDispose]();
  }
}

const ofTool = (name: string) => ({ onlyTool: nameOf(name), credential: `token of ${name}` });

test('threat 227: commits are copied into the previews of one tool one at a time, so they do not hold up the copy into a preview of another tool', async () => {
  await using copies = new HeldCopies();
  await copies.push('one--wikibot', { uid: 'alice' });
  await copies.push('two--wikibot', { uid: 'bob' });
  await copies.push('fix--other-tool', { uid: 'carol' });
  assert.deepEqual(copies.begun, ['one--wikibot', 'fix--other-tool']);
  await copies.end('fix--other-tool');
  assert.equal(copies.begun.length, 2);
  await copies.end('one--wikibot');
  assert.equal(copies.begun.at(-1), 'two--wikibot');
});

test('threat 235: a person’s pushes with a deploy token of one tool do not delay copies into previews of their other tools, and pushes of a tool account delay no other tool account', async () => {
  const evil = nameOf('evil');
  for (const login of [
    { uid: 'alice', credential: 'token of evil', onlyTool: evil },
    { uid: 'tools.evil', onlyTool: evil },
  ]) {
    await using copies = new HeldCopies();
    await copies.push('one--evil', login);
    await copies.push('two--evil', login);
    const other = login.uid === 'alice' ? { uid: 'alice' } : { uid: 'tools.shop', onlyTool: nameOf('shop') };
    await copies.push('fix--shop', other);
    assert.deepEqual(copies.begun, ['one--evil', 'fix--shop']);
  }
});

test('threat 235: the turns of copies into previews rotate over people and tools, so nobody waits for all copies of three other people', async () => {
  await using copies = new HeldCopies();
  for (const preview of ['one--evil', 'two--evil', 'three--evil'])
    await copies.push(preview, { uid: 'mallory' });
  for (const preview of ['one--bad', 'two--bad', 'three--bad']) await copies.push(preview, { uid: 'bob' });
  await copies.push('one--vile', { uid: 'carol' });
  await copies.push('one--ugly', { uid: 'bob', ...ofTool('ugly') });
  await copies.push('fix--shop', { uid: 'alice' });
  assert.deepEqual(copies.begun, ['one--evil', 'one--bad', 'one--vile']);
  await copies.end('one--evil');
  assert.equal(copies.begun.at(-1), 'fix--shop');
  await copies.end('one--bad');
  await copies.end('fix--shop');
  assert.deepEqual(copies.begun.slice(4), ['two--evil', 'one--ugly']);
});

for (const [who, logins] of [
  [
    'with deploy tokens',
    [{ uid: 'mallory' }, ...['evil-2', 'evil-3'].map((name) => ({ uid: 'mallory', ...ofTool(name) }))],
  ],
  ['with the accounts', [{ uid: 'mallory' }, { uid: 'tools.evil-2' }, { uid: 'tools.evil-3' }]],
  ['with only the accounts', ['evil-1', 'evil-2', 'evil-3'].map((name) => ({ uid: `tools.${name}` }))],
] as const) {
  test(`threat 242: one person never holds all places for copies into previews, even with several logins: a person ${who} of their tools`, async () => {
    await using copies = new HeldCopies();
    for (const [index, login] of logins.entries()) await copies.push(`one--evil-${index + 1}`, login);
    await copies.push('fix--shop', { uid: 'alice' });
    assert.deepEqual(copies.begun, ['one--evil-1', 'one--evil-2', 'fix--shop']);
    await copies.end('one--evil-1');
    assert.equal(copies.begun.length, 3);
    await copies.end('fix--shop');
    assert.equal(copies.begun.at(-1), 'one--evil-3');
  });
}

test('threat 235: a commit that is refused is not copied into a preview, and makes no preview', async () => {
  await using place = await Place.make();
  const { line } = await place.start();
  const { repositories, store } = place;
  await repositories.ensure(wikibot);
  const tree = await repositories.git(wikibot, ['mktree'], { input: '' });
  const who = ['-c', 'user.name=a', '-c', 'user.email=a@example.org'];
  const commit = commitId(await repositories.git(wikibot, [...who, 'commit-tree', '-m', 'empty', tree]));
  assert.ok(commit !== null);
  const push = await place.park('p1', { commit, branchRef: 'refs/heads/preview/fix' });
  const options = { ...place.context, line, limit: 10, days: 7, isTool: async () => false };
  await using previews = new ToolPreviews(options as unknown as ToolPreviewsOptions);
  await assert.rejects(previews.submit(push), { code: 'EMPTY_COMMIT' });
  assert.deepEqual(store.previews(), []);
  assert.equal(repositories.exists(nameOf('fix--wikibot')), false);
});

test('the clean-up of a repository and the copy of a commit into it never run at the same time, because git-prune would delete the pack of the copy', async () => {
  await using place = await Place.make();
  const { repositories } = place;
  const { commit } = await place.park('p1');
  const preview = nameOf('fix--wikibot');
  const done: string[] = [];
  const copy = async (id: string) => {
    const { signal } = new AbortController();
    await copyCommit(repositories, { tool: wikibot, commit }, { tool: preview, id, signal });
    done.push(id);
  };
  const tidied = async (name: string) => {
    await wait(200);
    done.push(name);
  };
  const { turns } = repositories;
  await Promise.all([turns.whileIdle(preview, () => tidied('clean-up-1')), copy('copy-1')]);
  const copying = copy('copy-2');
  // Look often, because a short copy could begin and end between two looks.
  while (!turns.isBusy(preview)) await setImmediate();
  await Promise.all([turns.whileIdle(preview, () => tidied('clean-up-2')), copying]);
  assert.deepEqual(done, ['clean-up-1', 'copy-1', 'copy-2', 'clean-up-2']);
});
