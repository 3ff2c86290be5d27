import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApiException } from '@kubernetes/client-node';
import { makeInRoom } from '../../../../src/builder/kubernetes/job/quota-wait.ts';
import { DeployError } from '../../../../src/core/errors.ts';

const status = {
  reason: 'Forbidden',
  message: 'pods "x" is forbidden: exceeded quota: few, requested: pods=1, used: pods=1, limited: pods=1',
};
const full = new DeployError('QUOTA_EXCEEDED', 'the quota is used up', '', {
  cause: new ApiException(403, 'Forbidden', JSON.stringify(status), {}),
});

test('a build that waits for quota twice may wait no longer in total than a build that waits once', async () => {
  let spentMs = 0;
  let calls = 0;
  const room = {
    ...{ namespace: 'builds', waitMs: 10_000, spentMs: () => spentMs },
    ...{ onWait: () => {}, signal: AbortSignal.timeout(30_000) },
  };
  const make = async () => {
    calls += 1;
    // The first wait, as for a Job, succeeds. The second, as for its Secrets, fails.
    spentMs = calls < 2 ? 9000 : 10_001;
    if (calls !== 2) throw full;
  };
  await makeInRoom(make, room);
  await assert.rejects(makeInRoom(make, room), { code: 'BUILD_QUOTA' });
  assert.equal(calls, 3, 'the second wait tried only once');
});
