import assert from 'node:assert/strict';
import { test } from 'node:test';
import { amountWords, quotaRefusal } from '../../../src/kubernetes/faults/quota-words.ts';

const said = (asked: string, used: string, hard: string) =>
  `pods "b" is forbidden: exceeded quota: one, requested: ${asked}, used: ${used}, limited: ${hard}`;

for (const { name, message, canFit, words } of [
  {
    name: 'a quota that another build uses up',
    message: said(
      'limits.memory=2147483648,requests.cpu=250m',
      'limits.memory=2147483648,requests.cpu=250m',
      'limits.memory=3Gi,requests.cpu=2',
    ),
    canFit: true,
    words:
      'memory (limits): 2 GiB more asked for, 2 GiB of 3 GiB in use; cpu (requests): 250m more asked for, 250m of 2 in use',
  },
  {
    name: 'a quota that is too small for any build',
    message: said('limits.memory=2147483648', 'limits.memory=0', 'limits.memory=1Gi'),
    canFit: false,
    words: 'memory (limits): 2 GiB more asked for, 0 of 1 GiB in use',
  },
  {
    name: 'a quota of 0',
    message: said('pods=1', 'pods=0', 'pods=0'),
    canFit: false,
    words: 'pods: 1 more asked for, 0 of 0 in use',
  },
  {
    name: 'a quota of disk space',
    message: said(
      'requests.ephemeral-storage=536870912',
      'requests.ephemeral-storage=1536Mi',
      'requests.ephemeral-storage=2Gi',
    ),
    canFit: true,
    words: 'ephemeral-storage (requests): 512 MiB more asked for, 1.5 GiB of 2 GiB in use',
  },
]) {
  test(`an exceeded quota is explained: ${name}`, () => {
    assert.deepEqual(quotaRefusal(message), { quota: 'one', canFit, words });
  });
}

test('a message of the cluster about something else is not taken for a refusal by a quota', () => {
  assert.equal(quotaRefusal('pods "b" is forbidden: violates PodSecurity "restricted"'), null);
});

test('amounts of bytes are formatted in MiB and GiB, and other amounts of a quota are unchanged', () => {
  assert.equal(amountWords('count/jobs.batch', '1073741824'), '1073741824');
  assert.equal(amountWords('requests.storage', '1073741824'), '1 GiB');
});
