import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LostNamespace } from '../../../src/core/lost-namespace.ts';
import type { ToolName } from '../../../src/core/names.ts';
import { upToDate, whatIsLive } from '../../../src/deploy/release/live-release.ts';
import type { Store } from '../../../src/store/store.ts';

for (const { liveVersion, isStopped, expected } of [
  {
    liveVersion: 3,
    isStopped: false,
    expected:
      /^v3 of hello is live\. To deploy it again: ssh redeploy hello\nIf git rejects .*: git pull --rebase toolforge main, and push again\nTo deploy an older or other/,
  },
  {
    liveVersion: 3,
    isStopped: true,
    expected: /^v3 of hello is stopped\. To start it: ssh restart hello\nIf git rejects /,
  },
  { liveVersion: null, isStopped: false, expected: /^Nothing of hello is live yet\./ },
]) {
  test(`a push without changes says which release is live (version ${liveVersion}, ${isStopped ? 'stopped' : 'not stopped'})`, () => {
    const store = { tool: () => ({ liveVersion, isStopped }), previews: () => [] } as unknown as Store;
    assert.match(
      upToDate(
        { store, runtime: { lostNamespace: () => null } },
        'hello' as ToolName,
        'main',
        (command) => `ssh ${command}`,
      ),
      expected,
    );
  });
}

for (const { state, live, pushed } of [
  {
    state: 'gone',
    live: 'no process of hello runs, although v3 is its release: its namespace tool-hello was deleted',
    pushed: /^No process of hello runs, .* was deleted\.\nAsk the operator to make the namespace again/,
  },
  {
    state: 'leaving',
    live: 'v3 ends: its namespace tool-hello is being deleted',
    pushed: /^v3 ends: .* is being deleted\.\nAsk the operator/,
  },
  {
    state: 'empty',
    live: 'no process of hello runs, although v3 is its release: its namespace tool-hello was deleted and made again, and this server has not started the release there yet',
    pushed: /\nAsk the operator to give this server its rights in the namespace\./,
  },
] as const) {
  test(`a release whose namespace was deleted is not called live (state of the namespace: ${state})`, () => {
    const store = {
      tool: () => ({ liveVersion: 3, isStopped: false }),
      previewOf: () => null,
      previews: () => [],
    } as unknown as Store;
    const runtime = { lostNamespace: (): LostNamespace => ({ namespace: 'tool-hello', state }) };
    assert.equal(whatIsLive(store, runtime, 'hello' as ToolName), live);
    assert.match(
      upToDate({ store, runtime }, 'hello' as ToolName, 'main', (command) => command),
      pushed,
    );
  });
}
