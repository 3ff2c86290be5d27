import { randomBytes } from 'node:crypto';
import { addAbortListener } from 'node:events';
import type { Log } from '../../../core/log/log.ts';
import type { ToolName } from '../../../core/names.ts';
import { applyObject } from '../../../kubernetes/apply.ts';
import { ContainerAttachment } from '../../../kubernetes/container-attach.ts';
import { retryRemoval } from '../../../kubernetes/retry.ts';
import type { Exit } from '../../../sandbox/sandbox.ts';
import { MarkedOutput, markBytes } from '../../marked-output.ts';
import { untilGivenUp } from '../../one-off-command.ts';
import type { OneOff } from '../../runtime.ts';
import { CONTAINER, configName, newRolloutId, type Rollout } from '../manifests/object-names.ts';
import { ensureNamespace, type ObjectParts } from '../rollout-objects.ts';
import { attachedLine, ONE_OFF_LABEL, oneOffPod, oneOffSecret } from './one-off-pod.ts';
import { WatchedPod } from './watched-pod.ts';

export interface OneOffParts extends ObjectParts {
  /**
   * The value of the label `ONE_OFF_LABEL` for the one-off commands that this run of the server starts. Each start of
   * the server uses another value.
   */
  readonly serverRun: string;
  readonly log: Log;
}

const ATTACH_MS = 30_000;
/** How many milliseconds the cluster may take to report the end of a container after its output has ended. */
const END_MS = 30_000;
const CTRL_D = Uint8Array.of(4);

/**
 * Runs a one-off command as a new pod in the tool's namespace, and removes the pod.
 *
 * @throws DeployError `ONE_OFF_FAILED` if the pod cannot run the command, or if nobody knows how the command ended;
 * `ATTACH_FAILED` if the cluster does not connect this server to the command; the cluster's refusal; the reason of
 * `oneOff.signal` if it fired before the command ran.
 */
export async function runAsPod(
  oneOff: OneOff,
  place: Pick<Rollout, 'namespace' | 'previewOf'>,
  parts: OneOffParts,
): Promise<Exit> {
  const { cluster, config, serverRun } = parts;
  const { release, signal } = oneOff;
  const { namespace } = place;
  const rollout = { release, id: newRolloutId(), ...place, replicas: {} };
  const mark = randomBytes(16).toString('hex');
  const options = { rollout, oneOff, config, serverRun, mark };
  const pod = oneOffPod(options);
  const over = new AbortController();
  try {
    await ensureNamespace(parts, rollout, signal);
    await applyObject(cluster, oneOffSecret(options), { signal });
    const watched = new WatchedPod(await applyObject(cluster, pod, { signal }));
    watched.watch(cluster, over.signal);
    await watched.untilStarted(config.pod_start_time, signal);
    return await attached(oneOff, { parts, watched, mark });
  } finally {
    over.abort();
    await Promise.all([
      removePod(parts, { namespace, name: pod.metadata.name, graceSeconds: 1 }),
      removeSecret(parts, namespace, configName(rollout)),
    ]).catch(() => {
      // Ignore that the removal failed: the pod has a deadline, and the next start of the server removes the pod and
      // its Secret.
    });
  }
}

/**
 * Removes the pods and Secrets of one-off commands that earlier runs of the server left in a namespace. Never rejects.
 */
export async function removeOldOneOffs(parts: OneOffParts, tool: ToolName, namespace: string): Promise<void> {
  const { cluster, serverRun, log } = parts;
  const call = { namespace, labelSelector: `${ONE_OFF_LABEL},${ONE_OFF_LABEL}!=${serverRun}` };
  try {
    await retryRemoval(() => cluster.core.deleteCollectionNamespacedPod(call));
    await retryRemoval(() => cluster.core.deleteCollectionNamespacedSecret(call));
  } catch (err) {
    log.warn({ err, tool }, 'cannot remove old one-offs');
  }
}

interface Attaching {
  readonly parts: OneOffParts;
  readonly watched: WatchedPod;
  readonly mark: string;
}

