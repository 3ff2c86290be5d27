import { json } from 'node:stream/consumers';
import { setTimeout as wait } from 'node:timers/promises';
import { ApiException } from '@kubernetes/client-node';
import { linesOf, openApiStream } from './api-stream.ts';
import type { Cluster } from './cluster.ts';
import { refusalOf, statusOf } from './refusals.ts';
import { isTransient } from './retrying.ts';

/** What every object has. */
export interface Watched {
  readonly metadata?: { readonly uid?: string; readonly resourceVersion?: string };
}

export interface Watching<Kind extends Watched> {
  /** As `/api/v1/namespaces/NAME/pods`. */
  readonly path: string;
  /** A label selector; empty = all. */
  readonly labels: string;
  /** A field selector, as `involvedObject.name=x`. */
  readonly fields?: string;
  readonly signal: AbortSignal;
  /** What is kept of an object between two changes, for its gap or its end; then only metadata is asked for. */
  readonly keep?: (object: Kind) => Kind;
  /** The object as it is now: at first for each that is there, then at each change. */
  readonly onState: (object: Kind) => void;
  /** It is no more; called with its last state. */
  readonly onGone?: (object: Kind) => void;
  /** What is there has been told; called again after each gap. */
  readonly onListed?: () => void;
  /** Why the API refuses: it is asked on, and what is there is told anew once it answers. Not set: the watch ends. */
  readonly onRefused?: (error: unknown) => void;
}

const WATCH_SECONDS = 240;
// The API server sends a bookmark about each minute.
const IDLE_MS = 90_000;
const LIST_MS = 30_000;
const FIRST_PAUSE_MS = 100;
const MOST_PAUSE_MS = 5000;

/**
 * Tells how objects change until the signal fires, over cut connections, restarts of the API server and gaps: after a
 * gap everything is listed anew, and what went meanwhile is told as gone. Resolves when the signal fires.
 *
 * @throws DeployError where the API refuses and there is no `onRefused`, as `CLUSTER_FORBIDDEN`.
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
        if (onRefused === undefined || !(error instanceof ApiException)) throw refusalOf(error) ?? error;
        onRefused(refusalOf(error) ?? error);
        version = null;
        wasLost = true;
      }
    }
    await wait(pauseMs, null, { signal: watching.signal }).catch(() => {});
    if (wasLost) pauseMs = Math.min(pauseMs * 2, MOST_PAUSE_MS);
  }
}

/** @returns the version of what was listed. */
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
  // An empty list of metadata has null.
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

/** @returns the version up to which everything was told; the watch ended as the API server does now and then. */
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
    // Cut: what was told stays told, and the next watch begins after it.
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
