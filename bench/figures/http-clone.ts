import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { run, type TestServer } from '../../test/support/server.ts';
import { comparedRow, type Figure } from '../figure.ts';
import { Apache } from '../peers/apache.ts';
import { interleaved, milliseconds } from '../rounds.ts';
import { startNullServer } from '../servers.ts';
import { push, smallTree } from '../work.ts';

/** A clone of a small repository over HTTP, for information. */
export const httpClone: Figure = {
  name: 'http-clone',
  title: 'small clone over HTTP',
  async run({ isQuick }) {
    await using server = await startNullServer();
    await using peer = await Apache.start();
    const tree = await smallTree(server);
    const addresses = { ours: server.remote('http', 'hello'), peer: await peer.repository('hello') };
    for (const address of Object.values(addresses)) await push(tree, address);
    const times = await interleaved(
      isQuick ? 5 : 21,
      () => clone(server, addresses.ours),
      () => clone(server, addresses.peer),
    );
    const what = 'small clone over HTTP, login included, against git http-backend behind Apache';
    return [comparedRow(what, times, null)];
  },
};

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
