import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';
import { DeployError } from '../../../core/errors.ts';
import { type CommandEnd, ContainerAttachment } from '../../../kubernetes/container-attach.ts';
import { type Exit, fromStatus } from '../../../sandbox/sandbox.ts';
import { MarkedOutput, markBytes } from '../../marked-output.ts';
import { untilGivenUp } from '../../one-off-command.ts';
import type { OneOff } from '../../runtime.ts';
import { notRunning, processEnded } from '../../words/exec-words.ts';
import { CONTAINER } from '../manifests/object-names.ts';
import type { ToolPod } from '../pods/tool-pods.ts';
import type { ObjectParts } from '../rollout-objects.ts';
import { execProgram, firstLines, signalProgram } from './exec-script.ts';
import { feed } from './one-off-as-pod.ts';

const CONNECT_MS = 30_000;
/** How many milliseconds the cluster may take to report the end of a container after the end of a command in it. */
const END_MS = 6000;
const LOOK_MS = 500;
const KILLED: Exit = { code: null, signal: 'SIGKILL', isOutOfMemory: false };
/** The exit status that the cluster reports for a command that got SIGKILL, for example together with its container. */
const KILLED_STATUS = 137;

/**
 * Runs a command in the container of a running process.
 *
 * @throws DeployError `NOT_RUNNING` if the process does not run; `PROCESS_ENDED` if the process ends before the
 * command; `EXEC_FAILED` if the cluster did not run the command or lost the connection to it; the cluster's refusal;
 * the signal's reason if the signal fired before the command ran.
 */
export async function execInPod(
  oneOff: OneOff & { readonly beside: string },
  pod: ToolPod,
  parts: ObjectParts,
): Promise<Exit> {
  const { release, beside, terminal, signal, command } = oneOff;
  const watched = new RunningContainer(pod, parts);
  if (!watched.isRunning()) throw notRunning(release.tool, beside);
  const mark = randomBytes(16).toString('hex');
  const place = { namespace: pod.namespace, pod: pod.podName, container: CONTAINER };
  const isTerminal = terminal !== null;
  using attachment = await ContainerAttachment.open(parts.cluster, place, {
    ...{ isTerminal, timeoutMs: CONNECT_MS, signal },
    command: execProgram(mark, terminal?.type ?? null),
  }).catch((error: unknown) => {
    if (error instanceof DeployError && error.code === 'ATTACH_FAILED' && !watched.isRunning())
      throw notRunning(release.tool, beside);
    throw error;
  });
  const over = new AbortController();
  const taking = new TakenOutput(oneOff, attachment, mark);
  const kill = (name: 'TERM' | 'HUP' | 'KILL') => sendSignal(parts, place, signalProgram(mark, name));
  try {
    const ending = endWith(oneOff, { over: over.signal, kill, graceMs: parts.config.grace_time, attachment });
    terminal?.onResize((size) => void attachment.resize(size));
    await attachment.write(Buffer.from(firstLines(command, terminal?.size)));
    // The input is not awaited, because a command may end before it has read its input.
    void feed(oneOff, attachment);
    await Promise.race([taking.taken(), untilGivenUp(ending, signal)]);
  } finally {
    over.abort();
  }
  const { status, commandEnd } = taking;
  if (status !== null) return { ...fromStatus(status), isOutOfMemory: false };
  if (signal.aborted) return KILLED;
  // When a container ends, the cluster kills the commands in it, and reports their end first. So the status 137 may
  // mean that the container has ended: wait below for the news of its end.
  if (commandEnd !== null && 'status' in commandEnd && commandEnd.status !== KILLED_STATUS)
    return { ...fromStatus(commandEnd.status), isOutOfMemory: false };
  if (await watched.hasEnded()) throw processEnded(release.tool, beside);
  if (commandEnd !== null && 'status' in commandEnd) return KILLED;
  throw new DeployError(
    'EXEC_FAILED',
    commandEnd === null
      ? 'the connection to the command was lost'
      : `the cluster did not run the command: ${commandEnd.why}`,
    'Check what the command has done so far, and run it again. If it fails again, tell the operator.',
  );
}

/** Knows whether the container of a process still runs, and has not been restarted. */
class RunningContainer {
  readonly #pod: ToolPod;
  readonly #parts: ObjectParts;

  constructor(pod: ToolPod, parts: ObjectParts) {
    this.#pod = pod;
    this.#parts = parts;
  }

