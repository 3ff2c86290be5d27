import { setTimeout as sleep } from 'node:timers/promises';
import { ClusterServer, hasCluster } from '../../test/cluster/cluster-server.ts';
import { scriptBuilderImage } from '../../test/cluster/script-builder.ts';
import { WorkTree } from '../../test/support/work-tree.ts';
import { type Figure, ownRow } from '../figure.ts';
import { forgetPeak, memoryOf } from '../process-memory.ts';
import { quantile } from '../statistics.ts';
import { pushSeen } from '../work.ts';

const LINES = 300;
/** What of the tool runs then is not measured: a process that sleeps. */
const BUILD = `printf '[[processes]]\\ntype = "worker"\\ncommand = ["sleep", "100000"]\\n' >"$CNB_LAYERS_DIR/launch.toml"
for i in $(seq ${LINES}); do echo "stamp $(date +%s%N)"; sleep 0.1; done
`;

/** Twenty builds in the cluster, followed at once: what a line takes to the client, and what the server holds. */
export const clusterBuilds: Figure = {
  name: 'cluster-builds',
  title: '20 builds on a cluster, followed at once',
  async run({ isQuick, say }) {
    if (!hasCluster()) {
      say('no cluster: KUBECONFIG and CLUSTER_REGISTRY are not set');
      return [];
    }
    const count = isQuick ? 4 : 20;
    await using there = await ClusterServer.start(await scriptBuilderImage(), {
      TOOLFORGE_PUSH_CONCURRENT_DEPLOYMENTS: String(count),
      // So that a small node has room for all of them.
      TOOLFORGE_PUSH_BUILD_CPU: '400',
      TOOLFORGE_PUSH_BUILD_MEMORY: '512',
      TOOLFORGE_PUSH_POD_CPU_RESERVED: '5m',
    });
    const { server } = there;
    const trees = await Promise.all(
      Array.from({ length: count }, async (_, index) => {
        const tool = `builds-${index + 1}`;
        return { tool, tree: await WorkTree.create(server, 'ssh', tool) };
      }),
    );
    for (const { tool, tree } of trees) {
      await server.addTool(tool);
      await tree.commit('stamps', { 'build.sh': BUILD });
    }
    await sleep(1000);
    await forgetPeak(server.pid);
    const idle = (await memoryOf(server.pid)).now;
    const delays: number[] = [];
    const outcomes = await Promise.allSettled(
      trees.map(({ tool, tree }) =>
        pushSeen(server, tree.folder, server.remote('ssh', tool), ({ text, at }) => {
          const stamp = /stamp (\d+)/.exec(text)?.[1];
          if (stamp !== undefined) delays.push(at - Number(stamp) / 1e6);
        }),
      ),
    );
    const failed = outcomes.filter(({ status }) => status === 'rejected');
    for (const outcome of failed) if (outcome.status === 'rejected') say(String(outcome.reason));
    if (delays.length !== count * LINES) say(`${delays.length} of ${count * LINES} lines came`);
    const { peak } = await memoryOf(server.pid);
    const what = `${count} builds on a cluster, followed at once`;
    return [
      ownRow(`${what}: peak memory of the server, idle at ${Math.round(idle)} MiB`, peak, 'MiB', 300),
      ownRow(`${what}: a line to the client, median`, quantile(delays, 0.5), 'ms', null),
      ownRow(`${what}: a line to the client, 99th of 100`, quantile(delays, 0.99), 'ms', 1000),
      ownRow(
        `${what}: lines that did not come, of ${count * LINES}`,
        count * LINES - delays.length,
        'failed',
        0,
      ),
      ownRow(`${what}: pushes that did not go live`, failed.length, 'failed', 0),
    ];
  },
};
