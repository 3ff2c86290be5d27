import { text } from 'node:stream/consumers';
import { openApiStream } from '../../kubernetes/api-stream.ts';
import type { Cluster } from '../../kubernetes/cluster.ts';
import { listeningPortsIn } from '../../kubernetes/container-exec.ts';
import { closesConnections, illAnswer, type Seen, TOO_LATE, wrongPort } from '../health.ts';
import { WEB_PORT } from './manifests-pod.ts';
import { CONTAINER } from './names.ts';
import type { ToolPod } from './pods.ts';

/** `well`; what was seen instead; or `unknown` where this server may not look (`pods/proxy`). */
export type Look = 'well' | 'unknown' | Seen;

const ANSWER_MS = 10_000;

/**
 * Asks a web process as the local runtime does. The kubelet's probes decide when a pod gets traffic; but they do not
 * say what they saw, and a port that is open counts for them, though a server that forks opens it before it has
 * loaded the tool.
 *
 * @param path - The health check path; null = any answer will do.
 */
export async function lookAt(
  cluster: Cluster,
  pod: ToolPod,
  path: string | null,
  signal: AbortSignal,
): Promise<Look> {
  const port = { name: pod.name, insidePort: WEB_PORT };
  const answer = await ask(cluster, pod, path ?? '/', signal);
  switch (answer) {
    case 'forbidden':
      return 'unknown';
    case 'refused': {
      const { namespace, podName } = pod;
      const ports = await listeningPortsIn(cluster, { namespace, pod: podName, container: CONTAINER });
      return wrongPort(
        port,
        (ports ?? []).filter((open) => open !== WEB_PORT),
      );
    }
    case 'closed':
      return path === null
        ? closesConnections(port)
        : illAnswer(path, 'closed the connection without an answer');
    case 'late':
      return path === null ? 'well' : illAnswer(path, TOO_LATE);
    default:
      if (path === null || (answer >= 200 && answer < 400)) return 'well';
      return illAnswer(path, answer);
  }
}

/** Through the API server, which reaches pods wherever this server runs. */
async function ask(
  cluster: Cluster,
  { namespace, podName }: ToolPod,
  path: string,
  signal: AbortSignal,
): Promise<number | 'forbidden' | 'refused' | 'closed' | 'late'> {
  const limit = AbortSignal.timeout(ANSWER_MS);
  try {
    const response = await openApiStream(cluster, {
      path: `/api/v1/namespaces/${namespace}/pods/${podName}:${WEB_PORT}/proxy${path}`,
      signal: AbortSignal.any([signal, limit]),
      idleMs: ANSWER_MS,
      takesAny: true,
    });
    const status = response.statusCode ?? 0;
    if (status !== 403 && status !== 503 && status !== 502) {
      response.destroy();
      return status;
    }
    return meaningOf(status, await text(response));
  } catch (error) {
    signal.throwIfAborted();
    if (limit.aborted) return 'late';
    throw error;
  }
}

/** An answer that may be the API server's instead of the tool's. */
function meaningOf(status: number, body: string): number | 'forbidden' | 'refused' | 'closed' | 'late' {
  if (!body.includes('"kind":"Status"') && !body.startsWith('Error trying to reach service')) return status;
  if (/cannot get resource .{0,4}pods\/proxy/.test(body)) return 'forbidden';
  if (!/error trying to reach service/i.test(body)) return status;
  if (/connection refused/.test(body)) return 'refused';
  return /timeout|deadline exceeded/i.test(body) ? 'late' : 'closed';
}
