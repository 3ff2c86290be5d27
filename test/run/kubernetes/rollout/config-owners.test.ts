import assert from 'node:assert/strict';
import { json } from 'node:stream/consumers';
import { test } from 'node:test';
import type { KubernetesObject } from '@kubernetes/client-node';
import type { Process } from '../../../../src/core/types.ts';
import { ToolPods } from '../../../../src/run/kubernetes/pods/tool-pods.ts';
import { makeRollout } from '../../../../src/run/kubernetes/rollout-objects.ts';
import { answerJson, answerKinds, fakeApi } from '../../../kubernetes/fake-api.ts';
import { rolloutOf } from '../a-rollout.ts';
import { manifestConfig } from '../manifests/manifest-config.ts';

const command: Process = { type: 'command', command: ['work'], isDefault: false, replicas: 0 };
const update: Process = {
  ...{ type: 'update', command: ['work'], isDefault: false },
  schedule: { text: '@daily', cron: '5 4 * * *', retry: 0, timeoutSeconds: null },
};

/** Makes a rollout that keeps the named command `command` running. @returns the names of the owners of its Secret. */
async function ownersOf(processes: readonly Process[]): Promise<string[]> {
  const applied: KubernetesObject[] = [];
  const api = await fakeApi((url, response, request) => {
    if (answerKinds(url, response)) return;
    void json(request).then((body) => {
      const object = body as KubernetesObject;
      applied.push(object);
      answerJson(response, { ...object, metadata: { ...object.metadata, uid: object.metadata?.name } });
    });
  });
  const stop = new AbortController();
  try {
    const pods = new ToolPods('tool-');
    const parts = { cluster: api.cluster, pods, config: manifestConfig, closing: stop.signal };
    const rollout = rolloutOf(processes, { replicas: { command: 1 } });
    await makeRollout(parts, { rollout, toolNumber: 1, config: manifestConfig }, stop.signal);
  } finally {
    stop.abort();
    await api.close();
  }
  assert.ok(applied.some(({ kind }) => kind === 'Deployment'));
  const last = applied.findLast(({ kind }) => kind === 'Secret');
  return (last?.metadata?.ownerReferences ?? []).map(({ name }) => name);
}

test('the Secret with the config vars of a tool that has schedules stays when the Deployment of a named command is removed', async () => {
  assert.deepEqual(await ownersOf([command, update]), []);
});

test('if a tool has no schedules, the cluster deletes the Secret of its config vars when the last Deployment of the release is deleted', async () => {
  assert.equal((await ownersOf([command])).length, 1);
});
