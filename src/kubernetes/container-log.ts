import { setTimeout as wait } from 'node:timers/promises';
import { ApiException, type V1ContainerStatus, type V1Pod } from '@kubernetes/client-node';
import { outputTime } from '../core/time-shares.ts';
import { linesOf, openApiStream } from './api-stream.ts';
import type { Cluster } from './cluster.ts';
import { isNotFound } from './refusals.ts';
import { isTransient, retrying } from './retrying.ts';

export interface ContainerName {
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
  /** Whose part of the time for output its lines take; the namespace's if not set. */
  readonly share?: string;
}

/** A line that a container printed, without its end. */
export interface ContainerLine {
  /** When the container runtime got it: ISO 8601, UTC, milliseconds. */
  readonly at: string;
  readonly text: string;
}

/** Where a reader of a log stands. */
interface Place {
  /** The newest time that was given, as the node writes it: nanoseconds, in its own zone; empty = none yet. */
  newest: string;
  /** The second (UTC) that `newest` is in, and how many lines of it, and later ones, were given. */
  second: string;
  count: number;
}

const PAUSE_MS = 150;
// A quiet container is read anew this often, so that a connection that died without a word is noticed.
const IDLE_MS = 120_000;
const KEPT_LINES = 20;
/** A container may print for ever without a new line. Readers of a build show less of one, and mask it before. */
const MOST_LINE_CHARACTERS = 128 * 1024;
const MOST_LAST_BYTES = 256 * 1024;
// RFC 3339
const STAMP = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S*$/;

/**
 * Gives every line of a container, in order, none twice: from before the first (it waits until the container has
 * started) over its restarts, and however long the API is away, to after the last. Resolves when the container will
 * print no more (it has ended for good, its pod has ended or is gone) or when the signal fires.
 *
 * @throws DeployError where the API refuses for good.
 */
export async function followContainerLog(
  cluster: Cluster,
  name: ContainerName,
  onLine: (line: ContainerLine) => void,
  signal: AbortSignal,
): Promise<void> {
  const place: Place = { newest: '', second: '', count: 0 };
  let restarts = 0;
  while (!signal.aborted) {
    try {
      const status = await containerStatus(cluster, name, signal);
      if (status === null) return;
      if (status.restarts > restarts && place.newest !== '') {
        // The end of the one before may have been missed while it was replaced.
        await read(cluster, name, { place, onLine, signal, query: { previous: 'true' } });
      }
      restarts = status.restarts;
      const hasEnded = status.hasEnded;
      if (status.hasStarted) {
        await read(cluster, name, { place, onLine, signal, query: hasEnded ? {} : { follow: 'true' } });
      }
      if (hasEnded) return;
    } catch (error) {
      if (signal.aborted) return;
      if (!isTransient(error, true) && !isNotYet(error)) throw error;
    }
    await wait(PAUSE_MS, null, { signal }).catch(() => {});
  }
}

interface Reading {
  readonly place: Place;
  readonly onLine: (line: ContainerLine) => void;
  readonly signal: AbortSignal;
  readonly query: Readonly<Record<string, string>>;
}

/** Reads what comes after the place, which moves with each line. */
async function read(cluster: Cluster, name: ContainerName, reading: Reading): Promise<void> {
  const { place, onLine, signal } = reading;
  const response = await openApiStream(cluster, {
    path: `/api/v1/namespaces/${name.namespace}/pods/${name.pod}/log`,
    query: {
      container: name.container,
      timestamps: 'true',
      ...(place.second === '' ? {} : { sinceTime: `${place.second}Z` }),
      ...reading.query,
    },
    signal,
    idleMs: IDLE_MS,
  });
  // The API knows whole seconds: of this one, so many lines have been given already.
  let known = place.count;
  const newestBefore = place.newest;
  for await (const line of linesOf(response, MOST_LINE_CHARACTERS)) {
    const space = line.indexOf(' ');
    const stamp = space === -1 ? line : line.slice(0, space);
    // The node's own words, as that it cannot watch the file.
    if (!STAMP.test(stamp)) continue;
    if (known > 0 && stamp <= newestBefore) {
      known -= 1;
      continue;
    }
    known = 0;
    const at = new Date(stamp).toISOString();
    moveTo(place, stamp, at.slice(0, 19));
    const text = space === -1 ? '' : line.slice(space + 1);
    await outputTime.run(name.share ?? name.namespace, () => onLine({ at, text }));
  }
}

function moveTo(place: Place, stamp: string, second: string): void {
  if (second > place.second) {
    place.second = second;
    place.count = 0;
  }
  place.count += 1;
  if (stamp > place.newest) place.newest = stamp;
}

interface ContainerProgress {
  readonly restarts: number;
  readonly hasStarted: boolean;
  readonly hasEnded: boolean;
}

/** Null = there is no such pod, or it has ended without ever starting the container. */
async function containerStatus(
  cluster: Cluster,
  { namespace, pod, container }: ContainerName,
  signal: AbortSignal,
): Promise<ContainerProgress | null> {
  const found = await retrying(() => cluster.core.readNamespacedPod({ namespace, name: pod }), {
    signal,
    timeoutMs: Number.POSITIVE_INFINITY,
  }).catch((error: unknown) => {
    if (isNotFound(error)) return null;
    throw error;
  });
  if (found === null) return null;
  const status = statusOfContainer(found, container);
  const isPodOver = found.status?.phase === 'Succeeded' || found.status?.phase === 'Failed';
  const hasStarted = Boolean(
    status?.state?.running ?? status?.state?.terminated ?? status?.lastState?.terminated,
  );
  if (isPodOver && !hasStarted) return null;
  const exit = status?.state?.terminated;
  const isLast =
    exit !== undefined &&
    (found.metadata?.deletionTimestamp !== undefined || !comesBack(found, container, exit.exitCode));
  return { restarts: status?.restartCount ?? 0, hasStarted, hasEnded: isPodOver || isLast };
}

function statusOfContainer({ status }: V1Pod, container: string): V1ContainerStatus | undefined {
  return [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])].find(
    ({ name }) => name === container,
  );
}

function comesBack({ spec }: V1Pod, container: string, exitCode: number): boolean {
  const isInit = spec?.initContainers?.some(({ name }) => name === container) ?? false;
  switch (spec?.restartPolicy) {
    case 'Never':
      return false;
    case 'OnFailure':
      return exitCode !== 0;
    default:
      return !isInit || exitCode !== 0;
  }
}

/** The container is still being made, or its pod went between two questions: the next look tells which. */
function isNotYet(error: unknown): boolean {
  return error instanceof ApiException && (error.code === 400 || error.code === 404);
}

/**
 * The last lines that a container printed, at most 20.
 *
 * @param run - `previous`: before it was started again.
 */
export async function lastLines(
  cluster: Cluster,
  { namespace, pod, container }: ContainerName,
  run: 'current' | 'previous',
): Promise<string[]> {
  const options = {
    ...{ namespace, name: pod, container, previous: run === 'previous' },
    ...{ tailLines: KEPT_LINES, limitBytes: MOST_LAST_BYTES },
  };
  // The node may have dropped it, or be gone: then there is nothing to show.
  const text = await cluster.core.readNamespacedPodLog(options).catch(() => '');
  return text
    .split('\n')
    .slice(0, KEPT_LINES + 1)
    .filter((line, index, all) => line !== '' || index < all.length - 1);
}
