import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { V1Deployment } from '@kubernetes/client-node';
import type { Replicas } from '../../../../src/core/types.ts';
import { LABELS, LIVE } from '../../../../src/run/kubernetes/manifests/object-names.ts';
import { findLiveRollout } from '../../../../src/run/kubernetes/resume/find-live-rollout.ts';
import { web, worker } from '../../tool-sources.ts';
import { imageRelease } from '../a-rollout.ts';

const release = imageRelease([web(), worker()]);

interface Found {
  readonly version?: number;
  readonly types?: readonly string[];
  readonly isLive?: boolean;
  /** When the object was created, in seconds. */
  readonly at?: number;
}

function deployments(
  id: string,
  { version = 42, types = ['web', 'worker'], isLive = false, at = 0 }: Found = {},
) {
  return types.map(
    (type): V1Deployment => ({
      metadata: {
        labels: { [LABELS.rollout]: id, [LABELS.version]: String(version), [LABELS.process]: type },
        annotations: { [LIVE]: String(isLive) },
        creationTimestamp: new Date(at * 1000),
      },
    }),
  );
}

describe('a starting server resumes', () => {
  for (const { name, found, selected, rolloutId, others } of [
    {
      name: 'nothing if the cluster has no rollout of the tool',
      found: [],
      selected: null,
      rolloutId: null,
      others: [],
    },
    { name: 'the only rollout', found: deployments('a'), selected: 'a', rolloutId: 'a', others: [] },
    {
      name: 'the rollout that the Service selects, not a newer rollout of the same release',
      found: [...deployments('a'), ...deployments('b', { at: 9 })],
      selected: 'a',
      rolloutId: 'a',
      others: ['b'],
    },
    {
      name: 'the rollout that is marked as live, if the Service selects none',
      found: [...deployments('a', { isLive: true }), ...deployments('b', { at: 9 })],
      selected: null,
      rolloutId: 'a',
      others: ['b'],
    },
    {
      name: 'the rollout of the recorded release, although the Service still selects the previous release',
      found: [...deployments('a', { version: 41, isLive: true }), ...deployments('b')],
      selected: 'a',
      rolloutId: 'b',
      others: ['a'],
    },
    {
      name: 'no rollout of another release',
      found: deployments('a', { version: 43 }),
      selected: null,
      rolloutId: null,
      others: ['a'],
    },
    {
      name: 'no incomplete rollout',
      found: deployments('a', { types: ['web'] }),
      selected: 'a',
      rolloutId: null,
      others: ['a'],
    },
  ]) {
    test(`a starting server resumes ${name}`, () =>
      assert.deepEqual(findLiveRollout(found, { release, replicas: {} }, selected), { rolloutId, others }));
  }

  test('a rollout without a Deployment for a named command is incomplete only if the command is kept running', () => {
    const named = imageRelease([web(), { ...worker(), replicas: 0 }]);
    const found = deployments('a', { types: ['web'] });
    const idFor = (replicas: Replicas) => findLiveRollout(found, { release: named, replicas }, 'a').rolloutId;
    assert.deepEqual([idFor({}), idFor({ worker: 1 })], ['a', null]);
  });
});
