import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { V1Deployment } from '@kubernetes/client-node';
import { adoption } from '../../../src/run/kubernetes/adoption.ts';
import { LABELS, LIVE } from '../../../src/run/kubernetes/names.ts';
import { web, worker } from '../tool-sources.ts';
import { imageRelease } from './a-rollout.ts';

const release = imageRelease([web(), worker()]);

interface Found {
  readonly version?: number;
  readonly types?: readonly string[];
  readonly isLive?: boolean;
  /** Seconds after another. */
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

describe('what a server that starts goes on with', () => {
  for (const { name, found, selected, rolloutId, others } of [
    { name: 'nothing', found: [], selected: null, rolloutId: null, others: [] },
    { name: 'the only one', found: deployments('a'), selected: 'a', rolloutId: 'a', others: [] },
    {
      name: 'the one that gets the traffic, before a newer one of the same release',
      found: [...deployments('a'), ...deployments('b', { at: 9 })],
      selected: 'a',
      rolloutId: 'a',
      others: ['b'],
    },
    {
      name: 'the one that is marked, where no traffic tells',
      found: [...deployments('a', { isLive: true }), ...deployments('b', { at: 9 })],
      selected: null,
      rolloutId: 'a',
      others: ['b'],
    },
    {
      name: 'the recorded release, though the traffic still goes to the one before',
      found: [...deployments('a', { version: 41, isLive: true }), ...deployments('b')],
      selected: 'a',
      rolloutId: 'b',
      others: ['a'],
    },
    {
      name: 'none of another release',
      found: deployments('a', { version: 43 }),
      selected: null,
      rolloutId: null,
      others: ['a'],
    },
    {
      name: 'none that is not whole',
      found: deployments('a', { types: ['web'] }),
      selected: 'a',
      rolloutId: null,
      others: ['a'],
    },
  ]) {
    test(name, () => assert.deepEqual(adoption(found, release, selected), { rolloutId, others }));
  }
});
