import { webTool } from '../../test/support/work-tree.ts';
import { type Figure, ownRow } from '../figure.ts';
import { repeated } from '../rounds.ts';
import { startRealServer } from '../servers.ts';
import { median } from '../statistics.ts';
import { pushSeen, smallTree } from '../work.ts';

/** Measures the time from the start of `git push` to the first `remote:` line, with the real back ends. */
export const firstLine: Figure = {
  name: 'first-line',
  title: 'time to the first remote: line',
  async run({ isQuick }) {
    await using server = await startRealServer();
    const tree = await smallTree(server);
    let commits = 0;
    const firstLineFrom = (door: 'ssh' | 'http') => async () => {
      commits += 1;
      await tree.commit(`change ${commits}`, webTool(String(commits)));
      const start = Date.now();
      let first: number | null = null;
      await pushSeen(server, tree.folder, server.remote(door, 'hello'), ({ at }) => {
        first ??= at - start;
      });
      return first ?? Number.POSITIVE_INFINITY;
    };
    const rounds = isQuick ? 3 : 15;
    const overSsh = median(await repeated(rounds, firstLineFrom('ssh')));
    const overHttp = median(await repeated(rounds, firstLineFrom('http')));
    return [
      ownRow('first `remote:` line of a push over SSH', overSsh, 'ms', 150),
      ownRow('first `remote:` line of a push over HTTP', overHttp, 'ms', 150),
    ];
  },
};
