import type { Process, Release } from '../../../core/types.ts';
import type { Cluster } from '../../../kubernetes/cluster.ts';
import { lastLines } from '../../../kubernetes/container-log.ts';
import { type Seen, wrongPort } from '../../health/health-check.ts';
import { CONTAINER } from '../manifests/object-names.ts';
import { webPort } from '../manifests/pod-manifest.ts';
import { askPod } from './ask-pod.ts';
import type { ToolPod } from './tool-pods.ts';

export interface OtherPortsParts {
  readonly cluster: Cluster;
  readonly release: Release;
  readonly process: Process;
  readonly signal: AbortSignal;
}

/** The default ports of common web servers. */
const USUAL = [80, 3000, 3838, 4000, 4567, 5000, 5173, 8080, 8081, 8443, 8501, 8888, 9000];
const MAX_ASKED = 32;
const ANSWER_MS = 2000;
const AGAIN_MS = 5000;
/**
 * If more ports than this answer late or cannot be reached, none of these ports counts as open, because the reason is
 * probably a busy node or a network policy that drops packets.
 */
const MAX_LATE = 2;
/**
 * Matches a port in a line of output: `0.0.0.0:5000`, `*:5000`, `[::]:5000`, `http://host:5000`, `port 5000`; but not a
 * time of day.
 */
const NAMED = /(?:\bport\b\W{0,3}|(?<=[a-z.][\w.-]*|\*|\]):)(\d{2,5})\b/gi;
/** Matches an address with a port that only the machine of the process can reach: `127.0.0.1:5000`. */
const LOOPBACK = /(?:\b127(?:\.\d{1,3}){3}|\blocalhost|\[::1\]):\d{2,5}\b/i;

/**
 * Finds out on which ports a web process listens, if it does not listen on PORT. This server cannot list the open ports
 * of a pod. So this class sends requests to ports that the command, the config vars or the output of the process name,
 * and to the usual ports, 32 at most. A port that is open only on 127.0.0.1 does not answer, so it is found only in the
 * output.
 */
export class OtherPorts {
  readonly #parts: OtherPortsParts;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #since: number | null = null;
  #seenAt = 0;
  #ports: readonly number[] = [];
  #printed: string | null = null;

  constructor(parts: OtherPortsParts) {
    this.#parts = parts;
  }

  /**
   * For how many milliseconds calls of `look` have found the process on ports other than PORT. Null if the last call
   * found none.
   */
  get elsewhereMs(): number | null {
    return this.#since === null ? null : this.#seenAt - this.#since;
  }

  /** Describes, for the person who pushed, which open ports the last call of `look` found. */
  seenOf({ name }: ToolPod): Seen {
    const port = { name, insidePort: webPort(this.#parts.release) };
    if (this.#ports.length > 0) return wrongPort(port, this.#ports);
    const { hint, soFar } = wrongPort(port, []);
    const printed = this.#printed === null ? '' : `; it printed ${this.#printed}`;
    return {
      message: `${name} never opened a port that others can reach${printed}`,
      hint: `${hint} A server on 127.0.0.1 or localhost cannot be reached from outside.`,
      soFar: `${soFar}${printed}`,
      hasNoPort: this.#printed === null,
    };
  }

  /**
   * Looks for ports other than PORT on which the process listens. Does nothing if the last look was less than 5 s ago.
   *
   * @throws the error of `askPod`, for example if the API server does not answer.
   */
  async look(pod: ToolPod): Promise<void> {
    if (performance.now() - this.#lookedAt < AGAIN_MS) return;
    const now = performance.now();
    this.#lookedAt = now;
    const { cluster, signal } = this.#parts;
    const { namespace, podName } = pod;
    const lines = await lastLines(cluster, { namespace, pod: podName, container: CONTAINER }, 'current');
    this.#printed =
      lines.map((line) => LOOPBACK.exec(line)?.[0]).findLast((found) => found !== undefined) ?? null;
    const ports = portsToAsk({ ...this.#parts, lines });
    const answers = await Promise.all(
      ports.map((port) => askPod(cluster, pod, { port, path: '/', answerMs: ANSWER_MS }, signal)),
    );
    // A port whose answer is late, or that cannot be reached, counts as open only if another port refused its
    // connection. If there are more than `MAX_LATE` such ports, none of them counts as open: the node is busy, or a
    // network policy drops all packets.
    const late = answers.filter((answer) => answer === 'late' || answer === 'unreached');
    const isLateOpen = answers.includes('refused') && late.length <= MAX_LATE;
    this.#ports = ports.filter((_, index) => {
      const answer = answers[index];
      if (answer === 'late' || answer === 'unreached') return isLateOpen;
      return answer !== 'refused' && answer !== 'forbidden';
    });
    this.#since = this.#ports.length === 0 ? null : (this.#since ?? now);
    this.#seenAt = now;
  }

  /** Forgets the ports that were found. Call this when the process listens on PORT. */
  forget(): void {
    this.#since = null;
    this.#ports = [];
  }
}

/**
 * Returns the ports to ask in ascending order: those that the command, the config vars or the last lines of output
 * name, except PORT and ports below 80, and the usual ports.
 */
export function portsToAsk({
  process,
  release,
  lines,
}: Pick<OtherPortsParts, 'process' | 'release'> & { readonly lines: readonly string[] }): number[] {
  const inCommand = process.command.flatMap((word) => word.match(/\b\d{2,5}\b/g) ?? []);
  const inVars = Object.entries(release.configVars).flatMap(([name, value]) =>
    /port/i.test(name) && /^\d{2,5}$/.test(value) ? [value] : [],
  );
  const inLines = lines
    .toReversed()
    .flatMap((line) => [...line.matchAll(NAMED)].map(([, port = '']) => port));
  const named = [...inCommand, ...inVars, ...inLines]
    .map(Number)
    .filter((port) => port >= 80 && port <= 65_535 && port !== webPort(release));
  return [...new Set([...named.slice(0, MAX_ASKED - USUAL.length), ...USUAL])].sort((a, b) => a - b);
}
