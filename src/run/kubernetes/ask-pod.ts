import type { IncomingMessage } from 'node:http';
import { ApiException } from '@kubernetes/client-node';
import { systemCode } from '../../core/errors.ts';
import { openApiStream } from '../../kubernetes/api-stream.ts';
import type { Cluster } from '../../kubernetes/cluster.ts';
import { isOtherProtocol } from '../health.ts';
import type { ToolPod } from './pods.ts';

export interface PodRequest {
  readonly port: number;
  /** With its slash. Nothing in it leads out of the pod. */
  readonly path: string;
  /** How long the answer may take, in milliseconds. */
  readonly answerMs: number;
}

/** The API server's own words are shorter; a pod may answer for ever. */
const MOST_READ_BYTES = 16 * 1024;

/**
 * The status of an answer; or why there was none: this server may not ask (`pods/proxy`), nothing listens on the port,
 * the API server cannot connect to the pod, the connection was closed without an answer, the answer was not HTTP/1.1,
 * or there was none in time.
 */
export type PodAnswer = number | 'forbidden' | 'refused' | 'unreached' | 'closed' | 'not HTTP' | 'late';

/**
 * Asks a pod `GET path` through the API server, which reaches pods wherever this server runs.
 *
 * @throws the system's error where the API server is away, ApiException where it has too much to do or knows no such
 * pod; AbortError when the signal fires.
 * @see https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#get-connect-proxy-requests-to-pod
 */
export async function askPod(
  cluster: Cluster,
  { namespace, podName }: Pick<ToolPod, 'namespace' | 'podName'>,
  { port, path, answerMs }: PodRequest,
  signal: AbortSignal,
): Promise<PodAnswer> {
  const limit = AbortSignal.timeout(answerMs);
  try {
    const response = await openApiStream(cluster, {
      path: `/api/v1/namespaces/${namespace}/pods/${podName}:${port}/proxy${belowPod(path)}`,
      signal: AbortSignal.any([signal, limit]),
      idleMs: answerMs,
      takesAny: true,
    });
    const status = response.statusCode ?? 0;
    if (!mayBeOfApi(status, response)) {
      response.destroy();
      return status;
    }
    return meaningOf(status, await beginningOf(response));
  } catch (error) {
    signal.throwIfAborted();
    if (limit.aborted) return 'late';
    // What the pod answered is no HTTP, or has headers without end; the API server passes it on.
    if (systemCode(error)?.startsWith('HPE_')) return isOtherProtocol(error) ? 'not HTTP' : 'closed';
    throw error;
  }
}

/**
 * A path as a browser would ask for it: without `..`, in whatever spelling. What is asked of the API server is asked with
 * this server's rights, and a path that climbs would reach all that they reach.
 *
 * @see https://url.spec.whatwg.org/#double-dot-path-segment
 */
function belowPod(path: string): string {
  const { pathname, search } = new URL(`http://pod${path}`);
  return `${pathname.replace(/%(?:2f|5c)/gi, '/').replace(/\/(?:\.|%2e){1,2}(?=\/|$)/gi, '')}${search}`;
}

async function beginningOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes >= MOST_READ_BYTES) break;
  }
  return Buffer.concat(chunks).toString('utf8', 0, MOST_READ_BYTES);
}

/** The API server speaks JSON, and where the way to a pod is broken plain text too. */
function mayBeOfApi(status: number, { headers }: IncomingMessage): boolean {
  if (status === 403 || status === 502 || status === 503) return true;
  return status >= 400 && headers['content-type']?.startsWith('application/json') === true;
}

/** @throws ApiException where the API server is meant, and not the way to the pod. */
function meaningOf(status: number, body: string): PodAnswer {
  if (!body.includes('"kind":"Status"') && !body.startsWith('Error trying to reach service')) return status;
  if (/cannot get resource .{0,4}pods\/proxy/.test(body)) return 'forbidden';
  // Go's reverse proxy does not pass on `101 Switching Protocols` that nobody asked for.
  if (/tried to switch protocol/.test(body)) return 101;
  if (!/error trying to reach service/i.test(body)) {
    if (status === 403 || status === 502 || status === 503) return status;
    throw new ApiException(status, '', body, {});
  }
  if (/connection refused/.test(body)) return 'refused';
  if (/dial tcp .*(?:timeout|no route|unreachable)/.test(body)) return 'unreached';
  if (/malformed HTTP/.test(body)) return 'not HTTP';
  return /timeout|deadline exceeded/i.test(body) ? 'late' : 'closed';
}
