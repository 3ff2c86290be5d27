import type { Cluster } from '../../kubernetes/cluster.ts';
import { closesConnections, illAnswer, type Seen, TOO_LATE } from '../health.ts';
import { askPod } from './ask-pod.ts';
import { WEB_PORT } from './manifests-pod.ts';
import type { ToolPod } from './pods.ts';

export type Look =
  /** The remark is what people should know all the same: `GET / answers 500`; null = nothing. */
  | { readonly kind: 'well'; readonly remark: string | null }
  /** This server may not look (`pods/proxy`). */
  | { readonly kind: 'unknown' }
  /** Nothing listens on PORT. */
  | { readonly kind: 'no-port' }
  | { readonly kind: 'ill'; readonly seen: Seen };

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
  const request = { port: WEB_PORT, path: path ?? '/', answerMs: ANSWER_MS };
  const answer = await askPod(cluster, pod, request, signal);
  switch (answer) {
    case 'forbidden':
      return { kind: 'unknown' };
    case 'refused':
      return { kind: 'no-port' };
    case 'closed':
      return path === null
        ? ill(closesConnections({ name: pod.name, insidePort: WEB_PORT }))
        : ill(illAnswer(path, 'closed the connection without an answer'));
    case 'late':
      return path === null ? well(`GET / ${TOO_LATE}`) : ill(illAnswer(path, TOO_LATE));
    default:
      if (path === null) return well(answer < 400 ? null : `GET / answers ${answer}`);
      return answer >= 200 && answer < 400 ? well(null) : ill(illAnswer(path, answer));
  }
}

function well(remark: string | null): Look {
  return { kind: 'well', remark };
}

function ill(seen: Seen): Look {
  return { kind: 'ill', seen };
}
