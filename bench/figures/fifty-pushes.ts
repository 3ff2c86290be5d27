import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DirectoryFile } from '../../src/auth/file/directory-yaml.ts';
import { comparedRow, type Figure, ownRow } from '../figure.ts';
import { OpenSsh } from '../peers/open-ssh.ts';
import { forgetPeak, memoryOf } from '../process-memory.ts';
import { interleaved, milliseconds } from '../rounds.ts';
import { startNullServer } from '../servers.ts';
import { smallTree } from '../work.ts';

const TOOLS = 50;

/** 50 people push to 50 tools at the same moment, over SSH. */
export const fiftyPushes: Figure = {
  name: 'fifty-pushes',
  title: '50 pushes at once',
  async run({ isQuick }) {
    // All 50 people connect from one address.
    await using server = await startNullServer({ TOOLFORGE_PUSH_SSH_PER_ADDRESS: '200' });
    const publicKey = join(server.folder, 'home/.ssh/id_ed25519.pub');
    await using peer = await OpenSsh.start(publicKey, 500);
    const directory = new DirectoryFile(join(server.folder, 'data/directory.yaml'));
    const keyLines = [await readFile(publicKey, 'utf8')];
    const tree = await smallTree(server);
    const ours: string[] = [];
    const peers: string[] = [];
    for (let tool = 0; tool < TOOLS; tool += 1) {
      await directory.addUser({ name: `user-${tool}`, keyLines });
      await directory.addTool(`tool-${tool}`, [`user-${tool}`]);
      ours.push(`ssh://user-${tool}@${server.ssh}/tool-${tool}.git`);
      peers.push(await peer.repository(`tool-${tool}`));
    }
    let commits = 0;
    const failures: string[] = [];
    const pushAll = (addresses: readonly string[], failed: string[]) => async () => {
      commits += 1;
      await tree.commit(`change ${commits}`, { 'app.py': `print("${commits}")\n` });
      return await milliseconds(async () => {
        const ended = await Promise.all(addresses.map((address) => tree.push(address, 'main')));
        failed.push(...ended.flatMap(({ exitCode, stderr }) => (exitCode === 0 ? [] : [stderr])));
      });
    };
    await forgetPeak(server.pid);
    const rounds = isQuick ? 1 : 5;
    const times = await interleaved(rounds, pushAll(ours, failures), pushAll(peers, []));
    const { peak } = await memoryOf(server.pid);
    return [
      comparedRow('50 pushes at once to 50 tools over SSH, against OpenSSH with raised limits', times, 0.6),
      ownRow(`failed pushes of these ${TOOLS * (rounds + 1)}`, failures.length, 'failed', 0),
      ownRow('peak memory of the server in these pushes, without its git processes', peak, 'MiB', 350),
    ];
  },
};
