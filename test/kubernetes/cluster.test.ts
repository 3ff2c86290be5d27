import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { DeployError } from '../../src/core/errors.ts';
import { connectCluster } from '../../src/kubernetes/cluster.ts';
import { kubeconfigFor } from './fake-api.ts';

const good = kubeconfigFor('https://api.example.org');

describe('connectCluster', () => {
  for (const { name, text, context, message } of [
    { name: 'an unknown context', text: good, context: 'prod', message: /no context prod/ },
    { name: 'a file that is not YAML', text: '{', context: '', message: /is not YAML in line 1/ },
    {
      name: 'a file without contexts',
      text: '{}',
      context: '',
      message: /no current context/,
    },
    {
      name: 'a context whose cluster does not exist',
      text: good.replace('"name":"fake","cluster":{"server"', '"name":"other","cluster":{"server"'),
      context: '',
      message: /names a cluster that does not exist/,
    },
    {
      name: 'an address without TLS',
      text: JSON.stringify({
        ...JSON.parse(good),
        clusters: [{ name: 'fake', cluster: { server: 'http://a' } }],
      }),
      context: '',
      message: /without TLS/,
    },
  ]) {
    test(`a bad kubeconfig is reported, and the server never connects to localhost instead: ${name}`, async () => {
      await withFile(text, (kubeconfig) => {
        assert.throws(
          () => connectCluster({ context, kubeconfig }),
          (error) =>
            error instanceof DeployError && error.code === 'BAD_CLUSTER' && message.test(error.message),
        );
      });
    });
  }

  test('if the settings name no context, the server uses the current context of the kubeconfig', async () => {
    await withFile(good, (kubeconfig) => {
      const { name, kubeConfig } = connectCluster({ context: '', kubeconfig });
      assert.equal(name, 'fake');
      assert.equal(kubeConfig.getCurrentCluster()?.server, 'https://api.example.org');
    });
  });

  test('a kubeconfig that does not exist is reported', () => {
    assert.throws(() => connectCluster({ context: '', kubeconfig: '/nowhere/config' }), {
      code: 'BAD_CLUSTER',
    });
  });
});

async function withFile(text: string, use: (path: string) => void): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'toolforge-push-kubeconfig-'));
  try {
    await writeFile(join(folder, 'config'), text);
    use(join(folder, 'config'));
  } finally {
    await rm(folder, { recursive: true });
  }
}
