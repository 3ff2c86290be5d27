import { cp, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { builderImage } from '../../test/cluster/images.ts';
import { ClusterServer, hasCluster } from '../../test/cluster/pushes/cluster-server.ts';
import { WorkTree } from '../../test/support/work-tree.ts';
import { type Figure, ownRow, type Row, withUnit } from '../figure.ts';
import { CreatorPod } from '../peers/creator-pod.ts';
import { median } from '../statistics.ts';
import { pushSeen } from '../work.ts';
import { type Language, languages } from './languages.ts';

const fixtures = resolve(import.meta.dirname, '../../test/fixtures');

/**
 * Measures builds of a sample tool of each language on a cluster, from the start of `git push` to the image in the
 * registry. The peer is the same build by hand: the lifecycle's creator in one pod, which gets the source without git.
 */
export const clusterLanguages: Figure = {
  name: 'cluster-languages',
  title: 'builds of each language on a cluster',
  isOnCluster: true,
  async run({ isQuick, say }) {
    if (!hasCluster()) {
      say('no cluster: KUBECONFIG and CLUSTER_REGISTRY are not set');
      return [];
    }
    const image = await builderImage();
    await using there = await ClusterServer.start(image);
    const rows: Row[] = [];
    for (const language of languages)
      rows.push(...(await measure(there, { language, image, rounds: isQuick ? 1 : 3, say })));
    return rows;
  },
};

async function measure(
  there: ClusterServer,
  {
    language,
    image,
    rounds,
    say,
  }: {
    readonly language: Language;
    readonly image: string;
    readonly rounds: number;
    readonly say: (text: string) => void;
  },
): Promise<Row[]> {
  const { name, fixture, source, comment } = language;
  const { server } = there;
  const folder = join(fixtures, fixture);
  const text = await readFile(join(folder, source), 'utf8');
  const changed = (round: number) => ({ [source]: `${text}\n${comment} change ${round}\n` });

  await server.addTool(fixture);
  const tree = await WorkTree.create(server, 'ssh', fixture);
  await cp(folder, tree.folder, { recursive: true });
  const build = async (round: number): Promise<number> => {
    await tree.commit('change', round === 0 ? {} : changed(round));
    const startedAt = Date.now();
    let builtAt = Number.NaN;
    await pushSeen(server, tree.folder, server.remote('ssh', fixture), ({ text, at }) => {
      if (text.includes('Releasing v')) builtAt = at;
    });
    const done = server.lines.findLast(({ msg }) => msg === 'build done');
    say(`${name}: phases of the build ${JSON.stringify(done?.['timesMs'])}`);
    return (builtAt - startedAt) / 1000;
  };
  const peer = new CreatorPod(there, image);
  const [first, peerFirst] = [await build(0), await peer.build(folder, {})];
  const [again, peerAgain]: [number[], number[]] = [[], []];
  for (let round = 1; round <= rounds; round += 1) {
    again.push(await build(round));
    peerAgain.push(await peer.build(folder, changed(round)));
  }
  return [
    row(`${name} on a cluster, push → image: first push of the tool`, first, peerFirst),
    row(`${name} on a cluster, push → image: after a source change`, median(again), median(peerAgain)),
  ];
}

/** The bound is that of `languages`: 1.3 times the peer and one second. */
function row(what: string, ours: number, peer: number): Row {
  return { ...ownRow(what, ours, 's', 1.3 * peer + 1), peer: withUnit(peer, 's') };
}
