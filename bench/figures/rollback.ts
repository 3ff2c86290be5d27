import { builderImage } from '../../test/cluster/images.ts';
import { ClusterServer, hasCluster } from '../../test/cluster/pushes/cluster-server.ts';
import type { TestServer } from '../../test/support/server.ts';
import { WorkTree, webTool } from '../../test/support/work-tree.ts';
import { type Figure, ownRow, type Row } from '../figure.ts';
import { PageWatch } from '../page-watch.ts';
import { startRealServer } from '../servers.ts';
import { median } from '../statistics.ts';
import { push } from '../work.ts';

/** What `rollback` and `promote` need of a server, on one machine or on a cluster. */
interface Place {
  readonly server: TestServer;
  /** Asks for the page of a tool. */
  get(tool: string, path?: string): Promise<{ status: number; body: string }>;
}

/** Measures `rollback` and `promote`, from the start of the command to the other page, at 50 requests a second. */
export const rollback: Figure = {
  name: 'rollback',
  title: 'rollback and promote',
  async run({ isQuick }) {
    await using server = await startRealServer();
    const place = { server, get: (tool: string, path?: string) => server.get(tool, path) };
    return await measure(place, { rounds: isQuick ? 2 : 10, bound: 1, where: '' });
  },
};

/** Measures the same as `rollback` on a cluster, through the ingress controller. */
export const clusterRollback: Figure = {
  name: 'cluster-rollback',
  title: 'rollback and promote on a cluster',
  isOnCluster: true,
  async run({ isQuick, say }) {
    if (!hasCluster()) {
      say('no cluster: KUBECONFIG and CLUSTER_REGISTRY are not set');
      return [];
    }
    await using there = await ClusterServer.start(await builderImage());
    return await measure(there, { rounds: isQuick ? 2 : 6, bound: 5, where: ' on a cluster' });
  },
};

/** @param bound - The longest time of a rollback or promotion, in seconds. */
async function measure(
  place: Place,
  { rounds, bound, where }: { readonly rounds: number; readonly bound: number; readonly where: string },
): Promise<Row[]> {
  const { server } = place;
  for (const tool of ['bot', 'bot-beta']) {
    await server.addTool(tool);
    const tree = await WorkTree.create(server, 'ssh', tool);
    for (const text of [`${tool} one`, `${tool} two`]) {
      await tree.commit(text, webTool(text));
      await push(tree, server.remote('ssh', tool));
    }
  }
  await using page = new PageWatch(place, 'bot', '/');
  await page.shows('bot two');
  page.mayNotFail();
  const secondsUntil = async (text: string, ...words: string[]) => {
    const seen = page.shows(text);
    const start = performance.now();
    const { exitCode, stderr } = await server.command(...words);
    if (exitCode !== 0) throw new Error(`${words.join(' ')} failed: ${stderr}`);
    return ((await seen) - start) / 1000;
  };
  const back: number[] = [];
  const promoted: number[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    promoted.push(await secondsUntil('bot-beta two', 'promote', 'bot-beta', 'bot', '--force'));
    // Goes back to the release that was live before the promotion.
    back.push(await secondsUntil('bot two', 'rollback', 'bot'));
  }
  return [
    ownRow(`rollback to the release before${where}, command → page`, median(back), 's', bound),
    ownRow('the slowest of these', Math.max(...back), 's', null),
    ownRow(`promote${where}, command → page`, median(promoted), 's', bound),
    ownRow('the slowest of these', Math.max(...promoted), 's', null),
    ownRow(
      `failed requests in these ${2 * rounds} rollouts, of ${page.asked}`,
      page.failures.length,
      'failed',
      0,
    ),
  ];
}
