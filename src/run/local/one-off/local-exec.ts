import { randomBytes } from 'node:crypto';
import { addAbortListener, once } from 'node:events';
import type { Readable } from 'node:stream';
import { setTimeout as wait } from 'node:timers/promises';
import { type Exit, fromStatus } from '../../../sandbox/sandbox.ts';
import { runTree } from '../../../stack/stacks.ts';
import { MarkedOutput, markBytes } from '../../marked-output.ts';
import { OPENED, untilGivenUp } from '../../one-off-command.ts';
import type { OneOff } from '../../runtime.ts';
import { notTaken, processEnded } from '../../words/exec-words.ts';
import type { Running, RunParts } from '../processes/running-process.ts';
import { EXEC_VARIABLE } from './exec-agent.ts';
import { assertTerminal, feed } from './local-one-off.ts';
import { OneOffPipes } from './one-off-pipes.ts';

/** How many milliseconds the agent of a process may take to start a command. */
const START_MS = 6000;
/**
 * After a command was killed, the server waits up to this many milliseconds for each of these: the end of the command,
 * its last output, and the end of the process beside which it ran.
 */
const END_MS = 2000;
const KILLED: Exit = { code: null, signal: 'SIGKILL', isOutOfMemory: false };
/**
 * The most characters that the pipe `status` may have. `OPENED` and an exit status are shorter. If a tool writes more,
 * the command is killed.
 */
const MAX_STATUS_CHARACTERS = 32;

/**
 * Runs a command beside a running process, in the sandbox of that process.
 *
 * @throws DeployError `NO_TERMINAL` if the server cannot give the command a terminal; `EXEC_FAILED` if the agent does
 * not start the command in time; `PROCESS_ENDED` if the process ends before the command; the reason of `oneOff.signal`
 * if it fired before the command ran.
 */
export async function execLocally(
  oneOff: OneOff & { readonly beside: string },
  running: Running,
  parts: Pick<RunParts, 'sandbox' | 'config'>,
): Promise<Exit> {
  const { toolNumber, terminal, command, signal } = oneOff;
  if (terminal !== null) assertTerminal(runTree(oneOff.release.artifact.reference));
  const { sandbox } = parts;
  const { agent } = running;
  const mark = randomBytes(16).toString('hex');
  await using pipes = await OneOffPipes.make(agent.mount.source, toolNumber, sandbox);
  await agent.write(pipes, { command, terminal, mark, toolNumber, sandbox });
  signal.throwIfAborted();
  return await new LocalExec(oneOff, { running, pipes, mark, graceMs: parts.config.grace_time }).untilEnded();
}

interface ExecParts {
  readonly running: Running;
  readonly pipes: OneOffPipes;
  readonly mark: string;
  readonly graceMs: number;
}

class LocalExec {
  readonly #oneOff: OneOff & { readonly beside: string };
  readonly #parts: ExecParts;
  /**
   * Fires when the command has ended, when it could not be started, or when the process for which `exec` was called has
   * ended.
   */
  readonly #over = new AbortController();
  #hasOpened = false;
  #taken: Promise<unknown> = Promise.resolve();

  constructor(oneOff: OneOff & { readonly beside: string }, parts: ExecParts) {
    this.#oneOff = oneOff;
    this.#parts = parts;
  }

