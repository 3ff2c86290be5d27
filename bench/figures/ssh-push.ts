import { join } from 'node:path';
import { comparedRow, type Figure } from '../figure.ts';
import { OpenSsh } from '../peers/open-ssh.ts';
import { interleaved, milliseconds } from '../rounds.ts';
import { startNullServer } from '../servers.ts';
import { push, smallTree } from '../work.ts';

/** Measures a push of one changed file over SSH: the time of git, the SSH server and the bookkeeping. */
export const sshPush: Figure = {
  name: 'ssh-push',
  title: 'small push over SSH',
  async run({ isQuick }) {
    await using server = await startNullServer();
    await using peer = await OpenSsh.start(join(server.folder, 'home/.ssh/id_ed25519.pub'));
    const tree = await smallTree(server);
    const addresses = { ours: server.remote('ssh', 'hello'), peer: await peer.repository('hello') };
    let commits = 0;
    const pushTo = (address: string) => async () => {
      commits += 1;
      await tree.commit(`change ${commits}`, { 'app.py': `print("${commits}")\n` });
      return await milliseconds(() => push(tree, address));
    };
    const times = await interleaved(isQuick ? 5 : 21, pushTo(addresses.ours), pushTo(addresses.peer));
    return [comparedRow('small push over SSH, against OpenSSH', times, 0.5)];
  },
};
