import { json } from 'node:stream/consumers';
import { setTimeout as wait } from 'node:timers/promises';
import { ApiException } from '@kubernetes/client-node';
import { linesOf, openApiStream } from './api-stream.ts';
import type { Cluster } from './cluster.ts';
import { refusalOf, statusOf } from './faults/api-refusals.ts';
import { isTransient } from './retry.ts';

/** An object with the metadata that a watch needs. */
export interface Watched {
  readonly metadata?: { readonly uid?: string; readonly resourceVersion?: string };
}

export interface Watching<Kind extends Watched> {
  /** The path of the objects in the API, such as `/api/v1/namespaces/NAME/pods`. */
  readonly path: string;
  /** The label selector of the objects. Empty for all objects. */
  readonly labels: string;
  /** The field selector of the objects, such as `involvedObject.name=x`. */
  readonly fields?: string;
  readonly signal: AbortSignal;
  /** Reduces an object to the part that is kept between changes. If set, the API is asked only for metadata. */
  readonly keep?: (object: Kind) => Kind;
  /** Called with each existing and each new object, and with an object after each of its changes. */
  readonly onState: (object: Kind) => void;
  /** Called with the last known state of a deleted object, perhaps reduced by `keep`. */
  readonly onGone?: (object: Kind) => void;
  /** Called when all existing objects have been reported: at the start, and after each gap in the watch. */
  readonly onListed?: () => void;
  /**
   * Called if the API refuses the watch, or if a request fails for a reason that is not temporary. The watch then
   * retries, and lists all objects again. If `onRefused` is not set, `watchObjects` throws the error.
   */
  readonly onRefused?: (error: unknown) => void;
}

const WATCH_SECONDS = 240;
// A watch counts as dead after this time without a byte, because the API server sends something about once a minute: if
// nothing has changed, a bookmark, which is an event without a change.
const IDLE_MS = 90_000;
const LIST_MS = 30_000;
const FIRST_PAUSE_MS = 100;
const MAX_PAUSE_MS = 5000;

/**
 * Reports changes of objects until the signal fires, even if connections break or the API server restarts. After a gap,
 * lists all objects again, and reports objects that have disappeared as gone. Resolves when the signal fires.
 *
 * @throws DeployError, such as `CLUSTER_FORBIDDEN`, if the API refuses and there is no `onRefused`.
 * @see https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
 */
export async function watchObjects<Kind extends Watched>(
  cluster: Cluster,
  watching: Watching<Kind>,
): Promise<void> {
  const known = new Map<string, Kind>();
  let version: string | null = null;
  let wasLost = false;
  for (let pauseMs = FIRST_PAUSE_MS; !watching.signal.aborted; ) {
    try {
      version ??= await list(cluster, watching, known);
      version = await follow(cluster, watching, known, version);
      pauseMs = FIRST_PAUSE_MS;
      wasLost = false;
    } catch (error) {
      if (watching.signal.aborted) return;
      if (isStale(error)) version = null;
      else if (isTransient(error, wasLost)) wasLost = true;
      else {
        const { onRefused } = watching;
        if (onRefused === undefined) throw refusalOf(error) ?? error;
        onRefused(refusalOf(error) ?? error);
        version = null;
        wasLost = true;
      }
    }
    await wait(pauseMs, null, { signal: watching.signal }).catch(() => {});
    if (wasLost) pauseMs = Math.min(pauseMs * 2, MAX_PAUSE_MS);
  }
}

/** Lists all objects and reports them. @returns the resource version of the list. */
async function list<Kind extends Watched>(
  cluster: Cluster,
  watching: Watching<Kind>,
  known: Map<string, Kind>,
): Promise<string> {
  const response = await openApiStream(cluster, {
    path: watching.path,
    query: selectors(watching),
    ...form(watching, 'PartialObjectMetadataList'),
    signal: watching.signal,
    idleMs: LIST_MS,
  });
  const { items: listed, metadata } = (await json(response)) as {
    items: Kind[] | null;
    metadata: { resourceVersion: string };
  };
  // Treat null as an empty list, because `items` can be null in a PartialObjectMetadataList without objects.
  const items = listed ?? [];
  const there = new Set(items.map((item) => item.metadata?.uid ?? ''));
  for (const [uid, object] of [...known]) if (!there.has(uid)) forget(uid, object, watching, known);
  for (const item of items) tell(item, watching, known);
  watching.onListed?.();
  return metadata.resourceVersion;
}

interface WatchEvent<Kind> {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  readonly object: Kind;
}

class StaleVersion extends Error {}

/**
 * Reports changes until the connection breaks, or until the API server ends the watch, which it does every few minutes.
 *
 * @returns the last resource version that the API server has sent.
 */
async function follow<Kind extends Watched>(
  cluster: Cluster,
  watching: Watching<Kind>,
  known: Map<string, Kind>,
  from: string,
): Promise<string | null> {
  const response = await openApiStream(cluster, {
    path: watching.path,
    query: {
      ...selectors(watching),
      watch: 'true',
      resourceVersion: from,
      allowWatchBookmarks: 'true',
      timeoutSeconds: String(WATCH_SECONDS),
    },
    ...form(watching, 'PartialObjectMetadata'),
    signal: watching.signal,
    idleMs: IDLE_MS,
  });
  let version = from;
  try {
    for await (const line of linesOf(response)) {
      const { type, object } = JSON.parse(line) as WatchEvent<Kind>;
      if (type === 'ERROR') {
        const { code = 0 } = object as { code?: number };
        if (code === 410) throw new StaleVersion();
        throw new ApiException(code, '', JSON.stringify(object), {});
      }
      version = object.metadata?.resourceVersion ?? version;
      if (type === 'DELETED') forget(object.metadata?.uid ?? '', object, watching, known);
      else if (type !== 'BOOKMARK') tell(object, watching, known);
    }
  } catch (error) {
    if (error instanceof ApiException || watching.signal.aborted || !isTransient(error)) throw error;
    // The connection was cut. The next watch continues after the last reported change.
  }
  return version;
}

function tell<Kind extends Watched>(object: Kind, watching: Watching<Kind>, known: Map<string, Kind>): void {
  const uid = object.metadata?.uid ?? '';
  const version = object.metadata?.resourceVersion;
  if (version !== undefined && known.get(uid)?.metadata?.resourceVersion === version) return;
  known.set(uid, watching.keep?.(object) ?? object);
  watching.onState(object);
}

function forget<Kind extends Watched>(
  uid: string,
  object: Kind,
  watching: Watching<Kind>,
  known: Map<string, Kind>,
): void {
  known.delete(uid);
  watching.onGone?.(object);
}

// If only metadata are kept, asks the API for no more:
// https://kubernetes.io/docs/reference/using-api/api-concepts/#fetching-metadata
function form<Kind extends Watched>({ keep }: Watching<Kind>, as: string): { readonly accept?: string } {
  return keep === undefined ? {} : { accept: `application/json;as=${as};g=meta.k8s.io;v=v1` };
}

function isStale(error: unknown): boolean {
  if (error instanceof StaleVersion) return true;
  return error instanceof ApiException && (error.code === 410 || statusOf(error).reason === 'Expired');
}

function selectors({ labels, fields }: Pick<Watching<Watched>, 'labels' | 'fields'>): Record<string, string> {
  return {
    ...(labels === '' ? {} : { labelSelector: labels }),
    ...(fields === undefined ? {} : { fieldSelector: fields }),
  };
}
