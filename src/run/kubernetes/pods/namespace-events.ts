import type { CoreV1Event } from '@kubernetes/client-node';
import type { DeployError } from '../../../core/errors.ts';
import { took } from '../../../core/text/duration.ts';
import type { Cluster } from '../../../kubernetes/cluster.ts';
import { refusalIn } from '../../../kubernetes/faults/api-refusals.ts';
import { watchObjects } from '../../../kubernetes/watch.ts';

/** Collects the cluster's events about a namespace while processes start in it. */
export class NamespaceEvents {
  readonly #events: CoreV1Event[] = [];
  readonly #since = Date.now() - CLOCK_MS;
  readonly #onEvent: (event: CoreV1Event) => void;

  /**
   * @param onEvent - Called with each new event of the namespace.
   */
  constructor(onEvent: (event: CoreV1Event) => void) {
    this.#onEvent = onEvent;
  }

  /**
   * Begins to watch the events of a namespace, until the signal fires. Errors are ignored, because events only explain
   * why a process does not start.
   */
  watch(cluster: Cluster, namespace: string, signal: AbortSignal): void {
    watchObjects<CoreV1Event>(cluster, {
      path: `/api/v1/namespaces/${namespace}/events`,
      labels: '',
      signal,
      onState: (event) => {
        if (timeOf(event) < this.#since) return;
        this.#events.push(event);
        this.#onEvent(event);
      },
    }).catch(() => {});
  }

  ofPod(uid: string): CoreV1Event[] {
    return this.#events.filter(({ involvedObject }) => involvedObject.uid === uid);
  }

  /** Returns why the cluster creates no pod for the Deployment or Job of this name, or null if no event says so. */
  refusalOf(name: string): DeployError | null {
    const said = this.#events.findLast(
      ({ involvedObject, reason }) =>
        reason === 'FailedCreate' &&
        (involvedObject.name === name || involvedObject.name?.startsWith(`${name}-`) === true),
    );
    return said === undefined ? null : refusalIn(said.message ?? '');
  }
}

/** The largest expected difference between this server's clock and the cluster's, in milliseconds. */
const CLOCK_MS = 5000;

function timeOf({ lastTimestamp, eventTime, firstTimestamp }: CoreV1Event): number {
  const time = lastTimestamp ?? eventTime ?? firstTimestamp;
  return time === undefined || time === null ? Date.now() : new Date(time).getTime();
}

const UNIT_MS: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 };

/** Reads a duration that Go has written, such as `1m2.5s` or `408ms`. Units below a millisecond count as 0. */
function goDurationMs(text: string): number {
  let ms = 0;
  for (const [, number, unit = ''] of text.matchAll(/(\d+(?:\.\d+)?)(h|ms|m|s)/g))
    ms += Number(number) * (UNIT_MS[unit] ?? 0);
  return ms;
}

/** Returns the text of an event for the person who pushed. Null if the event does not matter to them. */
export function eventWords({ reason, message = '' }: CoreV1Event): string | null {
  switch (reason) {
    case 'Pulling':
      return 'gets its image';
    case 'Pulled': {
      // The kubelet writes: `Successfully pulled image "…" in 1.234s (1.234s including waiting). Image size: … bytes.`
      const text = /^Successfully pulled image \S+ in (\S+) /.exec(message)?.[1];
      return text === undefined ? null : `has its image after ${took(goDurationMs(text))}`;
    }
    default:
      return null;
  }
}
