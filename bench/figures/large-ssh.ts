import { randomBytes } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run, type TestServer } from '../../test/support/server.ts';
import type { WorkTree } from '../../test/support/work-tree.ts';
import { comparedRow, type Figure, ownRow } from '../figure.ts';
import { OpenSsh } from '../peers/open-ssh.ts';
import { forgetPeak, memoryOf } from '../process-memory.ts';
import { interleaved, milliseconds } from '../rounds.ts';
import { startNullServer } from '../servers.ts';
import { push, smallTree } from '../work.ts';

const BLOBS = 240;
const BLOB_BYTES = 1024 * 1024;

/** Measures a push of 240 MiB of random data to an empty repository over SSH, and a clone of the repository. */
export const largeSsh: Figure = {
  name: 'large-ssh',
  title: 'push and clone of 240 MiB over SSH',
  async run({ isQuick }) {
    const rounds = isQuick ? 1 : 5;
    await using server = await startNullServer();
    await using peer = await OpenSsh.start(join(server.folder, 'home/.ssh/id_ed25519.pub'));
    const tree = await largeTree(server);
    const ours: string[] = [];
    const peers: string[] = [];
    for (let round = 0; round <= rounds; round += 1) {
      await server.addTool(`large-${round}`);
      ours.push(server.remote('ssh', `large-${round}`));
      peers.push(await peer.repository(`large-${round}`));
    }
    await forgetPeak(server.pid);
    const pushTo = (addresses: readonly string[]) => (round: number) =>
      milliseconds(() => push(tree, addresses[round] ?? ''));
    const pushes = await interleaved(rounds, pushTo(ours), pushTo(peers));
    const afterPushes = await memoryOf(server.pid);
    await forgetPeak(server.pid);
    const cloneOf = (addresses: readonly string[]) => (round: number) =>
      clone(server, addresses[round] ?? '');
    const clones = await interleaved(rounds, cloneOf(ours), cloneOf(peers));
    const afterClones = await memoryOf(server.pid);
    return [
      comparedRow('push of 240 MiB over SSH, against OpenSSH', pushes, 1),
      comparedRow('clone of 240 MiB over SSH, against OpenSSH', clones, 1),
      ownRow(
        'peak memory of the server in these pushes, without its git processes',
        afterPushes.peak,
        'MiB',
        180,
      ),
      ownRow(
        'peak memory of the server in these clones, without its git processes',
        afterClones.peak,
        'MiB',
        180,
      ),
    ];
  },
};

async function largeTree(server: TestServer): Promise<WorkTree> {
  const tree = await smallTree(server);
  for (let blob = 0; blob < BLOBS; blob += 1)
    await writeFile(join(tree.folder, `blob-${blob}`), randomBytes(BLOB_BYTES));
  await tree.git('-c', 'core.compression=0', 'add', '--all');
  await tree.commit('large', {});
  // Makes one pack, so that each push only sends this pack.
  await tree.git('-c', 'core.compression=0', 'repack', '-a', '-d', '-q', '--window=0');
  return tree;
}

async function clone(server: TestServer, address: string): Promise<number> {
  const folder = join(server.folder, 'clone.git');
  const time = await milliseconds(async () => {
    const { exitCode, stderr } = await run('git', ['clone', '--quiet', '--bare', address, folder], {
      env: server.clientEnvironment,
    });
    if (exitCode !== 0) throw new Error(`a clone failed: ${stderr}`);
  });
  await rm(folder, { recursive: true });
  return time;
}
