import { setTimeout as sleep } from 'node:timers/promises';
import { scriptBuilderImage } from '../../test/cluster/builder/script-builder.ts';
import { ClusterServer, hasCluster } from '../../test/cluster/pushes/cluster-server.ts';
import { WorkTree } from '../../test/support/work-tree.ts';
import { type Figure, ownRow, type Row } from '../figure.ts';
import { forgetPeak, memoryOf } from '../process-memory.ts';
import { quantile } from '../statistics.ts';
import { pushSeen } from '../work.ts';

const LINES = 300;
/** A build that makes one process, which only sleeps, and prints lines with the time in them. */
const BUILD = `printf '[[processes]]\\ntype = "worker"\\ncommand = ["sleep", "100000"]\\n' >"$CNB_LAYERS_DIR/launch.toml"
for i in $(seq ${LINES}); do echo "stamp $(date +%s%N)"; sleep 0.1; done
`;
const FEW = 4;
const MANY = 20;

/**
 * Measures simultaneous builds in the cluster: how late each line reaches the client, and the server's memory. With
 * many builds on a small machine, the first lines are late: the node reports the start of a container late, and gives
 * no line before it.
 */
export const clusterBuilds: Figure = {
  name: 'cluster-builds',
  title: `${FEW} and ${MANY} builds on a cluster, followed at once`,
  isOnCluster: true,
  async run({ isQuick, say }) {
    if (!hasCluster()) {
      say('no cluster: KUBECONFIG and CLUSTER_REGISTRY are not set');
      return [];
    }
    await using there = await ClusterServer.start(await scriptBuilderImage(), {
      TOOLFORGE_PUSH_CONCURRENT_DEPLOYMENTS: String(MANY),
      // With these sizes, a small node has room for all builds.
      TOOLFORGE_PUSH_BUILD_CPU: '400',
      TOOLFORGE_PUSH_BUILD_MEMORY: '512',
      TOOLFORGE_PUSH_POD_CPU_RESERVED: '5m',
    });
    const few = await buildsAtOnce(there, FEW, say);
    const rows = rowsOf(few, { delayMs: 1000 });
    if (isQuick) return rows;
    const many = await buildsAtOnce(there, MANY, say);
    const name = `${titleOf(MANY)}: peak memory of the server, at ${Math.round(many.before)} MiB before`;
    return [...rows, ownRow(name, many.peak, 'MiB', 300), ...rowsOf(many, { delayMs: null })];
  },
};

interface Builds {
  readonly count: number;
  /** The delay of each line, in milliseconds. */
  readonly delays: readonly number[];
  readonly failed: number;
  /** Memory of the server, in MiB. */
  readonly before: number;
  readonly peak: number;
}

async function buildsAtOnce(
  { server }: ClusterServer,
  count: number,
  say: (text: string) => void,
): Promise<Builds> {
  const trees = await Promise.all(
    Array.from({ length: count }, async (_, index) => {
      const tool = `builds-${count}-${index + 1}`;
      return { tool, tree: await WorkTree.create(server, 'ssh', tool) };
    }),
  );
  for (const { tool, tree } of trees) {
    await server.addTool(tool);
    await tree.commit('stamps', { 'build.sh': BUILD });
  }
  await sleep(1000);
  await forgetPeak(server.pid);
  const before = (await memoryOf(server.pid)).now;
  const delays: number[] = [];
  const outcomes = await Promise.allSettled(
    trees.map(({ tool, tree }) =>
      pushSeen(server, tree.folder, server.remote('ssh', tool), ({ text, at }) => {
        const stamp = /stamp (\d+)/.exec(text)?.[1];
        if (stamp !== undefined) delays.push(at - Number(stamp) / 1e6);
      }),
    ),
  );
  const failed = outcomes.filter((outcome) => outcome.status === 'rejected');
  for (const { reason } of failed) say(String(reason));
  return { count, delays, failed: failed.length, before, peak: (await memoryOf(server.pid)).peak };
}

function rowsOf({ count, delays, failed }: Builds, bounds: { readonly delayMs: number | null }): Row[] {
  const what = titleOf(count);
  const lines = count * LINES;
  return [
    ownRow(`${what}: a line to the client, median`, quantile(delays, 0.5), 'ms', null),
    ownRow(`${what}: a line to the client, 99th of 100`, quantile(delays, 0.99), 'ms', bounds.delayMs),
    ownRow(`${what}: lines that did not come, of ${lines}`, lines - delays.length, 'failed', 0),
    ownRow(`${what}: pushes that did not go live`, failed, 'failed', 0),
  ];
}

function titleOf(count: number): string {
  return `${count} builds on a cluster, followed at once`;
}
