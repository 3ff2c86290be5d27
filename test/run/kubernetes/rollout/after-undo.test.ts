import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DeployError } from '../../../../src/core/errors.ts';
import { afterUndo } from '../../../../src/run/kubernetes/rollout/after-undo.ts';

const crashed = new DeployError('CRASHED', 'web exited with code 1 while starting', 'Read its last lines.');
const away = new DeployError('CLUSTER_UNREACHABLE', 'the cluster does not answer', 'Tell the operator.');

test('if a rollout fails and undoing it fails too, the message gives the rollout’s reason first', async () => {
  await assert.rejects(
    afterUndo(crashed, () => Promise.reject(away)),
    {
      code: 'CRASHED',
      message: /^web exited with code 1 while starting\. .*: the cluster does not answer$/,
      hint: 'Read its last lines.',
    },
  );
});

test('if a rollout fails and is undone, the message gives only the rollout’s reason', async () => {
  await assert.rejects(
    afterUndo(crashed, () => Promise.resolve()),
    crashed,
  );
});
