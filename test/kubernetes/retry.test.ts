import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DeployError } from '../../src/core/errors.ts';
import { retrying } from '../../src/kubernetes/retry.ts';
import { answerJson, fakeApi, refuse } from './fake-api.ts';

const signal = new AbortController().signal;
const namespaces = { apiVersion: 'v1', kind: 'NamespaceList', metadata: {}, items: [] };

describe('retrying', () => {
  for (const { name, code, reason } of [
    { name: 'a conflict', code: 409, reason: 'Conflict' },
    { name: 'too many requests', code: 429, reason: 'TooManyRequests' },
    { name: 'an API server that is not ready', code: 503, reason: 'ServiceUnavailable' },
    { name: 'a lost connection', code: 0, reason: '' },
  ]) {
    test(`a call to the cluster’s API is retried after ${name}`, async () => {
      let calls = 0;
      const api = await fakeApi((_url, response) => {
        calls += 1;
        if (calls > 2) answerJson(response, namespaces);
        else if (code === 0) response.destroy();
        else refuse(response, code, reason, 'not now');
      });
      try {
        await retrying(() => api.cluster.core.listNamespace(), { signal });
        assert.equal(calls, 3);
      } finally {
        await api.close();
      }
    });
  }

  test('a call that the cluster’s API refuses as forbidden is retried if the connection was lost just before, and otherwise fails', async () => {
    const answers = ['away', 'forbidden', 'well', 'forbidden'];
    const api = await fakeApi((_url, response) => {
      switch (answers.shift()) {
        case 'away':
          response.destroy();
          break;
        case 'forbidden':
          refuse(
            response,
            403,
            'Forbidden',
            'namespaces is forbidden: User "u" cannot list resource "namespaces"',
          );
          break;
        default:
          answerJson(response, namespaces);
      }
    });
    try {
      await retrying(() => api.cluster.core.listNamespace(), { signal });
      await assert.rejects(
        retrying(() => api.cluster.core.listNamespace(), { signal }),
        { code: 'CLUSTER_FORBIDDEN' },
      );
    } finally {
      await api.close();
    }
  });

  test('if the cluster’s API does not answer, calls are retried until their time limit, and then fail with CLUSTER_UNREACHABLE', async () => {
    const api = await fakeApi((_url, response) => response.destroy());
    try {
      await assert.rejects(
        retrying(() => api.cluster.core.listNamespace(), { signal, timeoutMs: 700 }),
        (error) => error instanceof DeployError && error.code === 'CLUSTER_UNREACHABLE',
      );
      assert.ok(api.asked.length >= 3);
    } finally {
      await api.close();
    }
  });

  test('when its abort signal fires, a call to the cluster’s API is not retried any more', async () => {
    const api = await fakeApi((_url, response) => response.destroy());
    const stop = new AbortController();
    try {
      const asking = retrying(() => api.cluster.core.listNamespace(), { signal: stop.signal });
      const why = new Error('the server is being stopped');
      setTimeout(() => stop.abort(why), 200);
      await assert.rejects(asking, (error) => error === why);
    } finally {
      await api.close();
    }
  });

  test('a call to the cluster’s API is not retried after a bug of this server, such as a TypeError', async () => {
    let calls = 0;
    const broken = async () => {
      calls += 1;
      throw new TypeError('x is undefined');
    };
    await assert.rejects(retrying(broken, { signal }), TypeError);
    assert.equal(calls, 1);
  });
});
