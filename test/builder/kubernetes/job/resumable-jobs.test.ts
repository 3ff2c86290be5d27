import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { V1Job, V1Pod } from '@kubernetes/client-node';
import { labelsOf } from '../../../../src/builder/kubernetes/job/build-names.ts';
import { annotationsOf, resumableJobs } from '../../../../src/builder/kubernetes/job/resumable-jobs.ts';
import { fakeApi } from '../../../kubernetes/fake-api.ts';
import { commitOf, wikibot } from '../../../support/store-records.ts';

const facts = { commit: commitOf('a'), account: 7, oldCache: `sha256:${'0'.repeat(64)}` };
const labels = labelsOf(wikibot, 'b1', 'build-wikibot-1');
const job: V1Job = {
  metadata: {
    name: 'build-wikibot-1',
    labels,
    annotations: annotationsOf(facts),
    creationTimestamp: new Date(1_800_000_000_000),
  },
};
const fetched = (exitCode: number | null): V1Pod => ({
  metadata: { name: 'build-wikibot-1-x', labels },
  status: {
    initContainerStatuses: [
      {
        ...{ name: 'fetch', image: '', imageID: '', ready: false, restartCount: 0 },
        state: exitCode === null ? { running: {} } : { terminated: { exitCode } },
      },
    ],
  },
});
const leaving = <Kind extends V1Job | V1Pod>(object: Kind): Kind => ({
  ...object,
  metadata: { ...object.metadata, deletionTimestamp: new Date(0) },
});

async function found(jobs: readonly V1Job[], pods: readonly V1Pod[]) {
  const api = await fakeApi((url, response) => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ metadata: {}, items: url.pathname.endsWith('/pods') ? pods : jobs }));
  });
  try {
    return await resumableJobs(api.cluster, 'builds', wikibot, AbortSignal.timeout(5000));
  } finally {
    await api.close();
  }
}

test('a build that has fetched its source is listed as resumable, with the facts that are needed to resume it', async () => {
  const expected = { name: 'build-wikibot-1', build: 'b1', startedAt: 1_800_000_000_000, ...facts };
  assert.deepEqual(await found([job], [fetched(0)]), [expected]);
});

test('if a resumable build has no registry account and no old cache, both facts are null', async () => {
  const bare = annotationsOf({ commit: facts.commit, account: null, oldCache: null });
  const [one] = await found([{ metadata: { ...job.metadata, annotations: bare } }], [fetched(0)]);
  assert.deepEqual([one?.account, one?.oldCache], [null, null]);
});

const { annotations: _, ...unknown } = job.metadata ?? {};
for (const { name, jobs, pods } of [
  { name: 'whose source is being fetched', jobs: [job], pods: [fetched(null)] },
  { name: 'whose source could not be fetched', jobs: [job], pods: [fetched(22)] },
  { name: 'that has not begun', jobs: [job], pods: [{ metadata: { name: 'x', labels } }] },
  { name: 'without a pod', jobs: [job], pods: [] },
  { name: 'whose pod is another Job’s', jobs: [job], pods: [{ ...fetched(0), metadata: { labels: {} } }] },
  { name: 'that is being deleted', jobs: [leaving(job)], pods: [fetched(0)] },
  { name: 'whose pod is being deleted', jobs: [job], pods: [leaving(fetched(0))] },
  { name: 'of an earlier version of this server', jobs: [{ metadata: unknown }], pods: [fetched(0)] },
]) {
  test(`a build that the server cannot resume is not listed as resumable: a build ${name}`, async () => {
    assert.deepEqual(await found(jobs, pods), []);
  });
}
