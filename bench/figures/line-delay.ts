import { webTool } from '../../test/support/work-tree.ts';
import { type Figure, ownRow } from '../figure.ts';
import { startRealServer } from '../servers.ts';
import { quantile } from '../statistics.ts';
import { pushSeen, smallTree } from '../work.ts';

const LINES = 1000;
const GAP_S = 0.005;
const STAMPS = `import time
for _ in range(${LINES}):
    print("stamp", time.time_ns(), flush=True)
    time.sleep(${GAP_S})
`;

/** Measures the time from the moment that a build prints a line to the moment that the client's git has printed it. */
export const lineDelay: Figure = {
  name: 'line-delay',
  title: 'a line that the build prints, to the client',
  async run() {
    await using server = await startRealServer();
    const tree = await smallTree(server);
    await tree.commit('stamps', { ...webTool('stamps', 'exec python3 stamps.py'), 'stamps.py': STAMPS });
    const delays: number[] = [];
    await pushSeen(server, tree.folder, server.remote('ssh', 'hello'), ({ text, at }) => {
      const nanoseconds = /stamp (\d+)/.exec(text)?.[1];
      if (nanoseconds !== undefined) delays.push(at - Number(nanoseconds) / 1e6);
    });
    if (delays.length !== LINES) throw new Error(`${delays.length} of ${LINES} lines came`);
    return [
      ownRow('a line that the build prints, to the client: median', quantile(delays, 0.5), 'ms', null),
      ownRow('a line that the build prints, to the client: 99th of 100', quantile(delays, 0.99), 'ms', 50),
    ];
  },
};
