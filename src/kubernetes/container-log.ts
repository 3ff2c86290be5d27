import { setTimeout as wait } from 'node:timers/promises';
import { ApiException, type V1ContainerStatus, type V1Pod } from '@kubernetes/client-node';
import { inPieces, outputTime } from '../core/fair-share/time-shares.ts';
import { LineCutter, openApiStream } from './api-stream.ts';
import type { Cluster } from './cluster.ts';
import { isNotFound } from './faults/api-refusals.ts';
import { isTransient, retrying } from './retry.ts';

export interface ContainerName {
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
  /**
   * The key under which `outputTime` counts the time that this server spends on the lines of this container. By default
   * the namespace, so that each tool has one share of the time.
   */
  readonly share?: string;
}

/** A line that a container printed, without its newline. */
export interface ContainerLine {
  /** When the container runtime received the line: ISO 8601, UTC, with milliseconds. */
  readonly at: string;
  readonly text: string;
}

/** The position of a reader in the log of a container. */
interface Place {
  /**
   * The newest time stamp so far, as the node writes it: with nanoseconds, in the node's own time zone. Empty before
   * the first line.
   */
  newest: string;
  /** The time stamp `newest` in UTC, cut to whole seconds. */
  second: string;
  /** How many lines the reader has got since the start of `second`. */
  count: number;
}

const PAUSE_MS = 150;
// After this many milliseconds without a byte, the log is opened again, because the connection may be dead.
const IDLE_MS = 120_000;
const KEPT_LINES = 20;
/**
 * A line is cut after this many characters, because a container may print endlessly without a newline. Callers hide the
 * secrets in the line first, and then cut it further.
 */
const MAX_LINE_CHARACTERS = 128 * 1024;
const MAX_LAST_BYTES = 256 * 1024;
// Matches a time stamp of RFC 3339.
const STAMP = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S*$/;

/**
 * Gets a line of a container. To do long work with the line, it returns a generator that yields between the steps
 * (`TimeShares.runSteps`).
 */
type OnLine = (line: ContainerLine) => Generator<void, void> | void;

/**
 * Passes on the lines of a container, each once and in order. Waits until the container starts, follows it over its
 * restarts, and survives any outage of the API. Resolves when the container has ended for good, its pod no longer
 * exists, or the signal fires.
 *
 * @param room - Awaited before more of the log is read. So this server reads the log no faster than the caller can
 * write the lines. The container itself does not wait.
 * @throws DeployError if the API refuses to read the pod. If it refuses to read the log, this tries again until the
 * signal fires.
 */
export async function followContainerLog(
  cluster: Cluster,
  name: ContainerName,
  onLine: OnLine,
  signal: AbortSignal,
  room: () => Promise<void> = async () => {},
): Promise<void> {
  const place: Place = { newest: '', second: '', count: 0 };
  const reading = { place, onLine, signal, room };
  let restarts = 0;
  while (!signal.aborted) {
    try {
      const status = await containerStatus(cluster, name, signal);
      if (status === null) return;
      if (status.restarts > restarts && place.newest !== '') {
        // Read the last lines that the container printed before its restart, because the reader may have missed them.
        await read(cluster, name, { ...reading, query: { previous: 'true' } });
      }
      restarts = status.restarts;
      const hasEnded = status.hasEnded;
      if (status.hasStarted) {
        await read(cluster, name, { ...reading, query: hasEnded ? {} : { follow: 'true' } });
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
  readonly onLine: OnLine;
  readonly signal: AbortSignal;
  readonly room: () => Promise<void>;
  readonly query: Readonly<Record<string, string>>;
}

/** Reads the log's lines after the position `place`, and moves `place` to the last line. */
async function read(cluster: Cluster, name: ContainerName, reading: Reading): Promise<void> {
  const { place, onLine, signal, room } = reading;
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
  // How many of the next lines the reader has got already. The API accepts only whole seconds as a start, so it sends
  // the lines of the second `place.second` again.
  let known = place.count;
  const newestBefore = place.newest;
  const take = function* (line: string): Generator<void, void> {
    const space = line.indexOf(' ');
    const stamp = space === -1 ? line : line.slice(0, space);
    // Skip a line without a time stamp. The node itself may add such a line, for example that it cannot watch the log
    // file.
    if (!STAMP.test(stamp)) return;
    if (known > 0 && stamp <= newestBefore) {
      known -= 1;
      return;
    }
    known = 0;
    const at = new Date(stamp).toISOString();
    moveTo(place, stamp, at.slice(0, 19));
    yield* onLine({ at, text: space === -1 ? '' : line.slice(space + 1) }) ?? [];
  };
  const takeAll = function* (lines: readonly string[]): Generator<void, void> {
    for (const line of lines) yield* take(line);
  };
  const cutter = new LineCutter(MAX_LINE_CHARACTERS);
  for await (const chunk of response as AsyncIterable<Buffer>) {
    // `outputTime` limits the time that this server spends on output. Cut the bytes into lines within this time too,
    // because cutting takes longer than passing the lines on.
    for (const piece of inPieces(chunk)) {
      await outputTime.runSteps(name.share ?? name.namespace, takeAll(cutter.push(piece)));
    }
    await room();
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

/** Reads the state of a container. Null if its pod does not exist, or has ended without starting the container. */
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

/**
 * True if the error only says that the container is still being created, or that its pod has just disappeared. The next
 * call of `containerStatus` tells which of the two is the case.
 */
function isNotYet(error: unknown): boolean {
  return error instanceof ApiException && (error.code === 400 || error.code === 404);
}

/**
 * Returns the last lines that a container printed, at most `most`. Returns none if the log of the container cannot be
 * read.
 *
 * @param run - `previous` returns lines of the run before the container's last restart.
 */
export async function lastLines(
  cluster: Cluster,
  { namespace, pod, container }: ContainerName,
  run: 'current' | 'previous',
  most = KEPT_LINES,
): Promise<string[]> {
  const options = {
    ...{ namespace, name: pod, container, previous: run === 'previous' },
    ...{ tailLines: most, limitBytes: MAX_LAST_BYTES },
  };
  // If the log cannot be read, for example because the node has deleted it or has disappeared, return no lines.
  const text = await cluster.core.readNamespacedPodLog(options).catch(() => '');
  return text
    .split('\n')
    .slice(0, most + 1)
    .filter((line, index, all) => line !== '' || index < all.length - 1);
}