  async untilEnded(): Promise<Exit> {
    const { release, beside, signal } = this.#oneOff;
    const { running } = this.#parts;
    // Remove the listener at the end of the command. A process may live for years and have many such commands, so the
    // listeners would pile up.
    using _listening = addAbortListener(running.over, () => this.#over.abort());
    void this.#endWith(signal);
    void this.#request();
    const status = await Promise.race([this.#readStatus(), this.#untilOver().then(() => null)]);
    this.#over.abort();
    if (status === null) {
      await this.#signal('SIGKILL');
      if (!this.#hasOpened) signal.throwIfAborted();
      if (!signal.aborted && (await this.#hasProcessEnded())) {
        await this.#lastOutput();
        throw processEnded(release.tool, beside);
      }
      if (!this.#hasOpened) throw notTaken(release.tool, beside);
    }
    if (status === null) await this.#lastOutput();
    else await this.#taken;
    return status === null ? KILLED : { ...fromStatus(status), isOutOfMemory: false };
  }

  /** Asks the agent to start the command. Gives up if the command has not started within `START_MS`. */
  async #request(): Promise<void> {
    const { running, pipes } = this.#parts;
    const limit = AbortSignal.any([this.#over.signal, AbortSignal.timeout(START_MS)]);
    const isAsked = await running.agent.request(pipes, AbortSignal.any([limit, this.#oneOff.signal]));
    if (isAsked && !limit.aborted) await once(limit, 'abort');
    if (!this.#hasOpened) this.#over.abort();
  }

  /**
   * Reads the pipe `status`, to which the tool can write too. Connects the client's streams when the command has
   * started, and waits for its exit status.
   *
   * @returns the exit status. Null if the pipe has none, for example because the command was killed.
   */
  async #readStatus(): Promise<number | null> {
    let told = '';
    for await (const chunk of this.#parts.pipes.status) {
      told += String(chunk);
      if (told.length > MAX_STATUS_CHARACTERS) return null;
      if (!this.#hasOpened && told.startsWith(OPENED)) this.#begin();
      const [, status] = /^\w+\n(\d{1,3})\n/.exec(told) ?? [];
      if (this.#hasOpened && status !== undefined) return Math.min(Number(status), 255);
    }
    return null;
  }

  #begin(): void {
    this.#hasOpened = true;
    const { input, output, errors, terminal, signal } = this.#oneOff;
    const { pipes } = this.#parts;
    terminal?.onResize((size) => pipes.resize(size));
    // The agent's script has set the size that the client's terminal had at the start. Set the size that it has now.
    if (terminal !== null) pipes.resize(terminal.size);
    // The input is not awaited, because a command may end before it has read its input.
    void feed(input, pipes.input);
    const all = Promise.all([this.#drain(pipes.output, output), this.#drain(pipes.errors, errors)]);
    this.#taken = Promise.race([all, untilGivenUp(this.#untilOver(), signal)]);
    // If the client cannot take the output, `#taken` rejects. `untilEnded` throws this error later, when the command
    // has ended. Without this `catch`, Node.js would end the server before that.
    this.#taken.catch(() => {});
  }

  /**
   * Passes on the output up to the mark, which the script around the command writes at the command's end. If the
   * command was killed, passes on all output.
   */
  async #drain(source: Readable, take: (chunk: Uint8Array) => Promise<void>): Promise<void> {
    const marked = new MarkedOutput(markBytes(this.#parts.mark), true);
    for await (const chunk of source) {
      const shown = marked.pass(chunk as Uint8Array);
      if (shown.length > 0) await take(shown);
      if (marked.isOver) return;
    }
    const rest = marked.end();
    if (rest.length > 0) await take(rest);
  }

  /** Waits for output that is on its way. Another process of the tool may hold the pipes open, so the wait is short. */
  async #lastOutput(): Promise<void> {
    await Promise.race([this.#taken, wait(END_MS, null, { ref: false })]);
  }

  async #untilOver(): Promise<void> {
    if (!this.#over.signal.aborted) await once(this.#over.signal, 'abort');
  }

  async #hasProcessEnded(): Promise<boolean> {
    const { over } = this.#parts.running;
    await wait(END_MS, null, { signal: over, ref: false }).catch(() => {});
    return over.aborted;
  }

  async #endWith(signal: AbortSignal): Promise<void> {
    const ended = this.#over.signal;
    if (!signal.aborted) await once(signal, 'abort', { signal: ended }).catch(() => {});
    if (ended.aborted) return;
    this.#parts.pipes.hangUp();
    // `hangUp` sends SIGHUP to a command that has begun in a terminal, so send no SIGTERM: it would reach script(1),
    // which gives the command only two seconds to end. Other commands get no SIGHUP, so send SIGTERM.
    if (this.#oneOff.terminal === null || !this.#hasOpened) await this.#signal('SIGTERM');
    await wait(this.#parts.graceMs, null, { signal: ended }).catch(() => {});
    if (ended.aborted) return;
    await this.#signal('SIGKILL');
    // When the command has ended, the pipe `status` ends too, unless the tool holds the pipe open. So wait only this
    // long for the end of the pipe.
    await wait(END_MS, null, { ref: false });
    this.#over.abort();
  }

  async #signal(name: NodeJS.Signals): Promise<void> {
    const { running, pipes } = this.#parts;
    await running.process.signalMarked(EXEC_VARIABLE, pipes.id, name);
  }
}