/** Attaches to the pod, passes the streams between client and command, and waits until the command has ended. */
async function attached(oneOff: OneOff, { parts, watched, mark }: Attaching): Promise<Exit> {
  const { terminal, signal } = oneOff;
  const { namespace, name } = watched;
  const place = { namespace, pod: name, container: CONTAINER };
  using attachment = await ContainerAttachment.open(parts.cluster, place, {
    isTerminal: terminal !== null,
    timeoutMs: ATTACH_MS,
    signal,
  });
  using _ending = addAbortListener(signal, () => {
    const graceSeconds = Math.ceil(parts.config.grace_time / 1000);
    removePod(parts, { namespace, name, graceSeconds }).catch(() => {});
  });
  terminal?.onResize((size) => void attachment.resize(size));
  await attachment.write(Buffer.from(attachedLine(terminal?.size)));
  // The input is not awaited, because a command may end before it has read its input.
  void feed(oneOff, attachment);
  const ended = watched.untilEnded(new AbortController().signal);
  await Promise.race([take(oneOff, attachment, mark), untilGivenUp(ended, signal)]);
  // Detach from the pod. Without a terminal, the script in the pod drops further input after the command's end, and
  // ends when the server detaches.
  attachment[Symbol.dispose]();
  await watched.untilEnded(AbortSignal.timeout(END_MS));
  return signal.aborted ? exitOrTerm(watched) : watched.exit();
}

/** Returns how the command ended. Returns SIGTERM if this is unknown, for example because the pod has disappeared. */
function exitOrTerm(watched: WatchedPod): Exit {
  try {
    return watched.exit();
  } catch {
    return { code: null, signal: 'SIGTERM', isOutOfMemory: false };
  }
}

/** Passes the output of the command to the client. */
async function take(oneOff: OneOff, attachment: ContainerAttachment, mark: string): Promise<void> {
  let { terminal } = oneOff;
  const outputs = {
    output: new MarkedOutput(markBytes(mark), false),
    errors: new MarkedOutput(markBytes(mark), true),
  };
  for await (const { stream, bytes } of attachment.chunks()) {
    const shown = outputs[stream].pass(bytes);
    if (terminal !== null && outputs.output.hasBegun) {
      // The shell script that runs the command has set the size that the client's terminal had at the start. Set the
      // size that it has now.
      await attachment.resize(terminal.size);
      terminal = null;
    }
    if (shown.length > 0) await oneOff[stream](shown);
    if (outputs.output.isOver && outputs.errors.isOver) return;
  }
  for (const stream of ['output', 'errors'] as const) {
    const rest = outputs[stream].end();
    if (rest.length > 0) await oneOff[stream](rest);
  }
}

/** Passes the client's input on to the command. Never rejects. */
export async function feed({ input, terminal }: OneOff, attachment: ContainerAttachment): Promise<void> {
  try {
    for await (const chunk of input) await attachment.write(chunk);
    if (terminal === null) await attachment.end();
    else await attachment.write(CTRL_D);
  } catch {
    // Ignore the error: the client has disconnected, and the abort of `oneOff.signal` ends the command.
  }
}

interface PodRemoval {
  readonly namespace: string;
  readonly name: string;
  readonly graceSeconds: number;
}

async function removePod(
  { cluster }: OneOffParts,
  { namespace, name, graceSeconds }: PodRemoval,
): Promise<void> {
  const fieldSelector = `metadata.name=${name}`;
  await retryRemoval(() =>
    cluster.core.deleteCollectionNamespacedPod({
      namespace,
      fieldSelector,
      gracePeriodSeconds: graceSeconds,
    }),
  );
}

async function removeSecret({ cluster }: OneOffParts, namespace: string, name: string): Promise<void> {
  const fieldSelector = `metadata.name=${name}`;
  await retryRemoval(() => cluster.core.deleteCollectionNamespacedSecret({ namespace, fieldSelector }));
}
