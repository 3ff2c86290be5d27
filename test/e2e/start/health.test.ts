import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { run, TestServer } from '../../support/server.ts';

interface Probe {
  readonly httpGet?: { readonly path: string };
  readonly tcpSocket?: object;
  readonly timeoutSeconds?: number;
}

interface Container {
  readonly name: string;
  readonly startupProbe: Probe;
  readonly readinessProbe: Probe;
  readonly livenessProbe: Probe;
}

let server: TestServer;
let container: Container;
before(async () => {
  const manifest = await readFile(
    resolve(import.meta.dirname, '../../../deploy/kubernetes/server.yaml'),
    'utf8',
  );
  const set = parseAllDocuments(manifest)
    .map((document) => document.toJS())
    .find(({ kind }) => kind === 'StatefulSet');
  container = set.spec.template.spec.containers.find(({ name }: Container) => name === 'server');
  server = await TestServer.start();
});
after(async () => {
  process.kill(server.pid, 'SIGCONT');
  await server[Symbol.asyncDispose]();
});

/** Whether a probe passes. https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/ */
async function passes({ httpGet, timeoutSeconds = 1 }: Probe): Promise<boolean> {
  const signal = AbortSignal.timeout(timeoutSeconds * 1000);
  try {
    if (httpGet === undefined) {
      const [host = '', port = ''] = server.http.split(':');
      const socket = connect(Number(port), host).on('error', () => {});
      await once(socket, 'connect', { signal });
      socket.destroy();
      return true;
    }
    const { status } = await fetch(`http://${server.http}${httpGet.path}`, { signal });
    return status >= 200 && status < 400;
  } catch {
    return false;
  }
}

const probes = ['startupProbe', 'readinessProbe', 'livenessProbe'] as const;

test('the probes in deploy/kubernetes pass on a working server', async () => {
  for (const probe of probes) assert.equal(await passes(container[probe]), true, probe);
});

test('the probes in deploy/kubernetes fail while the server is frozen, and pass when it runs again', async () => {
  process.kill(server.pid, 'SIGSTOP');
  // A probe that only connects would pass, because the kernel still accepts connections.
  assert.equal(await passes({ tcpSocket: {} }), true);
  for (const probe of probes) assert.equal(await passes(container[probe]), false, probe);
  process.kill(server.pid, 'SIGCONT');
  for (const probe of probes) assert.equal(await passes(container[probe]), true, probe);
});

for (const question of [[], ['--live']]) {
  test(`the health check of the image (${question.join() || 'without --live'}) passes on a working server, and fails if the server is frozen`, async () => {
    const check = async () => {
      const [script, env] = [resolve(import.meta.dirname, '../../../src/cli/health.ts'), server.environment];
      return run(process.execPath, [script, ...question], { env });
    };
    assert.equal((await check()).exitCode, 0);
    process.kill(server.pid, 'SIGSTOP');
    const { exitCode, stderr } = await check();
    process.kill(server.pid, 'SIGCONT');
    assert.deepEqual([exitCode, stderr], [1, 'the server did not answer within 2 s']);
  });
}
