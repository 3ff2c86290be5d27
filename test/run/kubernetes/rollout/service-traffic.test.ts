import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { V1Endpoint } from '@kubernetes/client-node';
import { endpointsFollow } from '../../../../src/run/kubernetes/rollout/service-traffic.ts';
import type { ObjectParts } from '../../../../src/run/kubernetes/rollout-objects.ts';
import { rolloutOf } from '../a-rollout.ts';

const { signal } = new AbortController();
const rollout = rolloutOf([{ type: 'web', command: ['x'], isDefault: true }]);
const endpoint = (uid: string, ready: boolean): V1Endpoint => ({
  addresses: ['10.0.0.1'],
  conditions: { ready },
  targetRef: { uid },
});

for (const { name, endpoints, isReady = true, code } of [
  { name: 'an endpoint of the old release', endpoints: [endpoint('old', true)], code: 'CLUSTER_UNREACHABLE' },
  { name: 'no endpoint, although a pod is ready', endpoints: [], code: 'CLUSTER_UNREACHABLE' },
  { name: 'no endpoint, because no pod is ready', endpoints: [], isReady: false, code: null },
  {
    name: 'endpoints of the new and the old release',
    endpoints: [endpoint('new', true), endpoint('old', true)],
    code: 'CLUSTER_UNREACHABLE',
  },
  {
    name: 'an endpoint of the new release that is not ready',
    endpoints: [endpoint('new', false)],
    code: null,
  },
  { name: 'a ready endpoint of the new release', endpoints: [endpoint('new', true)], code: null },
]) {
  test(`the switch to a new release succeeds only if the Service has endpoints and all of them belong to that release, or if no pod is ready: ${name}`, async () => {
    const parts = {
      cluster: { discovery: { listNamespacedEndpointSlice: async () => ({ items: [{ endpoints }] }) } },
      pods: { ofRollout: () => [{ uid: 'new', type: 'web', isReady }] },
    } as unknown as Pick<ObjectParts, 'cluster' | 'pods'>;
    const following = endpointsFollow(parts, rollout, signal, 100);
    if (code === null) await following;
    else await assert.rejects(following, { code });
  });
}