  isRunning(): boolean {
    const now = this.#parts.pods.of(this.#pod.tool).find(({ uid }) => uid === this.#pod.uid);
    const { container } = now ?? {};
    return (
      container?.state?.running !== undefined && container.containerID === this.#pod.container?.containerID
    );
  }

  /** Waits up to 6 s for the news that the container has ended. @returns false if no such news came. */
  async hasEnded(): Promise<boolean> {
    const { pods, closing } = this.#parts;
    const end = performance.now() + END_MS;
    while (this.isRunning() && performance.now() < end) await pods.change(LOOK_MS, closing);
    return !this.isRunning();
  }
}

/** Passes the output of the command to the client. */
class TakenOutput {
  /** The exit status of the command. Null until the shell script that runs the command has printed the status. */
  status: number | null = null;
  readonly #oneOff: OneOff;
  readonly #attachment: ContainerAttachment;
  readonly #mark: Uint8Array;

  constructor(oneOff: OneOff, attachment: ContainerAttachment, mark: string) {
    this.#oneOff = oneOff;
    this.#attachment = attachment;
    this.#mark = markBytes(mark);
  }

  /** Resolves when the client has all output, and when `status` is known or the connection has ended. */
  async taken(): Promise<void> {
    const { terminal } = this.#oneOff;
    const outputs = {
      output: new MarkedOutput(this.#mark, false),
      errors: new MarkedOutput(this.#mark, true),
    };
    let hasSize = terminal === null;
    for await (const { stream, bytes } of this.#attachment.chunks()) {
      const shown = outputs[stream].pass(bytes);
      if (!hasSize && outputs.output.hasBegun) {
        hasSize = true;
        // The shell script that runs the command has set the size that the client's terminal had at the start. Set the
        // size that it has now.
        if (terminal !== null) await this.#attachment.resize(terminal.size);
      }
      if (shown.length > 0) await this.#oneOff[stream](shown);
      const [, told] = /^(\d{1,3})\n/.exec(outputs.output.after.toString('latin1')) ?? [];
      if (told !== undefined && outputs.errors.isOver) {
        this.status = Math.min(Number(told), 255);
        return;
      }
    }
    for (const stream of ['output', 'errors'] as const) {
      const rest = outputs[stream].end();
      if (rest.length > 0) await this.#oneOff[stream](rest);
    }
  }

  /** How the command ended, as the cluster reports it. Null if the cluster has not reported the end. */
  get commandEnd(): CommandEnd | null {
    return this.#attachment.commandEnd;
  }
}

interface Ending {
  /** Fires when the command has ended. */
  readonly over: AbortSignal;
  readonly kill: (name: 'TERM' | 'HUP' | 'KILL') => Promise<void>;
  readonly graceMs: number;
  readonly attachment: ContainerAttachment;
}

/** Ends the command when `signal` fires. Otherwise the cluster would let the command run on without a client. */
async function endWith(
  { signal, terminal }: OneOff,
  { over, kill, graceMs, attachment }: Ending,
): Promise<void> {
  if (!signal.aborted) await once(signal, 'abort', { signal: over }).catch(() => {});
  if (over.aborted) return;
  await kill(terminal === null ? 'TERM' : 'HUP');
  await wait(graceMs, null, { signal: over }).catch(() => {});
  if (over.aborted) return;
  await kill('KILL');
  // Normally, the cluster now reports the end of the command, and the connection ends. But processes of the tool may
  // keep the connection open, so close it after a moment.
  await wait(LOOK_MS, null, { signal: over }).catch(() => {});
  attachment[Symbol.dispose]();
}

/** Sends a signal to the command, by another program that it runs in the container. Never rejects. */
async function sendSignal(
  { cluster, closing }: ObjectParts,
  place: Parameters<typeof ContainerAttachment.open>[1],
  command: readonly string[],
): Promise<void> {
  try {
    using helper = await ContainerAttachment.open(cluster, place, {
      ...{ isTerminal: false, timeoutMs: CONNECT_MS, signal: closing, command },
    });
    const limit = setTimeout(() => helper[Symbol.dispose](), CONNECT_MS);
    for await (const _ of helper.chunks());
    clearTimeout(limit);
  } catch {
    // Ignore that the signal could not be sent, for example because the container has ended or the cluster does not
    // answer.
  }
}
