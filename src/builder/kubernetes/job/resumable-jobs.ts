import type { V1Job, V1Pod } from '@kubernetes/client-node';
import type { ToolName } from '../../../core/names.ts';
import type { Cluster } from '../../../kubernetes/cluster.ts';
import { retrying } from '../../../kubernetes/retry.ts';
import { BUILD_LABEL, JOB_LABEL, selectorOf } from './build-names.ts';

const ACCOUNT = 'push.toolforge.org/registry-account';
const OLD_CACHE = 'push.toolforge.org/old-cache';
const COMMIT = 'push.toolforge.org/commit';

/** The annotations of a Job from which another server can resume the build. */
export interface JobFacts {
  readonly commit: string;
  /** The id of the Harbor account that was made for this build alone. Null without Harbor. */
  readonly account: number | null;
  /** The digest of the cache image that this build replaces. Null if the tool had no cache image. */
  readonly oldCache: string | null;
}

/** A build's Job that has fetched its source. */
export interface ResumableJob extends JobFacts {
  readonly name: string;
  readonly build: string;
  /** When the Job was made, in milliseconds since 1970, by the cluster's clock. */
  readonly startedAt: number;
}

export function annotationsOf({ commit, account, oldCache }: JobFacts): Record<string, string> {
  return {
    [COMMIT]: commit,
    ...(account === null ? {} : { [ACCOUNT]: String(account) }),
    ...(oldCache === null ? {} : { [OLD_CACHE]: oldCache }),
  };
}

/**
 * Lists the Jobs of a tool's builds that have fetched their source. These builds continue without a server. The list
 * includes Jobs that have ended.
 *
 * @throws DeployError if the cluster refuses or does not answer; the reason of `signal` if it fires.
 */
export async function resumableJobs(
  cluster: Cluster,
  namespace: string,
  tool: ToolName,
  signal: AbortSignal,
): Promise<ResumableJob[]> {
  const selected = { namespace, labelSelector: selectorOf(tool) };
  const [jobs, pods] = await Promise.all([
    retrying(() => cluster.batch.listNamespacedJob(selected), { signal }),
    retrying(() => cluster.core.listNamespacedPod(selected), { signal }),
  ]);
  return jobs.items.flatMap((job) => {
    const pod = pods.items.find(
      ({ metadata }) => metadata?.labels?.[JOB_LABEL] === job.metadata?.labels?.[JOB_LABEL],
    );
    const facts = factsOf(job);
    return facts !== null && pod !== undefined && !isTerminating(job) && !isTerminating(pod) && hasSource(pod)
      ? [facts]
      : [];
  });
}

/**
 * Reads from a Job what a server needs to resume the build. Null if an older version of the server made the Job and did
 * not record the commit: then nobody can resume the build.
 */
function factsOf({ metadata }: V1Job): ResumableJob | null {
  const { name, labels = {}, annotations = {}, creationTimestamp } = metadata ?? {};
  const build = labels[BUILD_LABEL];
  const commit = annotations[COMMIT];
  if (name === undefined || build === undefined || commit === undefined) return null;
  const account = annotations[ACCOUNT];
  return {
    name,
    build,
    commit,
    account: account === undefined ? null : Number(account),
    oldCache: annotations[OLD_CACHE] ?? null,
    startedAt: creationTimestamp === undefined ? Date.now() : new Date(creationTimestamp).getTime(),
  };
}

function isTerminating({ metadata }: V1Job | V1Pod): boolean {
  return metadata?.deletionTimestamp !== undefined;
}

function hasSource({ status }: V1Pod): boolean {
  const fetch = status?.initContainerStatuses?.find(({ name }) => name === 'fetch');
  return fetch?.state?.terminated?.exitCode === 0;
}
