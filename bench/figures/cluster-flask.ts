import { cp, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { builderImage } from '../../test/cluster/images.ts';
import { ClusterServer, hasCluster } from '../../test/cluster/pushes/cluster-server.ts';
import { WorkTree } from '../../test/support/work-tree.ts';
import { type Figure, ownRow, withUnit } from '../figure.ts';
import { PageWatch } from '../page-watch.ts';
import { CreatorPod } from '../peers/creator-pod.ts';
import { median } from '../statistics.ts';
import { pushSeen } from '../work.ts';

const source = resolve(import.meta.dirname, '../../test/fixtures/flask');
const TOOL = 'flask';

/** Seconds of one push. */
interface Seconds {
  /** From `git push` to the image in the registry. */
  readonly build: number;
  /** From the image in the registry to the new page. */
  readonly rollout: number;
}

/**
 * Measures Flask on a cluster, from `git push` to the new page through the ingress controller, at 50 requests a second.
 * The peer is the same build by hand: the lifecycle's creator in one pod, which gets the source without git.
 */
export const clusterFlask: Figure = {
  name: 'cluster-flask',
  title: 'Flask on a cluster, push to image to new page',
  isOnCluster: true,
  async run({ isQuick, say }) {
    if (!hasCluster()) {
      say('no cluster: KUBECONFIG and CLUSTER_REGISTRY are not set');
      return [];
    }
    const rounds = isQuick ? 2 : 10;
    const image = await builderImage();
    await using there = await ClusterServer.start(image);
    const { first, again, page } = await ours(there, rounds, say);
    const builds = again.map(({ build }) => build);

    const peer = new CreatorPod(there, image);
    const peerFirst = await peer.build(source, {});
    const peerAgain: number[] = [];
    for (let round = 1; round <= Math.min(rounds, 3); round += 1)
      peerAgain.push(await peer.build(source, { 'change.txt': String(round) }));
    const compared = (what: string, ours: number, theirs: number, bound: number) => [
      ownRow(what, ours, 's', bound),
      {
        ...ownRow(`the same, against the lifecycle’s creator in one pod`, ours / theirs, '×', null),
        ours: withUnit(ours, 's'),
        peer: withUnit(theirs, 's'),
      },
    ];
    return [
      ...compared('Flask on a cluster, push → image: first push of the tool', first.build, peerFirst, 25),
      ...compared(
        'Flask on a cluster, push → image: after a source change',
        median(builds),
        median(peerAgain),
        12,
      ),
      ownRow('the slowest of these', Math.max(...builds), 's', 12),
      ownRow('image → new page: first', first.rollout, 's', 6),
      ownRow('image → new page: after a source change', median(again.map(({ rollout }) => rollout)), 's', 6),
      ownRow('the slowest of these', Math.max(...again.map(({ rollout }) => rollout)), 's', 6),
      ownRow(
        `failed requests in these ${rounds} rollouts, of ${page.asked}`,
        page.failures.length,
        'failed',
        0,
      ),
    ];
  },
};

async function ours(
  there: ClusterServer,
  rounds: number,
  say: (text: string) => void,
): Promise<{ first: Seconds; again: Seconds[]; page: PageWatch }> {
  const { server } = there;
  await server.addTool(TOOL);
  const tree = await WorkTree.create(server, 'ssh', TOOL);
  await cp(source, tree.folder, { recursive: true });
  const app = await readFile(join(tree.folder, 'app.py'), 'utf8');
  await using page = new PageWatch(there, TOOL, '/');
  const pushChange = async (marker: string): Promise<Seconds> => {
    const mark = `@app.after_request\ndef mark(response):\n    response.set_data(response.get_data() + b"${marker}.")\n    return response\n`;
    await tree.commit(marker, { 'app.py': `${app}\n\n${mark}` });
    const seen = page.shows(`${marker}.`);
    const start = performance.timeOrigin + performance.now();
    let builtAt = Number.NaN;
    await pushSeen(server, tree.folder, server.remote('ssh', TOOL), ({ text, at }) => {
      if (text.includes('Releasing v')) builtAt = at;
    });
    const done = server.lines.findLast(({ msg }) => msg === 'build done');
    say(`${marker}: phases of the build ${JSON.stringify(done?.['timesMs'])}`);
    return {
      build: (builtAt - start) / 1000,
      rollout: (performance.timeOrigin + (await seen) - builtAt) / 1000,
    };
  };
  const first = await pushChange('Change 0');
  page.mayNotFail();
  const again: Seconds[] = [];
  for (let round = 1; round <= rounds; round += 1) again.push(await pushChange(`Change ${round}`));
  return { first, again, page };
}
