import type { IncomingMessage } from 'node:http';
import { ApiException } from '@kubernetes/client-node';
import { systemCode } from '../../../core/errors.ts';
import { openApiStream } from '../../../kubernetes/api-stream.ts';
import type { Cluster } from '../../../kubernetes/cluster.ts';
import { isOtherProtocol } from '../../health/health-check.ts';
import type { ToolPod } from './tool-pods.ts';

export interface PodRequest {
  readonly port: number;
  /** The path of the request, which begins with a slash. `askPod` removes parts that would lead out of the pod. */
  readonly path: string;
  /** How long the answer may take, in milliseconds. */
  readonly answerMs: number;
}

/**
 * At most this many bytes of an answer are read. Errors of the API server are shorter, and the answer of a pod may be
 * endless.
 */
const MAX_READ_BYTES = 16 * 1024;

/**
 * The status of the pod's answer, or the reason why there was none:
 *
 * - `forbidden`: this server has no right to `pods/proxy`.
 * - `refused`: nothing listens on the port.
 * - `unreached`: the API server cannot connect to the pod.
 * - `closed`: the pod closed the connection.
 * - `not HTTP`: the pod did not answer in HTTP/1.1.
 * - `late`: no answer came in time.
 */
export type PodAnswer = number | 'forbidden' | 'refused' | 'unreached' | 'closed' | 'not HTTP' | 'late';

/**
 * Sends `GET path` to a pod through the API server, because this server may run outside of the cluster's network.
 *
 * @throws the error of the connection if the API server does not answer; ApiException if the API server is overloaded
 * or knows no such pod; the signal's reason when the signal fires.
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
    // The API server passes on an answer that is not HTTP or has endless headers, and the parser of Node.js refuses it.
    if (systemCode(error)?.startsWith('HPE_')) return isOtherProtocol(error) ? 'not HTTP' : 'closed';
    throw error;
  }
}

/**
 * Removes `..` from a path in every spelling, as a browser does. The API server answers the request with this server's
 * rights, so a path that leads out of the pod could use all these rights.
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
    if (bytes >= MAX_READ_BYTES) break;
  }
  return Buffer.concat(chunks).toString('utf8', 0, MAX_READ_BYTES);
}

/**
 * True if the answer may come from the API server itself, which answers in JSON, or in plain text if the pod is out of
 * reach.
 */
function mayBeOfApi(status: number, { headers }: IncomingMessage): boolean {
  if (status === 403 || status === 502 || status === 503) return true;
  return status >= 400 && headers['content-type']?.startsWith('application/json') === true;
}

/**
 * Finds out what an answer of the API server says about the pod.
 *
 * @throws ApiException if the answer is an error of the API server, not of the connection to the pod.
 */
function meaningOf(status: number, body: string): PodAnswer {
  if (!body.includes('"kind":"Status"') && !body.startsWith('Error trying to reach service')) return status;
  if (/cannot get resource .{0,4}pods\/proxy/.test(body)) return 'forbidden';
  // With these words, the API server reports that the pod answered `101 Switching Protocols` without being asked.
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
