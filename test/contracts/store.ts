import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import type { DeployToken } from '../../src/core/types.ts';
import type { Store } from '../../src/store/store.ts';
import {
  artifactOf,
  buildOf,
  commitOf,
  deploymentOf,
  nameOf,
  otherTool,
  releaseOf,
  wikibot,
} from '../support/store-records.ts';

/** An empty store that can be closed and reopened. */
export interface StoreUnderTest {
  open(): Store;
  remove(): void;
}

const awake = { isStopped: false, isInMaintenance: false };

/** The contract of every Store. */
export function storeContract(name: string, make: () => StoreUnderTest): void {
  describe(`${name} as a Store`, () => {
    let place: StoreUnderTest;
    let store: Store;
    beforeEach(() => {
      place = make();
      store = place.open();
    });
    afterEach(() => {
      store.close();
      place.remove();
    });
    const reopen = () => {
      store.close();
      store = place.open();
    };
    const goLive = (deploymentId: string, vars: Record<string, string> = {}) => {
      store.addDeployment(deploymentOf(deploymentId));
      const release = store.addRelease(releaseOf(deploymentId, { configVars: vars }));
      store.goLive(wikibot, release.version, deploymentId, 5);
      return release.version;
    };

    test('a tool gets a number at its first use and keeps it', () => {
      const record = store.tool(wikibot);
      assert.deepEqual(record, { name: wikibot, number: 1, liveVersion: null, ...awake });
      assert.equal(store.tool(otherTool).number, 2);
      reopen();
      assert.deepEqual(store.tool(wikibot), record);
      assert.deepEqual(
        store.tools().map((tool) => tool.name),
        [otherTool, wikibot],
      );
    });

    test('a freeze of one tool and a freeze of all tools last until each is ended, also when the store is opened again', () => {
      store.freeze(null, 'the cluster moves', 1);
      store.freeze(wikibot, 'the database moves', 2);
      store.freeze(null, 'the cluster is away', 3);
      reopen();
      assert.deepEqual(store.freezeOf(wikibot), { reason: 'the database moves', at: 2, isOfAll: false });
      assert.deepEqual(store.freezeOf(otherTool), { reason: 'the cluster is away', at: 3, isOfAll: true });
      assert.equal(store.unfreeze(null), true);
      assert.equal(store.unfreeze(null), false);
      assert.equal(store.freezeOf(otherTool), null);
      assert.equal(store.freezeOf(wikibot)?.reason, 'the database moves');
    });

    test('threat 141: a preview belongs to its tool, counts for the tool’s share of the machine, and gets only the values of shared config vars', () => {
      const preview = nameOf('fix--wikibot');
      goLive('d1', { API_KEY: 'secret', LOCALE: 'de' });
      store.setSharedConfig(wikibot, ['LOCALE', 'GONE', 'LOCALE']);
      store.addPreview(preview, wikibot, { limits: { memory: 100, replicas: 1 }, by: 'alice', at: 7 });
      reopen();
      assert.deepEqual(store.sharedConfig(wikibot), ['GONE', 'LOCALE']);
      assert.equal(store.previewOf(preview), wikibot);
      assert.equal(store.previewOf(wikibot), null);
      const { number } = store.tool(wikibot);
      assert.equal(store.shareOf(store.tool(preview).number), number);
      assert.equal(store.shareOf(number), number);
      assert.equal(store.shareOf(987), 987);
      assert.equal(store.previewOf(nameOf('none--wikibot')), null);
      assert.deepEqual(store.configVars(preview), { LOCALE: 'de' });
      assert.deepEqual(store.ownLimits(preview), { memory: 100, replicas: 1 });
      assert.deepEqual(store.previews(), [
        { name: preview, tool: wikibot, usedAt: 7, liveVersion: null, isEnding: false },
      ]);
      store.freeze(wikibot, 'the database moves', 1);
      assert.equal(store.freezeOf(preview)?.reason, 'the database moves');
      store.unfreeze(wikibot);
      store.freeze(null, 'the cluster moves', 1);
      assert.equal(store.freezeOf(preview)?.reason, 'the cluster moves');
    });

    test('threat 248: the bytes of the releases of a preview count for its tool, and those of the tool for its previews', () => {
      const preview = nameOf('fix--wikibot');
      goLive('d1', { LOCALE: 'de' });
      store.addPreview(preview, wikibot, { limits: {}, by: 'alice', at: 7 });
      const bytes = () => [wikibot, preview].map((name) => store.releaseBytes(name, 0, Date.now()));
      const [ofTool] = bytes();
      assert.ok(ofTool && ofTool > 0);
      assert.deepEqual(bytes(), [ofTool, ofTool]);
      store.addDeployment({ ...deploymentOf('d2'), tool: preview });
      store.addRelease({ ...releaseOf('d2'), tool: preview, configVars: { LARGE: 'x'.repeat(1000) } });
      const [sum, same] = bytes();
      assert.ok(sum && sum > ofTool + 1000);
      assert.equal(same, sum);
    });

    test('a preview that has been removed leaves nothing in the store, but its builds still count for its tool, and the next preview gets its number', () => {
      const preview = nameOf('fix--wikibot');
      const now = Date.now();
      goLive('d1', { LOCALE: 'de' });
      store.setSharedConfig(wikibot, ['LOCALE']);
      store.addPreview(preview, wikibot, { limits: {}, by: 'alice', at: now });
      store.addDeployment({ ...deploymentOf('d2'), tool: preview, createdAt: now + 5 });
      store.addBuild({ ...buildOf('b2', 'd2'), tool: preview, deploymentId: 'd2', startedAt: now });
      const { version } = store.addRelease({ ...releaseOf('d2'), tool: preview });
      store.goLive(preview, version, 'd2', now);
      const token: DeployToken = {
        ...{ id: 'abcdefghij', tool: preview, name: 'ci', scope: 'deploy', by: 'alice' },
        ...{ createdAt: 1, expiresAt: 2, lastUsedAt: null },
      };
      store.addToken(token, Buffer.alloc(32));
      store.addCrash(preview, version, { process: 'web.1', at: now, words: 'exited' });
      store.addScheduledRun(preview, { type: 'a', startedAt: 1, endedAt: 2, exitCode: 0, detail: null });
      store.freeze(preview, 'for a while', 1);
      assert.deepEqual(store.previews(), [
        { name: preview, tool: wikibot, usedAt: now + 5, liveVersion: version, isEnding: false },
      ]);
      assert.deepEqual(store.buildStarts(wikibot, now - 1), [now]);
      assert.deepEqual(store.buildStarts(preview, now - 1), [now]);
      store.markEnding(preview);
      store.markEnding(wikibot);
      reopen();
      assert.equal(store.previews()[0]?.isEnding, true);
      assert.equal(store.tool(preview).liveVersion, null);
      assert.deepEqual(store.configVars(preview), {});
      assert.equal(store.tool(wikibot).liveVersion, 1);
      const { number } = store.tool(preview);
      store.removePreview(preview, now);
      assert.throws(() => store.removePreview(wikibot, now));
      assert.deepEqual(store.previews(), []);
      assert.deepEqual(
        store.tools().map(({ name }) => name),
        [wikibot],
      );
      assert.equal(store.deployment('d2'), null);
      assert.equal(store.build('b2'), null);
      assert.equal(store.freezeOf(preview), null);
      assert.deepEqual(store.tokens(preview), []);
      assert.deepEqual(store.releases(preview, 10), []);
      assert.deepEqual(store.buildStarts(wikibot, now - 1), [now]);
      assert.deepEqual(store.buildStarts(wikibot, now), []);
      const other = store.tool(nameOf('other')).number;
      assert.ok(other > number);
      for (const [name, expected] of [
        ['a', number],
        ['b', other + 1],
      ] as const) {
        const next = nameOf(`${name}--wikibot`);
        store.addPreview(next, wikibot, { limits: {}, by: 'alice', at: now });
        assert.equal(store.tool(next).number, expected);
      }
    });

    test('limits of a tool survive a restart of the server, and all releases of the tool get its present memory limit', () => {
      goLive('d1');
      assert.equal('mostMemoryBytes' in (store.release(wikibot, 1) ?? {}), false);
      store.setOwnLimits(wikibot, { memory: 100, builds: 3 });
      store.setOwnLimits(otherTool, { replicas: 2 });
      reopen();
      assert.deepEqual(store.ownLimits(wikibot), { memory: 100, builds: 3 });
      assert.deepEqual(store.ownLimits(otherTool), { replicas: 2 });
      assert.equal(store.release(wikibot, 1)?.mostMemoryBytes, 100);
      store.addDeployment(deploymentOf('d2'));
      assert.equal(store.addRelease(releaseOf('d2')).mostMemoryBytes, 100);
      store.setOwnLimits(wikibot, {});
      assert.equal('mostMemoryBytes' in (store.release(wikibot, 1) ?? {}), false);
    });

    test('threat 134: a lower limit of a tool also counts for the previews that it has already', () => {
      const preview = nameOf('fix--wikibot');
      goLive('d1');
      store.addPreview(preview, wikibot, { limits: { memory: 100, replicas: 1 }, by: 'alice', at: 7 });
      store.setOwnLimits(wikibot, { memory: 50, builds: 3, replicas: 5, repository: 2000 });
      assert.deepEqual(store.ownLimits(preview), { memory: 50, builds: 3, replicas: 1, repository: 2000 });
      store.setOwnLimits(wikibot, { memory: 200 });
      assert.deepEqual(store.ownLimits(preview), { memory: 100, replicas: 1 });
    });

    test('the store returns nothing for a tool, a deployment or a build that it does not know', () => {
      assert.deepEqual(store.deployments(wikibot, 10), []);
      assert.deepEqual(store.builds(wikibot, 10), []);
      assert.deepEqual(store.releases(wikibot, 10), []);
      assert.deepEqual(store.configVars(wikibot), {});
      assert.equal(store.release(wikibot, 1), null);
      assert.equal(store.deployment('none'), null);
      assert.equal(store.build('none'), null);
      assert.equal(store.newestBuildOf(wikibot, commitOf('a')), null);
      assert.deepEqual(store.tools(), []);
    });

    test('the store returns one tool’s deploy tokens as written, the newest first, and removes a token only for its own tool', () => {
      const token = (id: string, tool = wikibot): DeployToken => ({
        id,
        tool,
        name: 'ci',
        scope: 'deploy',
        by: 'alice',
        createdAt: 1,
        expiresAt: 2,
        lastUsedAt: null,
      });
      const hash = Uint8Array.of(1, 2, 255);
      store.addToken(token('a'), hash);
      store.addToken(token('b'), hash);
      store.addToken(token('c', otherTool), hash);
      store.useToken('a', 7);
      reopen();
      assert.deepEqual(store.tokens(wikibot), [token('b'), { ...token('a'), lastUsedAt: 7 }]);
      assert.deepEqual(store.token('b')?.token, token('b'));
      assert.deepEqual(Uint8Array.from(store.token('b')?.hash ?? []), hash);
      assert.equal(store.removeToken(otherTool, 'b'), false);
      assert.equal(store.removeToken(wikibot, 'b'), true);
      assert.equal(store.token('b'), null);
    });

    test('a deployment is read as it was written', () => {
      const full = deploymentOf('d1', {
        kind: 'rollback',
        oldCommit: commitOf('b'),
        door: 'http',
        message: 'ö "quoted" \u{1f600}\nsecond line',
        startedAt: 2,
      });
      store.addDeployment(full);
      store.addDeployment(deploymentOf('d2'));
      reopen();
      assert.deepEqual(store.deployment('d1'), full);
      assert.deepEqual(store.deployments(wikibot, 10), [deploymentOf('d2'), full]);
      assert.deepEqual(store.deployments(wikibot, 1), [deploymentOf('d2')]);
      assert.deepEqual(store.deployments(otherTool, 10), []);
    });

    test('the request of a deployment is read as it was written, and is null if there was none', () => {
      const request = {
        kind: 'push',
        useCache: false,
        withUpdates: [`update refs/tags/v1 ${commitOf('c')} ${commitOf('d')}`],
        branchRef: 'refs/heads/main',
      } as const;
      store.addDeployment(deploymentOf('d1'), request);
      store.addDeployment(deploymentOf('d2'));
      reopen();
      store.updateDeployment('d1', { state: 'building' });
      assert.deepEqual(store.requestOf('d1'), request);
      assert.equal(store.requestOf('d2'), null);
      assert.equal(store.requestOf('none'), null);
    });

    test('threat 225: the refs of an atomic push are not kept after its deployment has failed, or when its release is no longer live', () => {
      const request = { kind: 'push', useCache: true, branchRef: 'refs/heads/main' } as const;
      const withUpdates = [`update refs/tags/${'x'.repeat(200)} ${commitOf('c')} ${commitOf('d')}`];
      for (const id of ['d1', 'd2', 'd3']) store.addDeployment(deploymentOf(id), { ...request, withUpdates });
      store.updateDeployment('d1', { state: 'failed', reason: 'build failed', endedAt: 9 });
      const { version } = store.addRelease(releaseOf('d2'));
      store.goLive(wikibot, version, 'd2', 9);
      reopen();
      assert.equal(store.requestOf('d1'), null);
      // The next start of the server may still have to move the refs of the live release.
      assert.deepEqual(store.requestOf('d2'), { ...request, withUpdates });
      const next = store.addRelease(releaseOf('d3'));
      store.goLive(wikibot, next.version, 'd3', 9);
      assert.equal(store.requestOf('d2'), null);
      assert.equal(store.deployment('d1')?.reason, 'build failed');
    });

    test('an update of a deployment changes only the given fields', () => {
      store.addDeployment(deploymentOf('d1', { message: 'kept' }));
      store.addDeployment(deploymentOf('d2'));
      store.updateDeployment('d1', { state: 'failed', reason: 'build failed', endedAt: 9 });
      const expected = deploymentOf('d1', {
        message: 'kept',
        state: 'failed',
        reason: 'build failed',
        endedAt: 9,
      });
      assert.deepEqual(store.deployment('d1'), expected);
      assert.deepEqual(store.deployment('d2'), deploymentOf('d2'));
      store.updateDeployment('d1', { reason: null });
      assert.equal(store.deployment('d1')?.reason, null);
      assert.throws(() => store.updateDeployment('none', { state: 'failed' }), /no deployment none/);
    });

    test('a deployment id cannot be used twice', () => {
      store.addDeployment(deploymentOf('d1'));
      assert.throws(() => store.addDeployment(deploymentOf('d1', { tool: otherTool })));
    });

    test('unfinished deployments are those of all tools that have not ended, the oldest first', () => {
      const states = [
        'waiting',
        'building',
        'releasing',
        'rolling-out',
        'live',
        'failed',
        'cancelled',
        'superseded',
        'interrupted',
      ] as const;
      for (const [index, state] of states.entries()) {
        store.addDeployment(
          deploymentOf(`d${index}`, { state, tool: index % 2 === 0 ? wikibot : otherTool }),
        );
      }
      assert.deepEqual(
        store.unfinishedDeployments().map(({ id }) => id),
        ['d0', 'd1', 'd2', 'd3'],
      );
    });

    test('a build is read as it was written, with its artifact once it has ended', () => {
      store.addDeployment(deploymentOf('d1'));
      store.addBuild(buildOf('b1', 'd1'));
      assert.deepEqual(store.build('b1'), buildOf('b1', 'd1'));
      const artifact = { ...artifactOf('b1'), kind: 'image' } as const;
      store.endBuild('b1', 'BUILD_SUCCESS', artifact, 7);
      reopen();
      const ended = buildOf('b1', 'd1', { state: 'BUILD_SUCCESS', artifact, endedAt: 7 });
      assert.deepEqual(store.build('b1'), ended);
      assert.deepEqual(store.builds(wikibot, 10), [ended]);
      assert.throws(() => store.endBuild('none', 'BUILD_FAILURE', null, 7), /no build none/);
    });

    test('the store returns the start times of one tool’s builds after a given moment, in order', () => {
      for (const [index, tool] of [wikibot, wikibot, otherTool, wikibot].entries()) {
        store.addDeployment(deploymentOf(`d${index}`, { tool }));
        store.addBuild(buildOf(`b${index}`, `d${index}`, { tool, startedAt: 100 + index }));
      }
      assert.deepEqual(store.buildStarts(wikibot, 100), [101, 103]);
      assert.deepEqual(store.buildStarts(wikibot, 200), []);
    });

    test('the newest build of a commit is found without failed builds, other tools, other commits and forgotten artifacts', () => {
      store.addDeployment(deploymentOf('d1'));
      for (const [id, change] of [
        ['b1', {}],
        ['b2', {}],
        ['b3', { commit: commitOf('b') }],
        ['b4', { tool: otherTool }],
      ] as const) {
        store.tool(otherTool);
        store.addBuild(buildOf(id, 'd1', change));
        store.endBuild(id, 'BUILD_SUCCESS', artifactOf(id), 7);
      }
      store.addBuild(buildOf('b5', 'd1'));
      store.endBuild('b5', 'BUILD_FAILURE', null, 7);
      assert.equal(store.newestBuildOf(wikibot, commitOf('a'))?.id, 'b2');
      store.forgetArtifact('b2');
      assert.equal(store.newestBuildOf(wikibot, commitOf('a'))?.id, 'b1');
      assert.equal(store.build('b2')?.artifact, null);
      store.forgetArtifact('b1');
      assert.equal(store.newestBuildOf(wikibot, commitOf('a')), null);
    });

    test('a release is read as it was written', () => {
      store.addDeployment(deploymentOf('d1'));
      const release = releaseOf('d1');
      const given = { ...release, artifact: { ...release.artifact, kind: 'image' } } as const;
      const added = store.addRelease(given);
      assert.deepEqual(added, { ...given, version: 1 });
      reopen();
      assert.deepEqual(store.release(wikibot, 1), { ...added, state: 'created', promotedTo: null });
    });

    test('a release lists the releases of other tools that promotions have made from it, such as “other v3”', () => {
      store.addDeployment(deploymentOf('d1'));
      store.addRelease(releaseOf('d1'));
      store.notePromotion(wikibot, 1, 'other v3');
      store.notePromotion(wikibot, 1, 'other v4');
      reopen();
      assert.equal(store.release(wikibot, 1)?.promotedTo, 'other v3, other v4');
    });

    test('after the rename of a tool, releases and deployments of other tools that mention it because of a promotion have its new name', () => {
      const [oldName, newName] = ['other', 'renamed'] as [typeof wikibot, typeof wikibot];
      store.addDeployment(deploymentOf('d1', { kind: 'promote', message: 'Promote v7 of other' }));
      store.addDeployment(deploymentOf('d2', { kind: 'push', message: 'Promote v7 of other' }));
      store.addRelease({ ...releaseOf('d1'), description: 'Promote v7 of other' });
      store.addRelease({ ...releaseOf('d2'), description: 'Promote v7 of another' });
      store.updateDeployment('d1', { version: 1 });
      for (const to of ['another v1', 'other v3', 'other v40']) store.notePromotion(wikibot, 1, to);
      store.tool(oldName);
      store.renameTool(oldName, newName, 1);
      reopen();
      assert.equal(store.release(wikibot, 1)?.promotedTo, 'another v1, renamed v3, renamed v40');
      assert.equal(store.release(wikibot, 1)?.description, 'Promote v7 of renamed');
      assert.equal(store.release(wikibot, 2)?.description, 'Promote v7 of another');
      assert.equal(store.deployment('d1')?.message, 'Promote v7 of renamed');
      assert.equal(store.deployment('d2')?.message, 'Promote v7 of other');
    });

    test('a list of releases does not contain their config vars, which together may take gigabytes', () => {
      store.addDeployment(deploymentOf('d1'));
      const { configVars: _, ...listed } = store.addRelease(releaseOf('d1'));
      assert.deepEqual(store.releases(wikibot, 10), [{ ...listed, state: 'created', promotedTo: null }]);
    });

    test('the version numbers of the releases of a tool only increase, and no number is used twice', () => {
      store.addDeployment(deploymentOf('d1'));
      store.addDeployment(deploymentOf('d2', { tool: otherTool }));
      assert.equal(store.addRelease(releaseOf('d1')).version, 1);
      store.failRelease(wikibot, 1);
      assert.equal(store.addRelease(releaseOf('d1')).version, 2);
      reopen();
      assert.equal(store.addRelease(releaseOf('d1')).version, 3);
      assert.equal(store.addRelease(releaseOf('d2', { tool: otherTool })).version, 1);
    });

    test('if a release cannot be written, the next release gets its version number', () => {
      store.addDeployment(deploymentOf('d1'));
      assert.throws(() => store.addRelease(releaseOf('no such deployment')));
      assert.equal(store.addRelease(releaseOf('d1')).version, 1);
    });

    test('when a release goes live, the store changes the release, the tool, the config vars and the deployment together', () => {
      store.setConfigVars(wikibot, { OLD: 'x' }, 'alice');
      assert.equal(goLive('d1', { A: '1' }), 1);
      store.setStopped(wikibot, true);
      assert.equal(goLive('d2', { A: '2', B: '' }), 2);
      reopen();
      assert.deepEqual(
        store.releases(wikibot, 10).map(({ version, state }) => [version, state]),
        [
          [2, 'live'],
          [1, 'replaced'],
        ],
      );
      assert.deepEqual(store.tool(wikibot), { name: wikibot, number: 1, liveVersion: 2, ...awake });
      assert.deepEqual(store.configVars(wikibot), { A: '2', B: '' });
      const { state, version, endedAt } = store.deployment('d2') ?? {};
      assert.deepEqual({ state, version, endedAt }, { state: 'live', version: 2, endedAt: 5 });
    });

    test('if the store cannot record a release as live, it changes nothing', () => {
      goLive('d1', { A: '1' });
      store.addDeployment(deploymentOf('d2'));
      store.addRelease(releaseOf('d2', { configVars: { A: '2' } }));
      assert.throws(() => store.goLive(wikibot, 2, 'no such deployment', 5));
      store.failRelease(wikibot, 2);
      assert.throws(() => store.goLive(wikibot, 2, 'd2', 5), /v2 of wikibot/);
      assert.throws(() => store.goLive(wikibot, 9, 'd2', 5), /v9 of wikibot/);
      assert.equal(store.release(wikibot, 1)?.state, 'live');
      assert.equal(store.tool(wikibot).liveVersion, 1);
      assert.deepEqual(store.configVars(wikibot), { A: '1' });
      assert.equal(store.deployment('d2')?.state, 'waiting');
    });

    test('the live release may go live again for a restart, but a replaced release may not', () => {
      goLive('d1');
      goLive('d2');
      store.setStopped(wikibot, true);
      store.addDeployment(deploymentOf('d3', { kind: 'restart' }));
      store.goLive(wikibot, 2, 'd3', 6);
      assert.equal(store.deployment('d3')?.state, 'live');
      assert.equal(store.tool(wikibot).isStopped, false);
      assert.throws(() => store.goLive(wikibot, 1, 'd3', 7));
    });

    test('when the store records the numbers of processes of a scale, it also ends the deployment of this scale; later releases keep the numbers', () => {
      goLive('d1');
      assert.deepEqual(store.replicas(wikibot), {});
      store.addDeployment(deploymentOf('d2', { kind: 'scale' }));
      store.setReplicas(wikibot, { web: 2, constructor: 0 }, 'd2', 6);
      assert.equal(store.deployment('d2')?.state, 'live');
      assert.equal(store.deployment('d2')?.endedAt, 6);
      goLive('d3');
      store.addDeployment(deploymentOf('d4', { kind: 'scale' }));
      store.setReplicas(wikibot, { web: 2, constructor: 0 }, 'd4', 6, { web: { memoryBytes: 5 } });
      reopen();
      assert.deepEqual(store.replicas(wikibot), { web: 2, constructor: 0 });
      assert.deepEqual(store.release(wikibot, 1)?.sizes, { web: { memoryBytes: 5 } });
      assert.deepEqual(store.replicas(otherTool), {});
      assert.throws(() => store.setReplicas(wikibot, { web: 3 }, 'nowhere', 7));
      assert.deepEqual(store.replicas(wikibot), { web: 2, constructor: 0 });
    });

    test('if a release of an earlier version of this server runs a worker, later releases keep the worker running until a scale', () => {
      const withWorker = (id: string, worker: object) => {
        const processes = [
          ...artifactOf(id).processes,
          { type: 'worker', command: ['work'], isDefault: false, ...worker },
        ];
        store.addDeployment(deploymentOf(id));
        const { version } = store.addRelease(releaseOf(id, { artifact: { ...artifactOf(id), processes } }));
        store.goLive(wikibot, version, id, 5);
      };
      withWorker('d1', {});
      assert.deepEqual(store.replicas(wikibot), {});
      withWorker('d2', { replicas: 0 });
      reopen();
      assert.deepEqual(store.replicas(wikibot), { worker: 1 });
      store.addDeployment(deploymentOf('d3', { kind: 'scale' }));
      store.setReplicas(wikibot, { worker: 0 }, 'd3', 6);
      withWorker('d4', {});
      withWorker('d5', { replicas: 0 });
      assert.deepEqual(store.replicas(wikibot), { worker: 0 });
    });

    test('a tool stays in maintenance over releases and starts of the server', () => {
      store.setMaintenance(wikibot, true);
      goLive('d1');
      reopen();
      assert.equal(store.tool(wikibot).isInMaintenance, true);
      store.setMaintenance(wikibot, false);
      assert.equal(store.tool(wikibot).isInMaintenance, false);
    });

    test('the crashes of each process of a release are counted, and the counts survive a restart of the server', () => {
      const [one, two] = [goLive('d1'), goLive('d2')];
      const crash = (version: number, process: string, at: number, words: string) =>
        store.addCrash(wikibot, version, { process, at, words });
      crash(one, 'web.1', 10, 'exited with code 1');
      crash(two, 'worker.1', 20, 'exited with code 2');
      crash(two, 'web.1', 30, 'exited with code 3');
      crash(two, 'web.1', 40, 'was ended by the signal SIGKILL');
      reopen();
      assert.deepEqual(store.crashes(wikibot), [
        {
          version: two,
          process: 'web.1',
          count: 2,
          firstAt: 30,
          lastAt: 40,
          words: 'was ended by the signal SIGKILL',
        },
        { version: two, process: 'worker.1', count: 1, firstAt: 20, lastAt: 20, words: 'exited with code 2' },
        { version: one, process: 'web.1', count: 1, firstAt: 10, lastAt: 10, words: 'exited with code 1' },
      ]);
      assert.deepEqual(store.crashes(otherTool), []);
    });

    test('a release that was live cannot be marked as failed', () => {
      goLive('d1');
      assert.throws(() => store.failRelease(wikibot, 1));
      assert.throws(() => store.failRelease(wikibot, 2));
    });

    test('config vars can be set for a tool without a release, and for the next release of a live tool', () => {
      store.setConfigVars(wikibot, { KEY: 'välue\nwith lines', EMPTY: '' }, 'alice');
      reopen();
      assert.deepEqual(store.configVars(wikibot), { KEY: 'välue\nwith lines', EMPTY: '' });
      assert.deepEqual(store.configVars(otherTool), {});
      goLive('d1', { KEY: 'new' });
      store.setConfigVars(wikibot, { KEY: 'newer' }, 'alice');
      store.addDeployment(deploymentOf('restart', { kind: 'restart' }));
      store.goLive(wikibot, 1, 'restart', 6);
      reopen();
      assert.deepEqual(store.configVars(wikibot), { KEY: 'newer' });
      assert.deepEqual(store.release(wikibot, 1)?.configVars, { KEY: 'new' });
    });

    test('paused schedules and the newest 1,000 ended scheduled runs are kept, each run once', () => {
      const at = { startedAt: 1, endedAt: 2, exitCode: 3, detail: 'exited with code 3' };
      store.setPaused(wikibot, 'update', true);
      store.setPaused(wikibot, 'nightly', true);
      store.setPaused(wikibot, 'update', true);
      store.addScheduledRun(wikibot, { type: 'update', ...at });
      store.addScheduledRun(wikibot, { type: 'update', ...at, endedAt: 9 });
      store.addScheduledRun(wikibot, { type: 'nightly', ...at, exitCode: null, detail: null });
      reopen();
      assert.deepEqual(store.pausedSchedules(wikibot), ['nightly', 'update']);
      store.setPaused(wikibot, 'nightly', false);
      assert.deepEqual([store.pausedSchedules(wikibot), store.pausedSchedules(otherTool)], [['update'], []]);
      const [newest, oldest, ...others] = store.scheduledRuns(wikibot, null, 10);
      assert.deepEqual(others, []);
      assert.deepEqual({ ...oldest, number: 0 }, { number: 0, type: 'update', ...at });
      assert.ok((newest?.number ?? 0) > (oldest?.number ?? 0));
      assert.deepEqual(store.scheduledRuns(wikibot, 'update', 10), [oldest]);
      assert.deepEqual(store.scheduledRuns(otherTool, null, 10), []);
      for (let startedAt = 10; startedAt < 1015; startedAt += 1)
        store.addScheduledRun(wikibot, { type: 'update', ...at, startedAt });
      assert.equal(store.scheduledRuns(wikibot, null, 2000).length, 1000);
      assert.equal(store.scheduledRuns(wikibot, null, 1)[0]?.startedAt, 1014);
    });

    test('the store records who changed which config vars, but no values, and nothing if no config var changes', () => {
      store.setConfigVars(wikibot, { A: 's3cret', B: 's3cret' }, 'bob');
      goLive('d1', { A: 's3cret', B: 'other', C: '' });
      goLive('d2', { A: 's3cret', B: 'other', C: '' });
      store.setConfigVars(wikibot, { A: 's3cret', B: 'other', C: '' }, 'bob');
      store.setConfigVars(wikibot, {}, 'bob');
      reopen();
      const changes = store.configChanges(wikibot, 10);
      assert.ok(changes.every(({ at }) => at > 0));
      assert.deepEqual(
        changes.map(({ at: _, ...change }) => change),
        [
          { version: null, by: 'bob', added: [], changed: [], removed: ['A', 'B', 'C'] },
          { version: 1, by: 'alice', added: ['C'], changed: ['B'], removed: [] },
          { version: null, by: 'bob', added: ['A', 'B'], changed: [], removed: [] },
        ],
      );
      assert.deepEqual(store.configChanges(wikibot, 1), changes.slice(0, 1));
      assert.deepEqual(store.configChanges(otherTool, 10), []);
    });

    test('threat 84: a clock that jumps does not change the order of deployments, builds and releases', () => {
      const times = [900, 5, 0, 1_700_000_000_000, 3, -4, 3];
      for (const [index, at] of times.entries()) {
        const id = `${times.length - index}`;
        store.addDeployment(deploymentOf(id, { createdAt: at }));
        store.addBuild(buildOf(id, id, { startedAt: at }));
        store.endBuild(id, 'BUILD_SUCCESS', artifactOf(id), at - 1);
        store.addRelease(releaseOf(id, { createdAt: at }));
      }
      const newestFirst = ['1', '2', '3', '4', '5', '6', '7'];
      assert.deepEqual(
        store.deployments(wikibot, 10).map(({ id }) => id),
        newestFirst,
      );
      assert.deepEqual(
        store.builds(wikibot, 10).map(({ id }) => id),
        newestFirst,
      );
      assert.deepEqual(
        store.unfinishedDeployments().map(({ id }) => id),
        newestFirst.toReversed(),
      );
      assert.deepEqual(
        store.releases(wikibot, 10).map(({ version }) => version),
        [7, 6, 5, 4, 3, 2, 1],
      );
      assert.equal(store.newestBuildOf(wikibot, commitOf('a'))?.id, '1');
    });

    test('an SQL statement in the id, message or author of a deployment is stored as text and does not run', () => {
      const text = `'); DROP TABLE tools; --`;
      store.addDeployment(deploymentOf(text, { message: text, by: text }));
      assert.equal(store.deployment(text)?.message, text);
      assert.equal(store.tool(nameOf('wikibot')).number, 1);
    });
  });
}
