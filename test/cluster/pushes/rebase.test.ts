import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { liveTool, webTool } from '../../support/work-tree.ts';
import { buildah, builderImage, registryHost, runImage } from '../images.ts';
import { ClusterServer } from './cluster-server.ts';

const name = `rebase-${randomBytes(4).toString('hex')}`;
const image = `${registryHost}/${name}:latest`;

/** Makes the run image of this test: the usual one with the file /etc/updates. */
async function makeRunImage(updates: string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'run-image-'));
  const base = `${registryHost}/${await runImage()}`;
  await writeFile(
    join(folder, 'Dockerfile'),
    `FROM ${base}\nUSER 0:0\nRUN echo '${updates}' >/etc/updates\nUSER 1000:1000\n`,
  );
  const local = `localhost/${name}`;
  const options = ['--isolation', 'chroot', '--format', 'docker', '--tls-verify=false', '--tag', local];
  await buildah('build', ...options, folder);
  await buildah('push', '--format', 'v2s2', '--tls-verify=false', local, `docker://${image}`);
  await buildah('rmi', local);
  await rm(folder, { recursive: true });
}

test('`redeploy --rebase` gives a live tool the newest run image without a build, and fails if there is no newer run image', async () => {
  const builder = await builderImage();
  await makeRunImage('none yet');
  await using there = await ClusterServer.start(builder, {
    TOOLFORGE_PUSH_RUN_IMAGE: image,
    TOOLFORGE_PUSH_POD_CPU_RESERVED: '10m',
  });
  const { 'server.py': server = '', ...files } = webTool('x');
  const asking = server.replace('"x".encode()', 'open("/etc/updates", "rb").read()');
  const { name: tool } = await liveTool(there.server, 'updated', { ...files, 'server.py': asking });
  assert.equal((await there.get(tool)).body, 'none yet\n');

  const nothing = await there.server.command('redeploy', tool, '--rebase');
  assert.equal(nothing.exitCode, 1);
  assert.match(nothing.stdout + nothing.stderr, /The live image is on the newest run image already/);
  assert.equal((await there.get(tool)).body, 'none yet\n');

  await makeRunImage('security');
  const rebased = await there.server.command('redeploy', tool, '--rebase');
  const said = rebased.stdout + rebased.stderr;
  assert.equal(rebased.exitCode, 0, said);
  assert.match(said, /v2 is live/);
  assert.doesNotMatch(said, /Building|Detecting/);
  assert.equal((await there.get(tool)).body, 'security\n');
});
