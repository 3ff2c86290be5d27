import type { TestServer } from '../../test/support/server.ts';
import { webTool } from '../../test/support/work-tree.ts';
import { type Figure, type FigureContext, ownRow, type Row } from '../figure.ts';
import { forgetPeak, memoryOf } from '../process-memory.ts';
import { startRealServer } from '../servers.ts';
import { pushSeen, smallTree } from '../work.ts';

const MEGABYTES = 64;
const LINE = 'A line of output that a build prints, which is neither short nor long, as builds print them.';
/** After the first build, two more builds print 122 MiB. At most a fifth of them may stay in memory. */
const MAX_GROWTH_MIB = 24;

/** Measures how much memory the server needs to pass the output of a build to the client. */
export const buildOutput: Figure = {
  name: 'build-output',
  title: '64 MB of build output to the client',
  async run({ say }: FigureContext): Promise<Row[]> {
    await using server = await startRealServer();
    const idle = (await memoryOf(server.pid)).now;
    const first = await printed(server, 'first');
    await printed(server, 'second');
    const third = await printed(server, 'third');
    say(`${Math.round(idle)} MiB idle; ${third.lines} lines in ${(third.milliseconds / 1000).toFixed(1)} s`);
    const what = `${MEGABYTES} MB of build output to the client, peak memory`;
    return [
      ownRow(`${what} above idle`, first.peak - idle, 'MiB', null),
      ownRow(`${what}: the third time above the first`, third.peak - first.peak, 'MiB', MAX_GROWTH_MIB),
    ];
  },
};

async function printed(server: TestServer, name: string) {
  await server.addTool(name);
  const tree = await smallTree(server);
  const count = Math.ceil((MEGABYTES * 1e6) / (LINE.length + 1));
  await tree.commit(name, webTool(name, `yes '${LINE}' 2>/dev/null | head -n ${count}`));
  await forgetPeak(server.pid);
  let lines = 0;
  const start = performance.now();
  await pushSeen(server, tree.folder, server.remote('ssh', name), ({ text }) => {
    if (text.includes(LINE)) lines += 1;
  });
  if (lines !== count) throw new Error(`${lines} of ${count} lines came to the client`);
  const { peak } = await memoryOf(server.pid);
  return { lines, peak, milliseconds: performance.now() - start };
}
