import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ToolName } from '../../src/core/names.ts';
import { upToDate } from '../../src/deploy/what-is-live.ts';
import type { Store } from '../../src/store/store.ts';

for (const { liveVersion, isStopped, expected } of [
  {
    liveVersion: 3,
    isStopped: false,
    expected: /^v3 of hello is live\. To deploy it again: ssh redeploy\nTo deploy an older/,
  },
  {
    liveVersion: 3,
    isStopped: true,
    expected: /^v3 of hello is stopped\. To start it: ssh restart\nTo deploy an older/,
  },
  { liveVersion: null, isStopped: false, expected: /^Nothing of hello is live yet\./ },
]) {
  test(`a push without news says how it stands: v${liveVersion}, ${isStopped ? 'stopped' : 'not stopped'}`, () => {
    const store = { tool: () => ({ liveVersion, isStopped }) } as unknown as Store;
    assert.match(
      upToDate(store, 'hello' as ToolName, 'main', (command) => `ssh ${command}`),
      expected,
    );
  });
}
