import { join } from 'node:path';
import { DirectoryFile } from '../../src/auth/file/directory-yaml.ts';
import type { TestServer } from '../../test/support/server.ts';
import { comparedRow, type Figure } from '../figure.ts';
import { Apache } from '../peers/apache.ts';
import { interleaved, milliseconds } from '../rounds.ts';
import { startNullServer } from '../servers.ts';
import { push, smallTree } from '../work.ts';

const PASSWORD = 'bench-bench-bench';

/**
 * Measures a push of one changed file over HTTP with two passwords. The server has checked the first before, as in
 * later requests of a git client. The second is new to the server, which must derive a key from it.
 */
export const httpPush: Figure = {
  name: 'http-push',
  title: 'small push over HTTP',
  async run({ isQuick }) {
    const newcomers = isQuick ? 2 : 7;
    await using server = await startNullServer();
    await using peer = await Apache.start();
    await addNewcomers(server, newcomers);
    const tree = await smallTree(server);
    const addresses = { ours: server.remote('http', 'hello'), peer: await peer.repository('hello') };
    let commits = 0;
    const pushTo = (address: (round: number) => string) => async (round: number) => {
      commits += 1;
      await tree.commit(`change ${commits}`, { 'app.py': `print("${commits}")\n` });
      return await milliseconds(() => push(tree, address(round)));
    };
    const toPeer = pushTo(() => addresses.peer);
    const known = await interleaved(
      isQuick ? 5 : 21,
      pushTo(() => addresses.ours),
      toPeer,
    );
    const asNewcomer = (round: number) =>
      addresses.ours.replace(/\/\/[^@]*@/, `//newcomer${round}:${PASSWORD}@`);
    const unknown = await interleaved(newcomers, pushTo(asNewcomer), toPeer);
    return [
      comparedRow('small push over HTTP, login included, against git http-backend behind Apache', known, 1.5),
      comparedRow('the same, a password that the server sees for the first time', unknown, null),
    ];
  },
};

/** Users that nobody has logged in as yet, one for each round. */
async function addNewcomers(server: TestServer, rounds: number): Promise<void> {
  const file = new DirectoryFile(join(server.folder, 'data/directory.yaml'));
  const names = Array.from({ length: rounds + 1 }, (_, round) => `newcomer${round}`);
  for (const name of names) await file.addUser({ name, password: PASSWORD });
  await file.addTool('hello', names);
}
